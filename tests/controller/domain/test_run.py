"""A run from its start to its end, told as stories."""

from typing import Any

import msgspec
import pytest

from controller.domain import run as runs
from controller.domain import target as targets
from controller.domain.events import (
    Approved,
    Cancel,
    Conclude,
    Expire,
    Folded,
    Go,
    Hold,
    Paused,
    Promoted,
    Recovered,
    Release,
    Resumed,
    Terminated,
    Woken,
)
from controller.domain.model import Run
from controller.domain.outputs import Summary
from controller.domain.pipeline import FailureLimit, Gate, OnBreach, OnFailure, Pace, Retry, Stage, Timeouts, Trigger
from controller.domain.states import RunState, StageState
from controller.domain.target import TargetState
from protocol.lifecycle import AttemptState
from protocol.reasons import Reason
from tests.controller.domain.kit import World, at, plan, stage

S = StageState
ONCE = Retry(attempts_max=1)
LENIENT = Gate(success_percent=0, failures=FailureLimit(count=99))
STRICT = Gate(failures=FailureLimit(count=0))


def begun(*stages: Stage, sizes: list[int], **changes: Any) -> World:
    return World(plan(*stages, **changes), sizes).start()


def succeed(world: World, stage: int, *indexes: int) -> None:
    for index in indexes:
        end(world, stage, index, AttemptState.SUCCEEDED)


def fail(world: World, stage: int, *indexes: int, reason: Reason = Reason.VERIFY_FAILED) -> None:
    for index in indexes:
        end(world, stage, index, AttemptState.FAILED, reason)


def end(
    world: World, stage: int, index: int, state: AttemptState, reason: Reason | None = None, /, **outputs: int | str
) -> None:
    attempt = world.devices[stage][index].attempt
    report = targets.Reported(at=world.run_time, attempt=attempt, state=state, reason=reason, outputs=outputs)
    world.device(stage, index, report)


def look(world: World, offset: int) -> None:
    world.now = at(offset)
    world.happen(Woken(at=world.now))


def states(world: World) -> list[StageState]:
    return [at_work.state for at_work in world.run.stages]


def deadline(world: World) -> int | None:
    wake = runs.next_deadline(world.plan, world.run)
    return None if wake is None else wake - at(0)


def test_a_chain_of_stages_runs_to_its_end() -> None:
    world = begun(stage("a"), stage("b", "a"), sizes=[2, 1])
    assert states(world) == [S.ROLLING_OUT, S.BLOCKED]
    succeed(world, 0, 0, 1)
    assert states(world) == [S.PASSED, S.ROLLING_OUT]
    succeed(world, 1, 0)
    assert (states(world), world.run.state, world.concluded) == ([S.PASSED, S.PASSED], RunState.SUCCEEDED, 1)
    assert [note.kind for note in world.notes] == [
        "started",
        "opened",
        "passed",
        "opened",
        "passed",
        "succeeded",
    ]


def test_nothing_happens_before_the_start_or_after_the_end() -> None:
    world = World(plan(stage("a")), [1])
    before = world.run
    for event in (
        Woken(at=at(0)),
        Paused(at=at(0), reason="x"),
        Resumed(at=at(0)),
        Terminated(at=at(0), reason="x"),
        Promoted(at=at(0), stage=0),
    ):
        assert runs.step(world.plan, before, event) == (before, ())
    assert deadline(world) is None
    world.start()
    succeed(world, 0, 0)
    over = world.run
    assert over.state is RunState.SUCCEEDED
    for late in (Woken(at=at(9)), Terminated(at=at(9), reason="x"), Folded(at=at(9), deltas={})):
        assert runs.step(world.plan, over, late) == (over, ())


def test_no_more_than_max_in_flight_go_at_once() -> None:
    world = begun(stage("a", pace=Pace(max_in_flight=2)), sizes=[5])
    assert world.run.stages[0].tally.in_progress == 2
    succeed(world, 0, 0)
    assert (world.run.stages[0].tally.in_progress, world.run.stages[0].tally.queued) == (2, 2)


