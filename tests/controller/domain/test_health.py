"""What devices tell of a release after its success: a mark counts against the build, once, and moves no state."""

from typing import Any

import msgspec
import pytest

from controller.domain.gates.judgement import is_success
from controller.domain.pipeline import FailureLimit, Gate, OnBreach, OnHealth
from controller.domain.settle import breach_of
from controller.domain.states import StageState
from controller.domain.target import (
    Anomaly,
    CancelRequested,
    Delta,
    DueReached,
    Event,
    Marked,
    Policy,
    Released,
    Reported,
    Target,
    TargetState,
    delta,
    step,
)
from protocol.health import Mark
from protocol.ids import Digest, StageName
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from tests.controller.domain.kit import World, stage
from tests.controller.domain.test_run import begun, deadline, fail, look, succeed

POLICY = Policy(watch_ms=1_000)
SENT = Target(
    state=TargetState.IN_PROGRESS,
    attempt=1,
    attempt_state=AttemptState.SENT,
    command=Digest("a" * 64),
    due=100_000,
)
SUCCESS = Reported(at=5, attempt=1, state=AttemptState.SUCCEEDED, left=Left.NEW, detail="took a while")
CRASHED = Marked(attempt=1, mark=Mark.CRASHED, detail="its last words")
UNWELL = Marked(attempt=1, mark=Mark.UNWELL, detail="503")
WELL = Marked(attempt=1, mark=Mark.WELL)
ENDED = Marked(attempt=1, mark=Mark.ENDED)


def after(target: Target, *events: Event) -> Target:
    for event in events:
        target, _ = step(target, event, POLICY)
    return target


DONE = after(SENT, SUCCESS)


@pytest.mark.parametrize("bad", [CRASHED, UNWELL])
def test_a_device_that_tells_of_harm_counts_as_failed_and_stays_where_it_is(bad: Marked) -> None:
    told = after(DONE, bad)
    assert told == msgspec.structs.replace(DONE, health=bad.mark, health_detail=bad.detail, is_blamed=True)
    assert (told.state, told.detail, told.reason) == (TargetState.SUCCEEDED, "took a while", None)
    there = TargetState.SUCCEEDED
    assert delta(DONE, told) == Delta(before=there, after=there, blamed=1, faultless=-1, unwell=1)


@pytest.mark.parametrize("mark", [WELL, ENDED])
def test_a_device_that_tells_of_no_harm_is_noted_and_counts_as_before(mark: Marked) -> None:
    told = after(DONE, mark)
    assert told == msgspec.structs.replace(DONE, health=mark.mark)
    assert not told.is_unwell
    assert delta(DONE, told) == Delta(before=TargetState.SUCCEEDED, after=TargetState.SUCCEEDED)


@pytest.mark.parametrize("later", [CRASHED, UNWELL, WELL, ENDED])
def test_the_first_bad_mark_is_the_one_that_counts(later: Marked) -> None:
    told = after(DONE, CRASHED)
    assert step(told, later, POLICY) == (told, ())


def test_a_copy_of_the_device_that_is_well_hides_no_harm() -> None:
    assert after(DONE, WELL, UNWELL).health is Mark.UNWELL
    assert after(DONE, WELL, UNWELL).is_blamed


@pytest.mark.parametrize("other", [CRASHED, UNWELL, WELL])
def test_a_watch_that_ended_early_gives_way_to_what_another_one_told(other: Marked) -> None:
    assert after(DONE, ENDED, other) == after(DONE, other, ENDED) == after(DONE, other)


def test_a_mark_that_overtakes_the_success_is_kept_until_that_comes() -> None:
    early = after(SENT, CRASHED)
    assert (early.state, early.is_blamed, early.is_started) == (TargetState.IN_PROGRESS, True, True)
    done = after(early, SUCCESS)
    assert (done.state, done.is_blamed, done.is_unwell) == (TargetState.SUCCEEDED, True, True)
    whole = [delta(SENT, early), delta(early, done)]
    assert (sum(one.blamed for one in whole), sum(one.unwell for one in whole)) == (1, 1)


def test_a_mark_counts_of_an_attempt_that_was_taken_for_lost() -> None:
    lost = after(SENT, DueReached(at=100_000))
    assert lost.state is TargetState.QUEUED
    told = after(lost, CRASHED)
    assert (told.state, told.is_blamed) == (TargetState.QUEUED, True)
    again = after(told, Released(at=200_000, command=Digest("b" * 64)))
    assert (again.is_blamed, again.health, again.health_detail) == (True, Mark.CRASHED, "its last words")


def test_a_mark_of_a_device_that_was_called_off_counts_and_takes_it_from_nowhere() -> None:
    off = after(SENT, CancelRequested(at=6), DueReached(at=10**9))
    told = after(off, CRASHED)
    assert (told.state, told.is_blamed, told.is_unwell) == (TargetState.CANCELLED, True, True)
    assert delta(off, told).unwell == 0


@pytest.mark.parametrize("attempt", [0, 2])
def test_a_mark_of_no_attempt_is_an_anomaly(attempt: int) -> None:
    event = Marked(attempt=attempt, mark=Mark.CRASHED)
    assert step(DONE, event, POLICY) == (DONE, (Anomaly(kind="mark_of_no_attempt"),))


