"""When each report in the outbox is sent: a window over the rows, and a patient resend.

The rules this module keeps:

1. At most `WINDOW` reports are handed to the transport without its acknowledgement (paho sends its whole
   backlog at once after a reconnect, so it never gets to hold one).
2. The transport's acknowledgement proves nothing: a row goes only when the controller's signed one drops it.
   Until then it is sent again, the same bytes, after a wait that doubles.
3. A new connection sends everything again.
"""

from collections.abc import Iterable
from typing import Final

from agent.core.backoff import spread
from agent.journal import Row
from protocol.units import MINUTE, SECOND

WINDOW: Final = 16
RESEND_MIN_MS: Final = 30 * SECOND
RESEND_MAX_MS: Final = 10 * MINUTE


class _Entry:
    __slots__ = ("due_at", "is_in_flight", "row", "try_count")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.is_in_flight = False
        self.due_at = 0
        self.try_count = 0


class Outbox:
    """The rows that are not settled, by number, and when each is due."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._entries = {row.report_seq: _Entry(row) for row in rows}
        self._is_open = False

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, row: Row) -> None:
        """Take a new row, due at once."""
        self._entries[row.report_seq] = _Entry(row)

    def drop(self, report_seq: int) -> None:
        """Forget a settled row."""
        self._entries.pop(report_seq, None)

    def connected(self) -> None:
        """Begin a connection: every row is due."""
        self._is_open = True
        for entry in self._entries.values():
            entry.is_in_flight = False
            entry.due_at = 0
            entry.try_count = 0

    def disconnected(self) -> None:
        """End a connection: nothing is sent until the next one."""
        self._is_open = False

    def take(self, at: int) -> list[Row]:
        """Return the rows to publish now, lowest number first; they are in flight until `released`."""
        due = [entry for entry in self._waiting() if entry.due_at <= at][: self._room()]
        for entry in due:
            entry.is_in_flight = True
        return [entry.row for entry in due]

    def _waiting(self) -> list[_Entry]:
        return [entry for entry in self._entries.values() if self._is_open and not entry.is_in_flight]

    def _room(self) -> int:
        return WINDOW - sum(entry.is_in_flight for entry in self._entries.values())

    def released(self, report_seq: int, *, at: int) -> None:
        """Take the transport's answer, good or bad: wait for the controller's before sending again."""
        entry = self._entries.get(report_seq)
        if entry is None or not entry.is_in_flight:
            return
        entry.is_in_flight = False
        wait_ms = min(RESEND_MAX_MS, RESEND_MIN_MS * 2 ** min(entry.try_count, 10))
        entry.try_count += 1
        entry.due_at = at + wait_ms + spread(wait_ms // 4, seed=f"{report_seq}/{at}")

    def next_due(self) -> int | None:
        """Return when a row is to be sent next, or None: a full window waits for answers, not for time."""
        if self._room() <= 0:
            return None
        return min((entry.due_at for entry in self._waiting()), default=None)