def test_a_stage_opens_after_its_delay() -> None:
    world = begun(stage("a"), stage("b", "a", delay_ms=500), sizes=[1, 1])
    look(world, 100)
    succeed(world, 0, 0)
    assert deadline(world) == 600
    look(world, 599)
    assert world.state(1) is S.BLOCKED
    look(world, 600)
    assert world.state(1) is S.ROLLING_OUT


def test_a_manual_stage_awaits_promotion_and_the_run_waits() -> None:
    world = begun(stage("a", trigger=Trigger.MANUAL), stage("b", "a"), sizes=[1, 1])
    assert (states(world), world.run.is_waiting) == ([S.AWAITING_PROMOTION, S.BLOCKED], True)
    world.happen(Promoted(at=world.now, stage=1))
    assert not world.run.stages[1].is_promoted
    world.happen(Paused(at=world.now, reason="op"))
    world.happen(Promoted(at=world.now, stage=0))
    assert world.state(0) is S.AWAITING_PROMOTION
    world.happen(Resumed(at=world.now))
    assert world.state(0) is S.ROLLING_OUT


@pytest.mark.parametrize(
    ("on_failure", "expected", "ended"),
    [
        (OnFailure.STOP_RUN, [S.FAILED, S.CANCELLED, S.CANCELLED], False),
        (OnFailure.STOP_BRANCH, [S.FAILED, S.CANCELLED, S.ROLLING_OUT], False),
        (OnFailure.CONTINUE, [S.FAILED, S.ROLLING_OUT, S.ROLLING_OUT], False),
    ],
)
def test_a_failed_stage(on_failure: OnFailure, expected: list[StageState], ended: bool) -> None:
    first = stage("a", gate=STRICT, retry=ONCE, on_failure=on_failure)
    world = begun(first, stage("b", "a"), stage("c"), sizes=[1, 1, 1])
    fail(world, 0, 0)
    assert states(world) == expected
    assert (world.run.epoch > 1) is (on_failure is OnFailure.STOP_RUN)
    for index in (1, 2):
        if world.devices[index] and world.devices[index][0].state is TargetState.IN_PROGRESS:
            succeed(world, index, 0)
    assert (world.run.state, world.run.state.is_terminal) == (RunState.FAILED, True)


def test_a_breach_fails_the_stage_and_calls_its_devices_back() -> None:
    world = begun(stage("a", gate=STRICT, retry=ONCE, pace=Pace(max_in_flight=2)), sizes=[4])
    fail(world, 0, 0)
    assert Cancel(stage=0) in world.effects
    assert world.run.stages[0].reason == "1 of 1 started device failed"
    kinds = [device.state for device in world.devices[0]]
    assert kinds == [TargetState.FAILED, TargetState.IN_PROGRESS, TargetState.CANCELLED, TargetState.CANCELLED]
    assert world.devices[0][1].cancel_requested
    end(world, 0, 1, AttemptState.CANCELLED)
    assert world.run.state is RunState.FAILED


def test_a_breach_may_pause_and_resuming_accepts_it() -> None:
    gate = Gate(success_percent=0, failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE)
    world = begun(stage("a", gate=gate, retry=ONCE, pace=Pace(max_in_flight=1)), sizes=[3])
    fail(world, 0, 0)
    assert world.run.pause_reasons == ("breach:a",)
    assert Hold() in world.effects
    assert world.run.stages[0].tally.in_progress == 0
    world.happen(Resumed(at=world.now))
    assert Go() in world.effects
    assert world.run.stages[0].tally.in_progress == 1
    fail(world, 0, 1)
    assert world.run.is_paused
    world.happen(Resumed(at=world.now))
    succeed(world, 0, 2)
    assert world.run.state is RunState.SUCCEEDED