def test_a_mark_that_nobody_asked_for_is_an_anomaly() -> None:
    assert step(DONE, CRASHED, Policy()) == (DONE, (Anomaly(kind="mark_unasked"),))


def test_a_failure_that_is_blamed_on_the_build_already_is_not_counted_twice() -> None:
    failed = after(SENT, Reported(at=5, attempt=1, state=AttemptState.FAILED, reason=Reason.VERIFY_FAILED))
    assert delta(failed, after(failed, CRASHED)).blamed == 0


# --- the gate of a stage ---

SOAKED = Gate(soak_ms=1_000, success_percent=75, sequential=None)


def marked(world: World, index: int, mark: Mark = Mark.CRASHED) -> None:
    world.device(0, index, Marked(attempt=1, mark=mark))


def soaking(gate: Gate = SOAKED, *, size: int = 4) -> World:
    """Return a stage all of whose devices have succeeded."""
    world = begun(stage("a", gate=gate), sizes=[size])
    for index in range(size):
        succeed(world, 0, index)
    assert world.state(0) is StageState.SOAKING
    return world


def test_a_gate_counts_devices_that_crash_in_the_soak() -> None:
    world = soaking(msgspec.structs.replace(SOAKED, failures=FailureLimit(count=1)))
    marked(world, 0)
    tally = world.run.stages[0].tally
    assert (tally.succeeded, tally.well, tally.blamed, tally.exposed, tally.failed) == (4, 3, 1, 4, 0)
    assert world.state(0) is StageState.SOAKING
    marked(world, 1, Mark.UNWELL)
    assert world.state(0) is StageState.FAILED
    assert world.run.stages[0].reason == "2 of 4 started devices failed"


def test_the_share_of_successes_must_hold_to_the_end_of_the_soak() -> None:
    world = soaking()
    marked(world, 0)
    marked(world, 1)
    assert world.state(0) is StageState.SOAKING
    assert deadline(world) == 1_000
    look(world, 1_000)
    assert world.state(0) is StageState.FAILED
    assert world.run.stages[0].reason == "2 of 4 succeeded and stayed well, 75 % needed"


def test_a_stage_passes_with_as_many_unwell_as_its_share_allows() -> None:
    world = soaking()
    marked(world, 0)
    look(world, 1_000)
    assert world.state(0) is StageState.PASSED


def test_devices_that_are_well_change_nothing() -> None:
    world = soaking()
    for index in range(4):
        marked(world, index, Mark.WELL)
    assert world.run.stages[0].tally.unwell == 0
    look(world, 1_000)
    assert world.state(0) is StageState.PASSED


def test_who_crashed_before_the_soak_does_not_help_a_stage_into_it() -> None:
    world = begun(stage("a", gate=SOAKED), sizes=[2])
    succeed(world, 0, 0)
    marked(world, 0)
    succeed(world, 0, 1)
    assert world.state(0) is StageState.FAILED
    assert world.run.stages[0].reason == "1 of 2 succeeded and stayed well, 75 % needed"


def test_a_crash_in_the_tail_of_a_passed_stage_holds_the_run() -> None:
    gate = Gate(soak_ms=1_000, success_percent=50, straggler_after_ms=10, failures=FailureLimit(count=0))
    world = begun(stage("a", gate=gate), stage("b", "a"), sizes=[2, 1])
    succeed(world, 0, 0)
    look(world, 10)
    look(world, 1_010)
    assert world.state(0) is StageState.PASSED
    marked(world, 0)
    assert world.run.pause_reasons == (breach_of(StageName("a")),)


def test_a_crash_after_the_end_of_the_run_is_counted_and_changes_no_verdict() -> None:
    world = begun(stage("a", gate=msgspec.structs.replace(SOAKED, soak_ms=1)), sizes=[1])
    succeed(world, 0, 0)
    look(world, 1)
    assert world.run.state.is_terminal
    marked(world, 0)
    assert (world.run.stages[0].tally.blamed, world.state(0)) == (1, StageState.PASSED)


def test_a_breach_by_crashes_stops_only_above_what_was_accepted() -> None:
    gate = msgspec.structs.replace(SOAKED, failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE)
    world = begun(stage("a", gate=gate), sizes=[9])
    for index in range(8):
        succeed(world, 0, index)
    marked(world, 0)
    assert world.run.is_paused
    marked(world, 0)
    marked(world, 0, Mark.UNWELL)
    assert world.run.stages[0].tally.blamed == 1


@pytest.mark.parametrize(
    ("fields", "watch_ms"),
    [({}, 0), ({"soak_ms": 7}, 7), ({"soak_ms": 7, "health": OnHealth.IGNORED}, 0)],
)
def test_devices_watch_for_as_long_as_the_soak_unless_health_is_ignored(fields: dict[str, Any], watch_ms: int) -> None:
    assert Gate(**fields).watch_ms == watch_ms


def test_a_device_that_failed_and_then_succeeded_is_well() -> None:
    world = begun(stage("a", gate=SOAKED), sizes=[1])
    fail(world, 0, 0)
    tally = world.run.stages[0].tally
    assert (tally.unwell, is_success(SOAKED, tally)) == (0, False)
