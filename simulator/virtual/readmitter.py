"""Who lets quarantined models begin again, in worlds that have several; at times they ask for one that is none."""

from functools import partial
from typing import Final

from controller.app import runs
from controller.app.records import RunRecord
from simulator.virtual.laws.models import OTHERS
from simulator.virtual.picture import Picture
from simulator.virtual.restrainer import Ask
from simulator.virtual.world import World

REASON: Final = "drawn"
ANY_EVERY: Final = 4
"""One of so many readmissions is of a model that is drawn, whether it is quarantined or not."""


class Readmitter:
    """Draws from a chance of its own, where a world has such people."""

    def __init__(self, world: World, picture: Picture, ask: Ask) -> None:
        self._world = world
        self._picture = picture
        self._ask = ask
        self._chance = world.chance("readmissions")

    def begin(self) -> None:
        """Readmit a model now and then."""
        gap_ms = self._world.draws.models.readmit_gap_ms
        if gap_ms:
            self._world.scheduler.after(1 + int(self._chance.expovariate(1) * gap_ms), self._act)

    def _act(self) -> None:
        if self._world.is_healed:
            return
        found = [run for run in self._picture.runs.values() if not run.run.state.is_terminal]
        if found:
            self._readmit(self._chance.choice(found))
        self.begin()

    def _readmit(self, run: RunRecord) -> None:
        names = _kept_out(run)
        if not self._chance.randrange(ANY_EVERY):
            names = [*self._world.draws.models.names, OTHERS]
        if names:
            model = self._chance.choice(names)
            use = partial(runs.readmit, run=run.uid, model=model, reason=REASON)
            self._ask("readmit", f"{run.uid}/{model}", use)


def _kept_out(run: RunRecord) -> list[str]:
    """Return under which names models are quarantined."""
    return sorted({name for stage in run.run.stages for name, one in stage.models.items() if one.breach is not None})
