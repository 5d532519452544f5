"""Which progress the controller has taken in, as laws remember it."""

from collections import defaultdict
from typing import Final

from controller.app.records import TargetRecord
from protocol.ids import Name
from protocol.messages import Tick
from protocol.units import SECOND
from simulator.virtual.laws.run_time import JUMP_MS
from simulator.virtual.picture import Picture

FRESH_MS: Final = 10 * SECOND
"""Progress may be this new, and not yet known to a decision that was being made when it came."""


class Ticks:
    """When progress of each attempt came, since the controller began."""

    def __init__(self, picture: Picture) -> None:
        """Begin with none."""
        self._picture = picture
        self._came_at: dict[tuple[Name, str, int], list[int]] = defaultdict(list)
        self._latest: dict[Name, tuple[str, int]] = {}

    def ticked(self, name: Name, tick: Tick) -> None:
        """Take note of progress; that of an attempt counts as long as the device tells none of another."""
        for progress in tick.progress:
            key = (progress.run, progress.attempt)
            if self._latest.get(name) != key:
                self._came_at[name, *key].clear()
            self._latest[name] = key
            self._came_at[name, *key].append(self._picture.true_now())

    def restarted(self) -> None:
        """Forget all, as a controller does that begins anew."""
        self._came_at.clear()
        self._latest.clear()

    def since(self, run: str, row: TargetRecord) -> int | None:
        """Return how long ago progress of the current attempt came that counts, None where there is none."""
        key = (run, row.target.attempt)
        if self._latest.get(row.name) != key:
            return None
        # A jump that nobody has noticed yet makes the time of progress that came before worthless.
        now, jumps = self._picture.true_now(), self._picture.jumped_at
        is_after_jumps = [at for at in self._came_at[row.name, *key] if all(at > jump + JUMP_MS for jump in jumps)]
        counting = [at for at in is_after_jumps if now - at >= FRESH_MS]
        return now - counting[-1] if counting else None