def test_resuming_from_another_pause_accepts_no_failure() -> None:
    gate = Gate(success_percent=0, failures=FailureLimit(count=1), on_breach=OnBreach.PAUSE)
    world = begun(stage("a", gate=gate, retry=ONCE, pace=Pace(max_in_flight=1)), sizes=[4])
    fail(world, 0, 0)
    world.happen(Paused(at=world.now, reason="operator:lunch"))
    world.happen(Resumed(at=world.now))
    assert world.run.stages[0].accepted == 0
    fail(world, 0, 1)
    assert world.run.pause_reasons == ("breach:a",)
    world.happen(Resumed(at=world.now, reason="known"))
    assert world.run.stages[0].accepted == 2


def test_going_on_over_the_breach_of_a_stage_accepts_no_failure_of_another_one() -> None:
    gate = Gate(success_percent=0, failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE)
    lax = Gate(success_percent=0, failures=FailureLimit(count=1), on_breach=OnBreach.PAUSE)
    world = begun(stage("a", gate=gate, retry=ONCE), stage("b", gate=lax, retry=ONCE), sizes=[3, 3])
    fail(world, 1, 0)
    fail(world, 0, 0)
    world.happen(Resumed(at=world.now, reason="known"))
    assert [at_work.accepted for at_work in world.run.stages] == [1, 0]


def test_pausing_twice_for_one_reason_is_once_and_resuming_lifts_all() -> None:
    world = begun(stage("a", pace=Pace(max_in_flight=1)), sizes=[2])
    for reason in ("op", "op", "freeze"):
        world.happen(Paused(at=world.now, reason=reason))
    assert (world.run.pause_reasons, world.run.epoch) == (("op", "freeze"), 2)
    assert world.effects.count(Hold()) == 1
    assert deadline(world) is None
    succeed(world, 0, 0)
    assert world.run.stages[0].tally.in_progress == 0
    world.now = at(9_000)
    world.happen(Resumed(at=world.now))
    assert (world.run.pause_reasons, world.run.epoch) == ((), 3)
    assert world.run.clock.run_time(at(9_100)) == 100
    before = world.run
    world.happen(Resumed(at=world.now))
    assert world.run == before


def test_termination_calls_every_device_back_and_waits_for_those_at_work() -> None:
    world = begun(stage("a", pace=Pace(max_in_flight=1)), stage("b", "a"), sizes=[2, 1])
    world.happen(Paused(at=world.now, reason="op"))
    world.happen(Terminated(at=world.now, reason="enough"))
    assert (world.run.state, world.run.reason, world.run.epoch) == (RunState.TERMINATING, "enough", 3)
    assert states(world) == [S.CANCELLED, S.CANCELLED]
    assert deadline(world) is None
    assert world.run.clock.run_time(at(500)) == 500, "the deadlines of its devices must come"
    world.happen(Terminated(at=world.now, reason="again"))
    world.happen(Paused(at=world.now, reason="op"))
    assert (world.run.reason, world.run.is_paused) == ("enough", False)
    end(world, 0, 0, AttemptState.CANCELLED)
    assert world.run.state is RunState.TERMINATED
    assert Conclude() in world.effects


def test_empty_stages_are_skipped_where_allowed() -> None:
    world = begun(stage("a", allow_empty=True), stage("b", "a"), sizes=[0, 0])
    assert states(world) == [S.SKIPPED, S.FAILED]
    assert world.run.stages[1].reason == "no device matched"


def test_too_few_successes_fail_the_stage() -> None:
    world = begun(stage("a", gate=Gate(failures=FailureLimit(count=9)), retry=ONCE), sizes=[2])
    succeed(world, 0, 0)
    fail(world, 0, 1)
    assert world.run.stages[0].reason == "1 of 2 succeeded, 90 % needed"


def test_a_stage_soaks_before_it_passes_and_failures_in_the_soak_count() -> None:
    gate = Gate(success_percent=50, straggler_after_ms=100, soak_ms=1_000, failures=FailureLimit(count=0))
    for breaks in (False, True):
        world = begun(stage("a", gate=gate, retry=ONCE), sizes=[2])
        succeed(world, 0, 0)
        assert deadline(world) == 100
        look(world, 100)
        assert (world.state(0), deadline(world)) == (S.SOAKING, 1_100)
        if breaks:
            fail(world, 0, 1)
            assert world.state(0) is S.FAILED
        else:
            look(world, 1_099)
            assert world.state(0) is S.SOAKING
            look(world, 1_100)
            assert world.state(0) is S.PASSED
            succeed(world, 0, 1)
            assert world.run.state is RunState.SUCCEEDED


