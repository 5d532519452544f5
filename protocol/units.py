"""Units of time and size. Every number on the wire is an integer below 2**53."""

from typing import Final, NewType

Instant = NewType("Instant", int)
"""A point in time: milliseconds since 1970-01-01 UTC."""

Millis = NewType("Millis", int)
"""A span of time in milliseconds."""

SECOND: Final = Millis(1_000)
MINUTE: Final = Millis(60 * SECOND)
HOUR: Final = Millis(60 * MINUTE)
DAY: Final = Millis(24 * HOUR)

INTEGER_MAX: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""


def later(at: Instant, span: int) -> Instant:
    """Return the instant *span* milliseconds after *at*.

    >>> later(Instant(1_000), SECOND)
    2000
    """
    return Instant(at + span)
