"""Silence after a success: it counts against the build, once, unless others are out of sight as well."""

import msgspec
import pytest

from controller.domain.events import Note, Resumed, Skipped, TelemetryLost
from controller.domain.pipeline import FailureLimit, Gate, Pipeline, Rollback
from controller.domain.settle import telemetry_of
from controller.domain.silence import Bystander, Facts, counted, is_blind, said, weighed
from controller.domain.states import StageState
from controller.domain.target import (
    CameOnline,
    Delta,
    DueReached,
    Event,
    Excused,
    Marked,
    Policy,
    Released,
    Reported,
    ShutOut,
    Target,
    TargetState,
    Unseen,
    WentOffline,
    delta,
    step,
)
from controller.domain.validation import validate
from protocol.health import Mark
from protocol.ids import Digest, StageName
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from protocol.units import Instant
from tests.controller.domain.kit import World, at, stage
from tests.controller.domain.test_run import begun, deadline, look, succeed

POLICY = Policy(watch_ms=1_000, soak_ms=1_000, silent_after_ms=300)
SENT = Target(
    state=TargetState.IN_PROGRESS,
    attempt=1,
    attempt_state=AttemptState.SENT,
    command=Digest("a" * 64),
    due=100_000,
)
SUCCESS = Reported(at=100, attempt=1, state=AttemptState.SUCCEEDED, left=Left.NEW)
CRASHED = Marked(attempt=1, mark=Mark.CRASHED, detail="its last words")


def after(target: Target, *events: Event, policy: Policy = POLICY) -> Target:
    for event in events:
        target, effects = step(target, event, policy)
        assert effects == ()
    return target


DONE = after(SENT, SUCCESS)
AWAY = after(DONE, WentOffline(at=200))
SILENT = after(AWAY, DueReached(at=500))


def test_who_succeeds_is_watched_for_a_soak_from_then_on() -> None:
    assert (DONE.watched_until, DONE.due) == (1_100, None)


@pytest.mark.parametrize("end", [AttemptState.FAILED, AttemptState.REJECTED, AttemptState.CANCELLED])
def test_nobody_else_is_watched(end: AttemptState) -> None:
    assert after(SENT, msgspec.structs.replace(SUCCESS, state=end, left=None)).watched_until is None
    assert after(SENT, SUCCESS, policy=Policy(soak_ms=1_000)).watched_until is None


def test_a_device_that_is_offline_for_too_long_counts_as_failed_and_stays_where_it_is() -> None:
    assert msgspec.structs.replace(DONE, due=500) == AWAY
    assert after(AWAY, DueReached(at=499)) == AWAY
    assert msgspec.structs.replace(DONE, is_silent=True, is_blamed=True, watched_until=None) == SILENT
    there = TargetState.SUCCEEDED
    assert delta(AWAY, SILENT) == Delta(before=there, after=there, blamed=1, faultless=-1, unwell=1)
    assert delta(DONE, AWAY) == Delta(before=there, after=there)


def test_a_device_that_comes_back_in_time_counts_as_before() -> None:
    assert after(AWAY, CameOnline(at=499)) == DONE
    assert after(AWAY, CameOnline(at=499), DueReached(at=500)) == DONE


def test_silence_is_never_taken_back() -> None:
    assert after(SILENT, CameOnline(at=600), WentOffline(at=700), DueReached(at=1_000), Excused(at=1_000)) == SILENT


def test_a_device_that_goes_twice_is_away_since_the_first_time() -> None:
    assert after(AWAY, WentOffline(at=300)) == AWAY


@pytest.mark.parametrize(("went_at", "due"), [(800, 1_100), (801, None), (5_000, None)])
def test_silence_counts_only_where_it_is_complete_within_the_soak(went_at: int, due: int | None) -> None:
    assert after(DONE, WentOffline(at=went_at)).due == due


def test_a_device_that_is_seen_after_its_soak_is_watched_no_more() -> None:
    assert after(DONE, CameOnline(at=1_099)).watched_until == 1_100
    assert after(DONE, CameOnline(at=1_100)).watched_until is None


def test_who_is_excused_is_given_as_much_time_again_and_a_whole_soak() -> None:
    excused = after(AWAY, Excused(at=500))
    assert (excused.due, excused.watched_until, excused.is_blamed) == (800, 1_500, False)