def test_a_stage_whose_time_is_over_is_timed_out() -> None:
    timeouts = Timeouts(stage_ms=1_000)
    world = begun(stage("a", timeouts=timeouts, pace=Pace(max_in_flight=1)), stage("b", "a"), sizes=[2, 1])
    assert deadline(world) == 1_000
    look(world, 1_000)
    assert states(world) == [S.TIMED_OUT, S.CANCELLED]
    assert Cancel(stage=0, timed_out=True) in world.effects
    assert world.devices[0][1].reason is Reason.NEVER_STARTED
    end(world, 0, 0, AttemptState.CANCELLED)
    assert world.run.state is RunState.TIMED_OUT


def queueing(queued_ms: int = 1_000, *more: Stage, gate: Gate = LENIENT) -> World:
    """Return a world in which one of three devices may be at work, and the others wait for as long as given."""
    timeouts = Timeouts(queued_ms=queued_ms)
    first = stage("a", gate=gate, timeouts=timeouts, pace=Pace(max_in_flight=1), retry=Retry(attempts_max=2))
    return begun(first, *more, sizes=[3, *(1 for _ in more)])


def test_devices_that_wait_for_too_long_go_without_and_those_at_work_go_on() -> None:
    world = queueing()
    assert deadline(world) == 1_000
    look(world, 999)
    assert Expire(stage=0) not in world.effects
    look(world, 1_000)
    assert [device.state for device in world.devices[0]] == ["in_progress", "timed_out", "timed_out"]
    assert world.devices[0][2].reason is Reason.NEVER_STARTED
    assert world.state(0) is S.ROLLING_OUT
    succeed(world, 0, 0)
    assert world.run.state is RunState.SUCCEEDED


def test_a_device_that_would_wait_for_a_retry_goes_without_too() -> None:
    world = queueing()
    look(world, 1_000)
    fail(world, 0, 0, reason=Reason.INTERRUPTED)
    assert (world.devices[0][0].state, world.devices[0][0].reason) == (TargetState.TIMED_OUT, Reason.INTERRUPTED)


def test_waiting_stands_still_in_a_pause() -> None:
    world = queueing()
    look(world, 900)
    world.happen(Paused(at=world.now, reason="lunch"))
    look(world, 5_000)
    assert Expire(stage=0) not in world.effects
    world.happen(Resumed(at=world.now))
    look(world, 5_100)
    assert Expire(stage=0) in world.effects


def test_the_tail_of_a_passed_stage_waits_no_longer_either() -> None:
    world = queueing(gate=Gate(success_percent=30, straggler_after_ms=0))
    succeed(world, 0, 0)
    assert world.state(0) is S.PASSED
    look(world, 1_000)
    assert [device.state for device in world.devices[0]] == ["succeeded", "in_progress", "timed_out"]


def test_a_tail_is_watched_and_its_breach_pauses_the_run() -> None:
    gate = Gate(success_percent=50, straggler_after_ms=0, failures=FailureLimit(count=0))
    timeouts = Timeouts(stage_ms=1_000)
    world = begun(stage("a", gate=gate, retry=ONCE, timeouts=timeouts), stage("b", "a"), sizes=[4, 1])
    succeed(world, 0, 0, 1)
    assert (world.state(0), deadline(world)) == (S.PASSED, 1_000)
    fail(world, 0, 2)
    assert (world.state(0), world.run.pause_reasons) == (S.PASSED, ("breach:a",))
    world.happen(Resumed(at=world.now))
    look(world, 1_000)
    assert world.devices[0][3].cancel_requested
    assert world.run.stages[0].is_recalled
    look(world, 1_001)
    assert world.effects.count(Cancel(stage=0, timed_out=True)) == 1


