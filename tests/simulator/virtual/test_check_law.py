"""When the law of checks has a run held by silence, and when it waits for the run's wake-up."""

from typing import Any, Final

from msgspec.structs import replace

from controller.app.records import JobRecord, RunRecord
from controller.domain.clock import RunClock
from controller.domain.counters import Tally
from controller.domain.gates import checks
from controller.domain.gates.checks import Check, Webhook
from controller.domain.model import StageRun, create
from controller.domain.pipeline import Gate
from controller.domain.states import RunState, StageState
from protocol.units import MINUTE
from simulator.virtual.laws.checks import ChecksHold
from simulator.virtual.picture import Picture
from simulator.virtual.watched import Changes
from tests.controller.store import samples

JOB: Final = JobRecord(name="shop", pipeline="weekly", operation=samples.operation(), created_at=samples.NOW)
CHECK: Final = Check(name="e2e", source=Webhook(), no_data_after_ms=MINUTE)
OPEN: Final = StageRun(
    state=StageState.SOAKING, is_frozen=True, tally=Tally(succeeded=1), checks={"e2e": checks.begin(0)}
)
SILENT: Final = "check e2e of stage 0 of run r1 has had no answer since 0, and the run goes on"


class World:
    """A run that waits for a build system, and has been open since the beginning, as the law sees it."""

    def __init__(self) -> None:
        self._now = samples.NOW
        self._picture = Picture(true_now=lambda: self._now, wall_now=lambda: self._now, devices={})
        self._law = ChecksHold(self._picture)
        self.commit(at=0, wakes_in=MINUTE)

    def commit(self, *, at: int, wakes_in: int | None, **changes: Any) -> list[str]:
        """Store the run at run time *at*, to be looked at *wakes_in*; return what the law makes of it."""
        self._now = samples.at(at)
        wake_at = None if wakes_in is None else samples.at(wakes_in)
        run = replace(_run(), wake_at=wake_at)
        run = replace(run, run=replace(run.run, **changes))
        return list(self._law.committed(self._picture.take(Changes(runs=[run]))))


def _run() -> RunRecord:
    plan = samples.plan(1)
    stage = replace(plan.pipeline.stages[0], gate=Gate(checks=(CHECK,)))
    plan = replace(plan, pipeline=replace(plan.pipeline, stages=(stage,)))
    clock = RunClock().started(samples.NOW)
    at_work = replace(create(plan), state=RunState.RUNNING, clock=clock, stages=(OPEN,))
    return replace(samples.run(JOB, stage_count=1), id=1, stage_ids=(1,), plan=plan, run=at_work)


def test_a_run_to_which_something_happens_is_held_for_a_silence_that_is_due() -> None:
    soaked = replace(OPEN, is_soaked=True)
    assert World().commit(at=MINUTE - 1, wakes_in=MINUTE, stages=(soaked,)) == []
    assert World().commit(at=MINUTE, wakes_in=MINUTE, stages=(soaked,)) == [SILENT]
    assert World().commit(at=MINUTE, wakes_in=MINUTE, stages=(soaked,), pause_reasons=("no_data:s0/e2e",)) == []


def test_a_run_of_which_only_rows_change_is_held_when_it_wakes() -> None:
    world = World()
    assert world.commit(at=MINUTE // 2, wakes_in=MINUTE // 2) == []
    assert world.commit(at=2 * MINUTE, wakes_in=MINUTE) == [], "a controller has just begun, and its wake-up is due"
    assert world.commit(at=3 * MINUTE, wakes_in=MINUTE, pause_reasons=("no_data:s0/e2e",)) == []


def test_a_run_of_which_only_rows_change_may_not_sleep_through_a_silence() -> None:
    assert World().commit(at=MINUTE, wakes_in=MINUTE + 1) == [SILENT]
    assert World().commit(at=MINUTE, wakes_in=None) == [SILENT]