def test_who_told_harm_is_not_counted_again_for_its_silence() -> None:
    told = after(AWAY, CRASHED)
    assert (told.due, told.watched_until, told.is_blamed) == (None, None, True)
    assert after(told, WentOffline(at=600), DueReached(at=900)) == told
    assert after(SENT, CRASHED, SUCCESS).watched_until is None


def test_harm_that_a_silent_device_tells_later_is_noted_and_not_counted_again() -> None:
    told = after(SILENT, CameOnline(at=600), CRASHED)
    assert (told.is_silent, told.health, told.health_detail) == (True, Mark.CRASHED, "its last words")
    change = delta(SILENT, told)
    assert (change.blamed, change.unwell) == (0, 0)


def test_a_mark_leaves_the_deadline_of_work_alone() -> None:
    assert after(SENT, CRASHED).due == SENT.due


def test_a_device_that_failed_before_it_succeeded_is_blamed_once() -> None:
    failed = after(SENT, msgspec.structs.replace(SUCCESS, state=AttemptState.FAILED, reason=Reason.VERIFY_FAILED))
    queued = msgspec.structs.replace(failed, state=TargetState.QUEUED, due=None)
    done = after(queued, Released(at=150, command=Digest("b" * 64)), msgspec.structs.replace(SUCCESS, attempt=2))
    silent = after(done, WentOffline(at=200), DueReached(at=500))
    change = delta(done, silent)
    assert (silent.is_silent, change.blamed, change.unwell, change.faultless) == (True, 0, 1, 0)


@pytest.mark.parametrize("target", [DONE, AWAY])
def test_after_a_start_of_the_controller_everybody_has_twice_as_long(target: Target) -> None:
    assert (after(target, Unseen(at=490)).due, target.watched_until) == (1_090, 1_100)
    assert after(target, Unseen(at=510)).due is None, "it would be complete only after the soak"


@pytest.mark.parametrize("target", [DONE, AWAY])
def test_who_is_shut_out_is_watched_no_more(target: Target) -> None:
    out = after(target, ShutOut(at=400))
    assert (out.due, out.watched_until, out.is_blamed) == (None, None, False)
    assert after(out, CameOnline(at=450), WentOffline(at=460)) == out
    assert after(SILENT, ShutOut(at=600)) == SILENT


@pytest.mark.parametrize("event", [WentOffline(at=1), CameOnline(at=1), Unseen(at=1), Excused(at=1), ShutOut(at=1)])
def test_whether_a_device_at_work_is_connected_changes_nothing(event: Event) -> None:
    assert after(SENT, event) == SENT
    assert after(DONE, event, policy=Policy(soak_ms=1_000)) == DONE


# --- whether we would have heard ---

HERE = Bystander(is_online=True, last_seen_at=Instant(95))
QUIET = Bystander(is_online=True, last_seen_at=Instant(70))
LOST = Bystander(is_online=False, last_seen_at=Instant(95))
LONG_GONE = Bystander(is_online=False, last_seen_at=Instant(9))
NEVER = Bystander(is_online=False, last_seen_at=None)
REACHED = msgspec.structs.replace(HERE, is_reached=True)
REACHED_LOST = msgspec.structs.replace(LOST, is_reached=True)


@pytest.mark.parametrize(
    ("bystanders", "heard", "here", "lost", "blind"),
    [
        ([], 0, 0, 0, True),
        ([REACHED], 1, 0, 0, False),
        ([HERE, LOST], 1, 1, 1, False),
        ([HERE, LOST, LOST], 1, 1, 2, True),
        ([REACHED, LOST], 1, 0, 1, True),
        ([REACHED, REACHED_LOST, REACHED_LOST], 1, 0, 0, False),
        ([HERE, LONG_GONE, LONG_GONE, NEVER, NEVER], 1, 1, 0, False),
        ([HERE, QUIET, QUIET], 1, 1, 2, True),
        ([QUIET, REACHED_LOST], 0, 0, 1, True),
    ],
)
def test_nobody_is_blamed_when_most_others_are_gone_or_nobody_is_heard(
    bystanders: list[Bystander], heard: int, here: int, lost: int, *, blind: bool
) -> None:
    facts = weighed(bystanders, silent=1, since=Instant(50), heard_since=Instant(80))
    assert facts == Facts(silent=1, heard=heard, here=here, lost=lost)
    assert is_blind(facts) is blind