def test_a_run_whose_time_is_over_stops_everything() -> None:
    tail = Gate(success_percent=50, straggler_after_ms=0)
    world = begun(
        stage("a", gate=tail), stage("b", trigger=Trigger.MANUAL), stage("c", "b"), sizes=[2, 1, 1], timeout_ms=1_000
    )
    succeed(world, 0, 0)
    assert deadline(world) == 1_000
    look(world, 1_000)
    assert states(world) == [S.PASSED, S.TIMED_OUT, S.TIMED_OUT]
    assert Cancel(stage=0, timed_out=True) in world.effects
    assert (world.run.epoch, world.run.reason) == (2, "the run's time was over")
    end(world, 0, 1, AttemptState.CANCELLED)
    assert world.run.state is RunState.TIMED_OUT


def test_terminating_calls_back_the_tail_of_a_passed_stage() -> None:
    tail = Gate(success_percent=50, straggler_after_ms=0)
    world = begun(stage("a", gate=tail), stage("b", "a"), sizes=[2, 1])
    succeed(world, 0, 0)
    world.happen(Terminated(at=world.now, reason=""))
    assert world.devices[0][1].cancel_requested
    assert (world.state(0), world.run.reason) == (S.PASSED, "terminated")


def test_a_gap_is_not_counted() -> None:
    world = begun(stage("a"), sizes=[1], timeout_ms=1_000)
    world.now = at(5_000)
    world.happen(Recovered(at=world.now, gap_ms=4_500))
    assert world.run.clock.run_time(world.now) == 500
    assert world.state(0) is S.ROLLING_OUT


def test_a_paused_run_gives_no_verdict_but_a_breach() -> None:
    world = begun(stage("a", gate=LENIENT), stage("b", gate=STRICT, retry=ONCE), sizes=[1, 2])
    world.happen(Paused(at=world.now, reason="op"))
    succeed(world, 0, 0)
    assert world.state(0) is S.ROLLING_OUT
    fail(world, 1, 0)
    assert states(world) == [S.CANCELLED, S.FAILED]


def test_looking_twice_says_the_same() -> None:
    world = begun(stage("a", pace=Pace(max_in_flight=3)), sizes=[4])
    world.pick = lambda count: 0
    succeed(world, 0, 0)
    once, effects = runs.step(world.plan, world.run, Woken(at=world.now))
    assert (once, effects) == (world.run, (Release(stage=0, count=1),))
    assert runs.step(world.plan, once, Woken(at=world.now)) == (once, effects)


def cut_short(size: int = 5, in_flight_max: int = 4) -> World:
    """Return a world in which the last transaction released two devices, and more are ready."""
    world = World(plan(stage("a", gate=LENIENT, pace=Pace(max_in_flight=in_flight_max))), [size])
    world.pick, world.cut = lambda count: min(count, 2), frozenset({0})
    return world.start()


def test_a_release_that_was_cut_short_is_due_at_once_and_goes_on_when_looked_at() -> None:
    world = cut_short()
    assert next_due(world) <= world.now

    world.cut = frozenset()
    look(world, 1)

    assert (world.run.stages[0].tally.in_progress, world.run.stages[0].is_cut) == (4, False)
    assert next_due(world) > world.now


def test_a_release_goes_on_after_the_run_was_stored_in_between() -> None:
    world = cut_short()
    stored = msgspec.json.decode(msgspec.json.encode(world.run), type=Run)
    _, effects = runs.step(world.plan, stored, Woken(at=world.now))
    assert effects == (Release(stage=0, count=2),)


def test_a_release_that_was_cut_short_is_not_due_without_room() -> None:
    world = cut_short(in_flight_max=2)
    assert next_due(world) > world.now
    succeed(world, 0, 0)
    assert (world.run.stages[0].tally.in_progress, next_due(world) > world.now) == (2, True)


