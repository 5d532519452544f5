"""How far devices are in the step at hand: from unsigned ticks, in memory, the latest wins."""

from collections import OrderedDict
from typing import Final

from protocol.ids import Name
from protocol.messages import Progress, Tick

ENTRIES_MAX: Final = 100_000


class ProgressBoard:
    """The latest progress of each device; the least recently heard are forgotten beyond a limit."""

    def __init__(self) -> None:
        self._latest: OrderedDict[Name, Progress] = OrderedDict()

    def note(self, name: Name, tick: Tick) -> None:
        """Keep the last progress that a tick tells."""
        for progress in tick.progress:
            self._latest[name] = progress
            self._latest.move_to_end(name)
        while len(self._latest) > ENTRIES_MAX:
            self._latest.popitem(last=False)

    def of(self, name: Name, *, run: str, attempt: int) -> tuple[int, int]:
        """Return (done, total) of a device's current attempt, zeros where nothing is known."""
        progress = self._latest.get(name)
        if progress is None or progress.run != run or progress.attempt != attempt:
            return 0, 0
        return progress.done, progress.total
