"""One fact about why a device is not updated: its kind, its words, and what would change it."""

from enum import StrEnum

import msgspec

from protocol.units import SECOND, Instant


class Code(StrEnum):
    """What kind of fact it is."""

    UNKNOWN = "unknown"
    NO_RUN = "no_run"
    REMOVED = "removed"
    BLOCKED = "blocked"
    BROKEN = "broken"
    ENDED = "ended"
    AT_WORK = "at_work"
    CALLED_BACK = "called_back"
    PAUSED = "paused"
    STOPPING = "stopping"
    FROZEN = "frozen"
    OFFLINE = "offline"
    BUSY = "busy"
    BEHIND = "behind"
    RETRY = "retry"
    SOAKING = "soaking"
    HELD = "held"
    PINNED = "pinned"
    NOT_CAPABLE = "not_capable"
    NO_PATH = "no_path"
    PRECONDITION = "precondition"
    WINDOW_CLOSED = "window_closed"
    SITE_FULL = "site_full"
    RATE = "rate"
    SLOT = "slot"
    NEXT = "next"
    NOT_OPEN = "not_open"
    PROMOTION = "promotion"
    DELAY = "delay"
    CLOSED = "closed"
    TOO_LATE = "too_late"
    NO_MEMBER = "no_member"
    RUN_ENDED = "run_ended"
    QUARANTINED = "quarantined"
    CONTROL = "control"


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One fact in words; `change` says what would change it, `until` when it changes by itself."""

    code: Code
    text: str
    change: str = ""
    until: Instant | None = None


_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def span(span_ms: int) -> str:
    """Return a span in its greatest unit.

    >>> span(12_345), span(7_200_000)
    ('12 s', '2 h')
    """
    seconds = max(0, span_ms) // SECOND
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), ("s", 1))
    return f"{seconds // size} {unit}"