def test_a_release_that_was_cut_short_waits_while_the_run_is_paused() -> None:
    world = cut_short()
    world.happen(Paused(at=world.now, reason="op"))
    assert runs.next_deadline(world.plan, world.run) is None
    world.happen(Resumed(at=world.now))
    assert world.run.stages[0].tally.in_progress == 4


def test_a_release_of_which_nothing_came_is_not_due_again() -> None:
    world = cut_short()
    world.pick, world.cut = lambda _: 0, frozenset()
    look(world, 1)
    assert next_due(world) > world.now


def next_due(world: World) -> int:
    due = runs.next_deadline(world.plan, world.run)
    assert due is not None
    return due


# --- outputs ----------------------------------------------------------------------------------------------------

FAST = 'avg("a", "boot_ms") < 900 && max("a", "load") < 9'


def test_only_the_outputs_that_a_condition_asks_for_are_summed_up() -> None:
    world = begun(stage("a", gate=LENIENT), stage("b", "a", when=FAST), sizes=[3, 1])
    end(world, 0, 0, AttemptState.SUCCEEDED, boot_ms=800, load="high", other=1)
    end(world, 0, 1, AttemptState.FAILED, Reason.VERIFY_FAILED, boot_ms=960, load=2)
    assert world.run.stages[0].outputs == {
        "boot_ms": Summary(count=2, least=800, greatest=960, total=1_760),
        "load": Summary(count=1, least=2, greatest=2, total=2),
    }
    end(world, 0, 2, AttemptState.SUCCEEDED)
    assert world.state(1) is S.ROLLING_OUT
    end(world, 1, 0, AttemptState.SUCCEEDED, boot_ms=1)
    assert world.run.stages[1].outputs == {}


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"boot_ms": 900, "load": 1}, 'avg("a", "boot_ms") is 900, max("a", "load") is 1'),
        ({"boot_ms": 1}, 'avg("a", "boot_ms") is 1, max("a", "load") is not known: no device has told it'),
    ],
)
def test_a_stage_is_skipped_where_what_was_told_is_not_enough(told: dict[str, int], reason: str) -> None:
    world = begun(stage("a"), stage("b", "a", when=FAST), sizes=[1, 1])
    end(world, 0, 0, AttemptState.SUCCEEDED, **told)
    assert world.state(1) is S.SKIPPED
    assert world.run.stages[1].reason == f"condition: {reason}"


def test_a_condition_asks_one_stage_and_hears_no_other() -> None:
    third = stage("c", "a", "b", when='min("b", "boot_ms") > 5')
    world = begun(stage("a"), stage("b"), third, sizes=[1, 1, 1])
    end(world, 0, 0, AttemptState.SUCCEEDED, boot_ms=9)
    end(world, 1, 0, AttemptState.SUCCEEDED, boot_ms=5)
    assert world.run.stages[0].outputs == {}
    assert world.state(2) is S.SKIPPED


def test_a_stage_that_lacks_approvals_is_not_promoted() -> None:
    asks = stage("all", trigger=Trigger.MANUAL, approvals=2)
    world = World(msgspec.structs.replace(plan(asks), author="ann", started_by="olga"), [1]).start()

    def approve(*people: str) -> None:
        for person in people:
            world.happen(Approved(at=world.now, stage=0, by=person))

    approve("ann", "olga", "bob", "bob")
    world.happen(Promoted(at=world.now, stage=0))
    assert world.state(0) is StageState.AWAITING_PROMOTION
    assert [one.by for one in world.run.stages[0].approvals] == ["bob"]

    approve("cem")
    world.happen(Promoted(at=world.now, stage=0))
    assert world.state(0) is StageState.ROLLING_OUT
    approve("dee")
    assert len(world.run.stages[0].approvals) == 2


def test_approvals_are_of_a_run_that_runs() -> None:
    asks = stage("all", trigger=Trigger.MANUAL, approvals=1)
    world = World(plan(asks), [1]).start()
    world.happen(Terminated(at=world.now, reason="enough"))
    world.happen(Approved(at=world.now, stage=0, by="bob"))
    assert world.run.stages[0].approvals == ()
