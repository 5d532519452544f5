"""People who withdraw and deprecate releases, and who approve stages; the names of some stand behind what they approve.

They draw from a chance of their own. Once the world is healed they approve whatever waits, and terminate what a
withdrawal holds.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from controller.app import approvals, devices, groups, runs, withdrawal
from controller.app.access import Actor, Role
from controller.app.records import RunRecord
from simulator.virtual.beginning import APP
from simulator.virtual.draws import RINGS, VERSIONS
from simulator.virtual.picture import Picture
from simulator.virtual.pipelines import GROUPS
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

PEOPLE: Final = tuple(Actor(name=name, role=Role.ADMIN) for name in ("ann", "bob", "cem", "dee"))
"""Ann does everything else, too; one of the others starts a run at times."""
REASON: Final = "drawn"
WITHDRAWN: Final = "withdrawn:"


class Consenters:
    """Act on one world, by what is seen from outside."""

    def __init__(self, world: World, picture: Picture, ask: Any) -> None:
        """Take the world, what is known of it, and how an operator asks for something."""
        self._world = world
        self._picture = picture
        self._ask = ask
        self._chance = world.chance("consent")
        stages = [stage for pipeline in world.draws.pipelines for stage in pipeline.stages]
        self._asks = any(stage.approvals for stage in stages)
        self._includes = any(stage.targets.include_new for stage in stages)

    def begin(self) -> None:
        """Act now and then, where that is drawn, as long as faults are in force."""
        draws = self._world.draws.consent
        if draws.withdraw_gap_ms:
            self._after(draws.withdraw_gap_ms, self._withdraw)
        if self._asks:
            self._after(draws.approve_gap_ms, self._approve)
        if self._includes:
            self._after(draws.relabel_gap_ms, self._relabel)

    def settle(self, run: RunRecord) -> bool:
        """Let everybody approve what still waits, and end what a withdrawal holds; say whether it does hold the run."""
        if any(reason.startswith(WITHDRAWN) for reason in run.run.pause_reasons):
            self._ask("terminate", run.uid, partial(runs.terminate, run=run.uid, reason=REASON))
            return True
        for stage in _asking(run):
            for person in PEOPLE:
                self._approves(run, stage, person)
        return False

    def _after(self, gap_ms: int, act: Any) -> None:
        def unless_healed() -> None:
            if not self._world.is_healed:
                act()
                self._after(gap_ms, act)

        self._world.scheduler.after(1 + int(self._chance.expovariate(1) * gap_ms), unless_healed)

    def _withdraw(self) -> None:
        version = self._chance.choice(VERSIONS)
        if not self._chance.randrange(3):
            self._ask("deprecate", version, partial(withdrawal.deprecate, app=APP, version=version, reason=REASON))
            return
        going = [run for run in self._going() if run.plan.operation.version == version]
        if any(stage.tally.in_progress for run in going for stage in run.run.stages):
            self._world.sometimes(Sometimes.WITHDRAWN_IN_FLIGHT)
        self._ask("withdraw", version, partial(withdrawal.withdraw, app=APP, version=version, reason=REASON))

    def _approve(self) -> None:
        """Approve a stage, promote one that may lack approvals, or start a run as one of those who would approve."""
        waiting = [(run, stage) for run in self._going() for stage in _asking(run)]
        if not waiting:
            job, person = self._chance.choice(self._world.draws.pipelines).name, self._chance.choice(PEOPLE)
            self._ask("start", job, partial(runs.start, job=job), actor=person)
            return
        run, stage = self._chance.choice(waiting)
        if self._chance.randrange(3):
            self._approves(run, stage, self._chance.choice(PEOPLE))
        else:
            self._ask("promote", f"{run.uid}/{stage}", partial(runs.promote, run=run.uid, stage=stage))

    def _relabel(self) -> None:
        """Change what stages ask about."""
        device, path = self._chance.choice(self._world.draws.devices), self._chance.choice(GROUPS)
        if self._chance.randrange(2):
            labels = {"ring": self._chance.choice(RINGS)}
            self._ask("label", device, partial(devices.set_labels, device=device, labels=labels))
            return
        act, use = self._chance.choice((("add", groups.add_devices), ("drop", groups.drop_devices)))
        self._ask(f"{act} to group {path}", device, partial(use, path=path, devices=[device]))

    def _approves(self, run: RunRecord, stage: str, person: Actor) -> None:
        act = partial(approvals.approve, run=run.uid, stage=stage, reason=REASON)
        self._ask("approve", f"{run.uid}/{stage}", act, actor=person)

    def _going(self) -> list[RunRecord]:
        return [run for run in self._picture.runs.values() if run.run.state == "running"]


def _asking(run: RunRecord) -> Iterator[str]:
    """Yield the stages of a run that ask for approvals and have not begun."""
    for wanted, stage in zip(run.plan.pipeline.stages, run.run.stages, strict=True):
        if wanted.approvals and stage.state in {"blocked", "awaiting_promotion"}:
            yield wanted.name