def test_what_is_known_is_said_with_its_numbers() -> None:
    gone = said(Facts(silent=1, heard=9, here=2, lost=5))
    assert gone == "1 device fell silent after its update, and 5 of 7 others went offline as well"
    assert said(Facts(silent=3, heard=0, here=0, lost=5)) == (
        "3 devices fell silent after their updates, and no other device is heard of"
    )


@pytest.mark.parametrize(
    ("silent", "span_ms", "words"),
    [
        (1, 1_800_000, "1 device was offline for 30 min: counted as failed"),
        (3, 7_200_000, "3 devices were offline for 2 h: counted as failed"),
    ],
)
def test_who_counts_as_failed_is_said_with_the_span(silent: int, span_ms: int, words: str) -> None:
    assert counted(silent, span_ms) == words


# --- the gate of a stage ---

GATE = Gate(soak_ms=1_000, silent_after_ms=300, success_percent=75, sequential=None)
LIMIT = msgspec.structs.replace(GATE, failures=FailureLimit(count=0))
A = StageName("a")


def soaking(gate: Gate = GATE, *, size: int = 4) -> World:
    world = begun(stage("a", gate=gate), sizes=[size])
    for index in range(size):
        succeed(world, 0, index)
    return world


def silence(world: World, *indexes: int) -> None:
    for index in indexes:
        world.device(0, index, WentOffline(at=world.run_time))
    look(world, 300)
    for index in indexes:
        world.device(0, index, DueReached(at=world.run_time))


def lose_sight(world: World) -> None:
    world.happen(TelemetryLost(at=world.now, stage=0, evidence="5 of 7"))


def test_a_gate_counts_silent_devices() -> None:
    world = soaking(LIMIT)
    silence(world, 0)
    tally = world.run.stages[0].tally
    assert (tally.succeeded, tally.well, tally.unwell, tally.blamed) == (4, 3, 1, 1)
    assert world.state(0) is StageState.FAILED


def test_silent_devices_are_no_success_of_their_stage() -> None:
    world = soaking()
    silence(world, 0, 1)
    look(world, 1_000)
    assert world.run.stages[0].reason == "2 of 4 succeeded and stayed well, 75 % needed"


def test_loss_of_telemetry_holds_the_run_and_the_soak_begins_anew() -> None:
    world = soaking()
    look(world, 400)
    lose_sight(world)
    assert world.run.pause_reasons == ("telemetry:a",)
    assert world.notes[-1] == Note(kind="paused", text="telemetry:a", evidence="5 of 7")
    look(world, 9_000)
    world.happen(Resumed(at=world.now, reason="the line is mended", by="ann"))
    assert (world.run.is_paused, world.state(0), deadline(world)) == (False, StageState.SOAKING, 10_000)
    look(world, 10_000)
    assert world.state(0) is StageState.PASSED


def test_telemetry_that_is_lost_twice_holds_once() -> None:
    world = soaking()
    lose_sight(world)
    epoch = world.run.epoch
    lose_sight(world)
    assert (world.run.pause_reasons, world.run.epoch) == (("telemetry:a",), epoch)


def test_a_stage_that_rolls_out_is_held_without_a_soak() -> None:
    world = begun(stage("a", gate=GATE), sizes=[2])
    succeed(world, 0, 0)
    lose_sight(world)
    assert (world.run.is_paused, world.state(0), world.run.stages[0].soak_at) == (True, StageState.ROLLING_OUT, None)


def test_a_stage_that_is_skipped_holds_the_run_no_more() -> None:
    world = begun(stage("a", gate=GATE), sizes=[2])
    lose_sight(world)
    world.happen(Skipped(at=at(5), stage=0, reason="enough"))
    assert telemetry_of(A) not in world.run.pause_reasons
    assert world.state(0) is StageState.SKIPPED


# --- definitions ---


@pytest.mark.parametrize(("soak_ms", "is_right"), [(0, False), (299, False), (300, True), (1_000, True)])
def test_silence_needs_a_soak_that_is_long_enough(soak_ms: int, *, is_right: bool) -> None:
    gate = Gate(soak_ms=soak_ms, silent_after_ms=300)
    pipeline = Pipeline(name="weekly", stages=(stage("a", gate=gate),), rollback=Rollback(gate=gate))
    found = [(fault.place, fault.message) for fault in validate(pipeline)]
    message = "nobody falls silent after the soak: expected a soak at least as long"
    places = [] if is_right else ["stages[0].gate.silent_after", "rollback.gate.silent_after"]
    assert found == [(place, message) for place in places]
