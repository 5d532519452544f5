"""What the law of breaches lets follow a breach, and what not."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from controller.app.records import JobRecord, RunRecord, TargetRecord
from controller.domain.model import Breach, ModelRun, StageRun, create
from controller.domain.pipeline import FailureLimit, Gate, OnBreach
from controller.domain.states import RunState, StageState
from controller.domain.target import TargetState
from simulator.virtual.laws.breaches import BreachesAreKept
from simulator.virtual.picture import Picture
from simulator.virtual.watched import Changes
from tests.controller.store import samples

JOB: Final = JobRecord(name="shop", pipeline="weekly", operation=samples.operation(), created_at=samples.NOW)
GATE: Final = Gate(failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE)
HELD: Final = ("breach:s0",)
FIRST: Final = Breach(at=1, failed=1, exposed=1, evidence="1 of 1 started failed")
BY_OTHERS: Final = Breach(at=2, failed=0, exposed=0, evidence="stopped by 2 failures of quarantined models")
QUARANTINE: Final = Breach(at=2, failed=2, exposed=2, evidence="2 of 2 started failed")


class World:
    """A run of one stage, of devices of two models, as the law sees it commit by commit."""

    def __init__(self, gate: Gate = GATE) -> None:
        wanted = samples.plan(1)
        stage = replace(wanted.pipeline.stages[0], gate=gate)
        self._plan = replace(wanted, pipeline=replace(wanted.pipeline, stages=(stage,)))
        devices = {id_: samples.device(id_, id=id_) for id_ in (1, 2, 3)}
        self._picture = Picture(true_now=lambda: samples.NOW, wall_now=lambda: samples.NOW, devices=devices)
        self._law = BreachesAreKept(self._picture)

    def commit(
        self,
        *failed: int,
        breach: Breach | None,
        accepted: int = 0,
        quarantined: Mapping[str, Breach] | None = None,
        held: Sequence[str] = HELD,
    ) -> list[str]:
        """Store that these devices of model k1 fail now, and how the run stands; return what the law makes of it."""
        models = {
            name: ModelRun(accepted=accepted if name == "k1" else 0, breach=(quarantined or {}).get(name))
            for name in ("k1", "k2")
        }
        state = StageRun(state=StageState.ROLLING_OUT, is_frozen=True, accepted=accepted, breach=breach, models=models)
        at_work = replace(create(self._plan, pause_reasons=tuple(held)), state=RunState.RUNNING, stages=(state,))
        run = replace(samples.run(JOB, stage_count=1), id=1, stage_ids=(1,), plan=self._plan, run=at_work)
        changes = Changes(runs=[run], targets=[_failed(run, device) for device in failed])
        return list(self._law.committed(self._picture.take(changes)))


def _failed(run: RunRecord, device: int) -> TargetRecord:
    state = TargetState.FAILED
    return samples.target(run, device, device, model="k1", state=state, attempt=1, is_started=True, is_blamed=True)


def test_a_limit_that_counts_quarantined_models_is_breached_anew_by_none_of_the_others() -> None:
    world = World()
    assert world.commit(1, breach=FIRST) == []
    assert world.commit(breach=FIRST, accepted=1, held=()) == []
    assert world.commit(2, breach=BY_OTHERS, accepted=1, quarantined={"k1": QUARANTINE}) == []


def test_a_test_that_leaves_quarantined_models_out_is_not_breached_by_them() -> None:
    world = World(replace(GATE, failures=FailureLimit(count=1)))
    two = replace(FIRST, failed=2, exposed=2)
    assert world.commit(1, 2, breach=two) == []
    assert world.commit(breach=two, accepted=2, held=()) == []
    found = world.commit(breach=BY_OTHERS, accepted=2, quarantined={"k1": QUARANTINE})
    assert found == ["stage 0 of run r1 is breached by 0 of 0, within its limit"]


def test_a_breach_that_nobody_has_accepted_is_kept_though_it_names_none_of_those_that_failed() -> None:
    world = World()
    assert world.commit(1, 2, breach=BY_OTHERS, quarantined={"k1": QUARANTINE}) == []
    later = replace(BY_OTHERS, at=3, evidence="stopped by 3 failures of quarantined models")
    found = world.commit(3, breach=later, quarantined={"k1": QUARANTINE})
    assert found == [f"what stage 0 of run r1 knew at its breach, {BY_OTHERS.evidence!r}, has become {later}"]


def test_a_breach_that_is_accepted_is_not_forgotten() -> None:
    world = World()
    assert world.commit(1, breach=FIRST) == []
    found = world.commit(breach=None, accepted=1, held=())
    assert found == [f"what stage 0 of run r1 knew at its breach, {FIRST.evidence!r}, has become None"]
