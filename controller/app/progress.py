"""How far devices are in the step at hand: from unsigned ticks, in memory, the latest wins."""

from collections import OrderedDict
from typing import Final

from protocol.ids import Name
from protocol.messages import Progress, Tick
from protocol.units import Instant

ENTRIES_MAX: Final = 100_000


class ProgressBoard:
    """The latest progress of each device; the least recently heard are forgotten beyond a limit."""

    def __init__(self) -> None:
        self._latest: OrderedDict[Name, tuple[Progress, Instant]] = OrderedDict()

    def note(self, name: Name, tick: Tick, *, at: Instant) -> None:
        """Keep the last progress that a tick tells, and when it came."""
        for progress in tick.progress:
            self._latest[name] = (progress, at)
            self._latest.move_to_end(name)
        while len(self._latest) > ENTRIES_MAX:
            self._latest.popitem(last=False)

    def of(self, name: Name, *, run: str, attempt: int) -> tuple[int, int]:
        """Return (done, total) of a device's current attempt, zeros where nothing is known."""
        progress, _ = self._of(name, run, attempt) or (None, None)
        return (0, 0) if progress is None else (progress.done, progress.total)

    def heard_at(self, name: Name, *, run: str, attempt: int) -> Instant | None:
        """Return when a device last told its progress with its current attempt, None where nothing is known."""
        _, at = self._of(name, run, attempt) or (None, None)
        return at

    def _of(self, name: Name, run: str, attempt: int) -> tuple[Progress, Instant] | None:
        latest = self._latest.get(name)
        is_current = latest is not None and (latest[0].run, latest[0].attempt) == (run, attempt)
        return latest if is_current else None
