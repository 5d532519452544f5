"""What was once wrong in a run."""

import pytest

from controller.domain import run as runs
from controller.domain import target as targets
from controller.domain.events import Folded, Frozen, Release, Started, Terminated, Woken
from controller.domain.pipeline import FailureLimit, Gate, Pace, Retry
from controller.domain.states import RunState, StageState
from controller.domain.target import Delta, TargetState
from protocol.lifecycle import AttemptState
from protocol.reasons import Reason
from tests.controller.domain.kit import World, at, plan, stage

PASSED = StageState.PASSED
NONE_MAY_FAIL = Gate(failures=FailureLimit(count=0))


def test_a_stage_stopped_in_the_step_that_opened_it_calls_its_devices_back() -> None:
    """They used to stay queued, and the run without an end, until the run's time was over."""
    failing = stage("d", "z", gate=NONE_MAY_FAIL, retry=Retry(attempts_max=1))
    world = World(plan(stage("a"), stage("z"), stage("b", "a"), failing), [1, 1, 5, 1]).start()
    success = targets.Reported(at=0, attempt=1, state=AttemptState.SUCCEEDED)
    failure = targets.Reported(at=0, attempt=1, state=AttemptState.FAILED, reason=Reason.VERIFY_FAILED)
    world.device(1, 0, success)
    world.happen(Folded(at=world.now, deltas={0: (world.moved(0, 0, success),), 3: (world.moved(3, 0, failure),)}))
    assert [world.state(index) for index in (0, 2, 3)] == [PASSED, StageState.CANCELLED, StageState.FAILED]
    assert [device.state for device in world.devices[2]] == [TargetState.CANCELLED] * 5
    assert world.run.state is RunState.FAILED


def test_a_run_whose_time_is_over_is_not_woken_again_and_again() -> None:
    """It waits for its devices, and each of those has a deadline of its own."""
    world = World(plan(stage("a"), timeout_ms=1_000), [2]).start()
    world.now = at(1_000)
    world.happen(Woken(at=world.now))
    assert world.state(0) is StageState.TIMED_OUT
    assert world.run.state is RunState.RUNNING
    assert runs.next_deadline(world.plan, world.run) is None


def test_a_stage_that_passes_when_its_time_is_over_sends_nothing_more() -> None:
    """It used to send commands to its tail, only to call them back the next time anybody looked."""
    world = World(plan(stage("a", gate=Gate(success_percent=50), pace=Pace(max_in_flight=1))), [2]).start()
    world.device(0, 0, targets.Reported(at=0, attempt=1, state=AttemptState.SUCCEEDED))
    failure = targets.Reported(at=1, attempt=1, state=AttemptState.FAILED, reason=Reason.INTERRUPTED)
    delta = world.moved(0, 1, failure)
    assert delta == Delta(before=TargetState.IN_PROGRESS, after=TargetState.QUEUED, started=1, exposed=1, waiting=1)
    world.now = at(world.plan.pipeline.stages[0].timeouts.stage_ms)
    world.effects.clear()
    world.happen(Folded(at=world.now, deltas={0: (delta,)}))
    assert not any(isinstance(effect, Release) for effect in world.effects)
    assert (world.state(0), world.run.state) == (StageState.PASSED, RunState.SUCCEEDED)
    assert world.devices[0][1].state is TargetState.TIMED_OUT


def test_a_stage_stopped_before_its_members_are_known_calls_them_back() -> None:
    """Two stages open at once; the first has no device and stops the run before the second is frozen."""
    world = World(plan(stage("a"), stage("b")), [0, 3]).start()
    assert [world.state(0), world.state(1)] == [StageState.FAILED, StageState.CANCELLED]
    assert [device.state for device in world.devices[1]] == [TargetState.CANCELLED] * 3
    assert world.run.state is RunState.FAILED


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.TERMINATING])
def test_a_second_start_changes_nothing(state: RunState) -> None:
    world = World(plan(stage("a")), [1]).start()
    if state is RunState.TERMINATING:
        world.happen(Terminated(at=world.now, reason="enough"))
    before = world.run
    assert before.state is state
    world.happen(Started(at=at(5)))
    assert world.run == before


def test_a_second_freeze_changes_nothing() -> None:
    world = World(plan(stage("a")), [3]).start()
    before = world.run
    world.happen(Frozen(at=world.now, stage=0, targets=9))
    assert world.run == before
