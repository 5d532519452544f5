"""A control group: who is held back, what is compared with it, what comes of a breach, and how it is released."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from controller.domain import control
from controller.domain.control import Arm, AtRisk, ControlRun
from controller.domain.counters import Tally
from controller.domain.events import Discharge, Discharged, Paused, Readmitted, Resumed, Skipped, Terminated
from controller.domain.gates import judgement
from controller.domain.gates.logrank import Crash, evidence_of
from controller.domain.model import StageRun
from controller.domain.pipeline import Control, Gate, Growth, OnBreach, OnHealth, Pace, Ramp, Stage, Timeouts
from controller.domain.quarantine import MODELS_MAX, OTHERS
from controller.domain.quarantine import begun as models_begun
from controller.domain.settle import crashes_of
from controller.domain.states import RunState, StageState
from controller.domain.target import (
    CancelRequested,
    Delta,
    DueReached,
    Event,
    Marked,
    Policy,
    Reissued,
    Released,
    Removed,
    Reported,
    Target,
    TargetState,
    delta,
    step,
)
from controller.domain.target import Discharged as DischargedTarget
from controller.domain.validation import validate
from protocol.health import Mark
from protocol.ids import DeviceId, Digest, StageName
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from tests.controller.domain.kit import World, plan, stage
from tests.controller.domain.test_run import deadline, fail, look, succeed

POLICY = Policy(watch_ms=1_000)
DIGEST = Digest("a" * 64)
HELD = Gate(soak_ms=1_000, success_percent=50, control=Control(share_percent=50))
QUEUED, AT_WORK, SUCCEEDED = TargetState.QUEUED, TargetState.IN_PROGRESS, TargetState.SUCCEEDED
PAUSED = crashes_of(StageName("a"))


def after(target: Target, *events: Event) -> Target:
    for event in events:
        target, _ = step(target, event, POLICY)
    return target


def sent(target: Target = Target(), *, at: int = 0) -> Target:  # noqa: B008 - frozen
    return after(target, Released(at=at, command=DIGEST, is_compared=True))


def success(attempt: int = 1) -> Reported:
    return Reported(at=5, attempt=attempt, state=AttemptState.SUCCEEDED, left=Left.NEW)


def mark(kind: Mark = Mark.CRASHED, attempt: int = 1) -> Marked:
    return Marked(attempt=attempt, mark=kind)


WATCHING = after(sent(Target(is_control=True)), success())
UPDATED = after(sent(), success())


# --- who is held back ---


@given(st.integers(0, 300), st.sampled_from([0.5, 1.0, 5.0, 12.5, 50.0]))
def test_never_more_than_the_share_is_held_back_and_of_two_devices_one(size: int, share: float) -> None:
    devices = [DeviceId(f"d{number}") for number in range(size)]
    held = control.chosen(devices, share_percent=share, salt="s")
    assert len(held) == max(int(size * share / 100), int(size > 1))
    assert held <= set(devices)


def test_who_is_held_back_is_sticky_and_of_a_hash_of_its_own() -> None:
    devices = [DeviceId(f"d{number}") for number in range(100)]
    held = control.chosen(devices, share_percent=10, salt="s")
    assert held == control.chosen(devices[::-1], share_percent=10, salt="s")
    assert held < control.chosen(devices, share_percent=20, salt="s")
    assert held != control.chosen(devices, share_percent=10, salt="other")


def test_the_models_with_most_control_devices_are_compared() -> None:
    counts = {f"k{number:02}": 2 for number in range(control.STRATA_MAX)} | {"few": 1, "many": 9}
    group = control.begun(counts)
    assert (group.held, group.tally) == (sum(counts.values()), Tally(queued=sum(counts.values())))
    assert len(group.strata) == control.STRATA_MAX
    assert "many" in group.strata
    assert "few" not in group.strata


def test_a_model_all_of_whose_devices_are_held_back_has_a_place_among_the_models_of_its_stage() -> None:
    counts = {f"k{number:02}": 2 for number in range(MODELS_MAX)} | {"held": 0}
    assert models_begun(counts, takes_new=False)[OTHERS].tally == Tally()


# --- one device ---


def test_marks_of_updated_devices_are_compared_and_blame_nobody() -> None:
    told = after(UPDATED, mark())
    assert (told.is_blamed, told.health) == (False, Mark.CRASHED)
    assert delta(UPDATED, told) == Delta(before=SUCCEEDED, after=SUCCEEDED, at_risk=-1, crashed=1)


def test_a_device_that_was_not_asked_to_watch_is_blamed_as_ever() -> None:
    blind = after(Target(), Released(at=0, command=DIGEST), success())
    told = after(blind, mark())
    assert (delta(blind, told).blamed, delta(blind, told).unwell, delta(blind, told).crashed) == (1, 1, 0)


def test_a_newer_command_for_one_attempt_changes_nothing_of_what_is_compared() -> None:
    blind = after(Target(), Released(at=0, command=DIGEST))
    assert not after(blind, Reissued(command=DIGEST)).is_compared
    assert after(sent(), Reissued(command=DIGEST)).is_compared


@pytest.mark.parametrize("held", [WATCHING, Target(is_control=True), after(WATCHING, mark())])
def test_who_is_held_back_and_leaves_the_fleet_is_not_updated_after_its_end(held: Target) -> None:
    gone = after(held, Removed(at=5, detail="sold"))
    assert gone.state is TargetState.REMOVED
    assert (delta(held, gone).crashed, delta(held, gone).watched) == (0, 0)


def test_an_updated_device_is_at_risk_from_its_command_on_and_a_control_device_from_its_success() -> None:
    queued, at_work = Target(), sent()
    assert (delta(queued, at_work).at_risk, delta(at_work, UPDATED).at_risk, delta(at_work, UPDATED).watched) == (
        1,
        0,
        1,
    )
    held, told = Target(is_control=True), sent(Target(is_control=True))
    assert (delta(held, told).at_risk, delta(told, WATCHING).at_risk, delta(told, WATCHING).watched) == (0, 1, 1)
    assert delta(held, told).is_control


@pytest.mark.parametrize("kind", [Mark.WELL, Mark.ENDED])
@pytest.mark.parametrize("watched", [UPDATED, WATCHING])
def test_a_watch_that_is_over_takes_a_device_out_of_those_at_risk(watched: Target, kind: Mark) -> None:
    change = delta(watched, after(watched, mark(kind)))
    assert (change.at_risk, change.crashed, change.watched) == (-1, 0, 0)


def test_progress_of_a_control_device_shows_nowhere_and_is_of_its_kind() -> None:
    told = sent(Target(is_control=True))
    progress = after(told, Reported(at=5, attempt=1, state=AttemptState.ACCEPTED))
    later = after(progress, Reported(at=6, attempt=1, state=AttemptState.ACCEPTED))
    assert delta(progress, later) == Delta(before=AT_WORK, after=AT_WORK, is_control=True)


def test_a_mark_that_overtakes_the_success_is_a_crash_once_that_comes() -> None:
    early = after(sent(), mark())
    assert (delta(sent(), early).at_risk, delta(sent(), early).crashed) == (-1, 0)
    assert delta(early, after(early, success())).crashed == 1


@pytest.mark.parametrize("kind", [Mark.WELL, Mark.ENDED])
def test_that_the_watch_of_an_earlier_attempt_is_over_says_nothing_of_the_newest(kind: Mark) -> None:
    lost = after(sent(), DueReached(at=10**9))
    assert after(lost, mark(kind)).health is kind
    again = sent(after(lost, mark(kind)))
    assert (again.health, delta(lost, again).at_risk) == (None, 1)
    assert after(again, mark(kind)) == again
    assert after(again, mark(kind, attempt=2)).health is kind
    assert sent(after(lost, mark())).health is Mark.CRASHED


def test_an_attempt_that_fails_takes_its_device_out_of_those_at_risk() -> None:
    failed = after(sent(), Reported(at=5, attempt=1, state=AttemptState.FAILED, reason=Reason.VERIFY_FAILED))
    assert (delta(sent(), failed).at_risk, delta(sent(), failed).crashed) == (-1, 0)


@pytest.mark.parametrize(
    "held",
    [
        Target(is_control=True),
        WATCHING,
        after(WATCHING, mark()),
        after(sent(Target(is_control=True)), DueReached(at=10**9)),
        after(Target(is_control=True), CancelRequested(at=3, reason=Reason.MODEL_QUARANTINED)),
    ],
)
def test_a_discharged_device_waits_for_its_turn_as_if_it_were_new(held: Target) -> None:
    freed = after(held, DischargedTarget())
    assert freed == Target(attempt=held.attempt, watches=held.attempt)
    assert delta(held, freed).is_control


@pytest.mark.parametrize("kind", list(Mark))
def test_what_a_device_tells_of_its_time_as_a_control_device_counts_nowhere(kind: Mark) -> None:
    freed = after(WATCHING, DischargedTarget())
    again = sent(freed, at=9)
    assert step(again, mark(kind, attempt=1), POLICY) == (again, ())
    done = after(again, success(attempt=2))
    assert step(done, mark(kind, attempt=1), POLICY) == (done, ())
    assert delta(done, after(done, mark(attempt=2))).crashed == 1


def test_a_discharged_device_has_its_whole_budget_and_its_first_backoff() -> None:
    failure = Reason.NO_CONTACT
    plain, freed = sent(), sent(after(WATCHING, DischargedTarget()))
    for attempt in (1, 2, 3):
        plain = after(plain, Reported(at=5, attempt=attempt, state=AttemptState.FAILED, reason=failure))
        freed = after(freed, Reported(at=5, attempt=attempt + 1, state=AttemptState.FAILED, reason=failure))
        assert (freed.state, freed.due, freed.attempt) == (plain.state, plain.due, plain.attempt + 1)
        if plain.state is QUEUED:
            plain, freed = sent(plain), sent(freed)
    assert plain.state is TargetState.FAILED


# --- what is compared ---

KINDS = st.sampled_from(["joins", "leaves", "crashes", "joins and crashes"])
STEPS = st.lists(st.tuples(KINDS, st.booleans(), st.sampled_from(["k1", "k2", "k3", None])), max_size=40)


def changes_of(steps: list[tuple[str, bool, str | None]]) -> list[Delta]:
    """Return those of the changes that can be: nobody leaves who is not there."""
    at_risk: dict[tuple[bool, str | None], int] = {}
    found: list[Delta] = []
    for kind, is_control, model in steps:
        here = at_risk.get((is_control, model), 0)
        moved = {"joins": 1, "leaves": -1, "crashes": -1, "joins and crashes": 0}[kind]
        if here + moved < 0:
            continue
        at_risk[is_control, model] = here + moved
        crashed = int("crashes" in kind)
        found.append(
            Delta(
                before=SUCCEEDED,
                after=SUCCEEDED,
                is_control=is_control,
                model=model,
                at_risk=moved,
                crashed=crashed,
                watched=int("joins" in kind),
            )
        )
    return found


def from_scratch(changes: list[Delta], models: set[str]) -> float:
    """Return the evidence that a list of first crashes makes, each with those at risk just before it."""
    crashes: list[Crash] = []
    for place, change in enumerate(changes):
        if change.crashed and change.model in models:
            earlier = [one for one in changes[:place] if one.model == change.model]
            updated = sum(one.at_risk for one in earlier if not one.is_control)
            held = sum(one.at_risk for one in earlier if one.is_control)
            updated += int(change.at_risk == 0 and not change.is_control)
            held += int(change.at_risk == 0 and change.is_control)
            crashes.append(Crash(is_treated=not change.is_control, treated=updated, control=held))
    return evidence_of(crashes).log


@given(STEPS, st.data())
def test_counting_change_by_change_is_as_good_as_from_scratch(
    steps: list[tuple[str, bool, str | None]], data: st.DataObject
) -> None:
    changes = changes_of(steps)
    group = control.begun({"k1": 2, "k2": 1})
    cut = data.draw(st.integers(0, len(changes)))
    group = control.counted(
        control.counted(msgspec.structs.replace(group, tally=Tally(succeeded=9)), changes[:cut]), changes[cut:]
    )
    assert group.evidence.log == pytest.approx(from_scratch(changes, {"k1", "k2"}))
    crashed = [change.is_control for change in changes if change.crashed]
    assert (group.control.crashed, group.updated.crashed) == (crashed.count(True), crashed.count(False))
    assert msgspec.json.decode(msgspec.json.encode(group), type=ControlRun) == group


def test_what_is_tolerated_needs_more_evidence() -> None:
    joins = [Delta(before=SUCCEEDED, after=SUCCEEDED, model="k1", at_risk=1, is_control=n % 2 == 0) for n in range(20)]
    crashes = [Delta(before=SUCCEEDED, after=SUCCEEDED, model="k1", at_risk=-1, crashed=1)] * 8
    group = msgspec.structs.replace(control.begun({"k1": 10}), tally=Tally(succeeded=10))
    strict, lenient = (control.counted(group, [*joins, *crashes], tolerated=ratio) for ratio in (1.0, 3.0))
    assert strict.evidence.log > lenient.evidence.log


def test_a_breach_needs_evidence_and_more_crashes_than_were_accepted() -> None:
    strong = control.begun({"k1": 30})
    strong = msgspec.structs.replace(strong, tally=Tally(succeeded=30), strata={"k1": AtRisk(updated=30, control=30)})
    crash = Delta(before=SUCCEEDED, after=SUCCEEDED, model="k1", at_risk=-1, crashed=1)
    group = control.counted(strong, [crash] * 20)
    assert control.is_breached(group, alpha=0.01)
    assert not control.is_breached(control.accepted(group), alpha=0.01)
    assert control.is_breached(control.counted(control.accepted(group), [crash]), alpha=0.01)
    assert not control.is_breached(control.counted(strong, [crash]), alpha=0.01)


def test_places_in_the_order_are_those_of_the_kind() -> None:
    group = control.begun({"k1": 3})
    assert control.places(None, is_control=False) == (0, None)
    assert (control.places(group, is_control=True), control.places(group, is_control=False)) == (
        (0, 3),
        (3, None),
    )
    freed = control.discharged(group, [], open_for=9)
    assert (control.places(freed, is_control=True), control.places(freed, is_control=False)) == (
        (0, 3),
        (0, None),
    )


def test_as_many_updated_devices_tell_numbers_as_are_held_back_those_that_come_first() -> None:
    group = control.begun({"k1": 2, "k2": 1})
    assert [place for place in range(12) if control.is_matched(group, place)] == [3, 4, 5]


# --- a stage ---


def told(world: World, index: int, kind: Mark = Mark.CRASHED) -> None:
    world.device(0, index, Marked(attempt=world.devices[0][index].attempt, mark=kind))


def opened(gate: Gate = HELD, *more: Stage, size: int = 8, **changes: Any) -> World:
    """Return a stage of one model of which half is held back: the first half."""
    sizes = [size, *(1 for _ in more)]
    definition = stage("a", gate=gate, pace=changes.pop("pace", Pace()), **changes)
    world = World(plan(definition, *more), sizes, [["k1"] * count for count in sizes])
    return world.start()


def watched(gate: Gate = HELD, *more: Stage, size: int = 8, **changes: Any) -> World:
    """Return a stage that soaks: whoever is updated succeeded, and whoever is held back is watched."""
    world = opened(gate, *more, size=size, **changes)
    succeed(world, 0, *range(size))
    assert world.state(0) is StageState.SOAKING
    return world


def group_of(world: World) -> ControlRun:
    found = world.run.stages[0].control
    assert found is not None
    return found


def test_control_devices_are_in_no_number_of_their_stage() -> None:
    world = opened()
    at_work = world.run.stages[0]
    assert (at_work.tally, group_of(world).tally) == (
        Tally(in_progress=4),
        Tally(in_progress=4),
    )
    assert at_work.models["k1"].tally.targets == 4
    fail(world, 0, 0, reason=Reason.VERIFY_FAILED)
    assert (world.run.stages[0].tally.blamed, group_of(world).tally.blamed) == (0, 1)


def test_a_stage_passes_though_its_control_devices_have_not_begun_and_then_updates_them() -> None:
    world = opened(pace=Pace(max_in_flight=2))
    for index in (4, 5, 6, 7):
        succeed(world, 0, index)
    assert (world.state(0), group_of(world).tally.in_progress) == (StageState.SOAKING, 2)
    look(world, 1_000)
    assert (world.state(0), world.run.state) == (StageState.PASSED, RunState.RUNNING)
    tally = world.run.stages[0].tally
    assert (tally.targets, tally.in_progress, group_of(world).tally) == (6, 2, Tally(in_progress=2))
    assert "discharged" in [note.kind for note in world.notes]
    succeed(world, 0, 0, 1, 2, 3)
    succeed(world, 0, 0, 1, 2, 3)
    assert (group_of(world).tally, world.run.stages[0].tally.succeeded) == (Tally(), 8)
    assert world.run.state is RunState.SUCCEEDED


def test_crashes_of_updated_devices_fail_a_stage_whose_control_devices_hold() -> None:
    world = watched(size=60)
    for index in range(30, 60):
        told(world, index)
        if world.state(0) is StageState.FAILED:
            break
    assert world.run.stages[0].tally.blamed == 0
    assert "updated crashed, 0 of 30 held back; evidence" in world.run.stages[0].reason
    known = group_of(world)
    assert known.breach is not None
    assert known.breach.updated == known.updated == Arm(watched=30, crashed=known.updated.crashed)
    assert known.updated.crashed < 15
    assert {one.state for one in world.devices[0]} == {SUCCEEDED}
    assert not any(isinstance(effect, Discharge) for effect in world.effects)


def test_crashes_that_befall_all_alike_stop_nothing() -> None:
    world = watched(size=60)
    for index in range(30):
        told(world, index)
        told(world, 30 + index)
    assert world.state(0) is StageState.SOAKING
    look(world, 1_000)
    assert world.state(0) is StageState.PASSED


def breached(world: World) -> int:
    """Let updated devices crash, the last ones first, until the run is held; return how many did."""
    for count, index in enumerate(range(len(world.devices[0]) - 1, -1, -1), start=1):
        told(world, index)
        if PAUSED in world.run.pause_reasons:
            return count
    raise AssertionError("nothing held the run")


def test_a_breach_may_pause_and_resuming_accepts_the_crashes() -> None:
    gate = msgspec.structs.replace(HELD, on_breach=OnBreach.PAUSE)
    world = watched(gate, size=60)
    count = breached(world)
    first = group_of(world).breach
    told(world, 59 - count)
    assert group_of(world).breach == first
    world.happen(Resumed(at=world.now))
    assert (world.run.is_paused, group_of(world).accepted) == (False, count + 1)
    told(world, 58 - count)
    assert world.run.pause_reasons == (PAUSED,)
    assert group_of(world).breach != first


def test_skipping_a_stage_ends_the_hold_and_its_control_devices_are_not_updated() -> None:
    world = watched(msgspec.structs.replace(HELD, on_breach=OnBreach.PAUSE), size=60)
    breached(world)
    world.happen(Skipped(at=world.now, stage=0, reason="not this one"))
    assert (world.state(0), world.run.is_paused, group_of(world).tally.succeeded) == (StageState.SKIPPED, False, 30)


def test_a_breach_may_only_be_told_once() -> None:
    world = watched(msgspec.structs.replace(HELD, on_breach=OnBreach.ALERT), size=60)
    for index in range(30, 60):
        told(world, index)
    assert [note.kind for note in world.notes].count("crashes") == 1
    look(world, 1_000)
    assert world.state(0) is StageState.PASSED


def test_a_breach_while_the_run_is_paused_is_one_more_reason_to_hold_it() -> None:
    world = watched(msgspec.structs.replace(HELD, on_breach=OnBreach.PAUSE), size=60)
    world.happen(Paused(at=world.now, reason="operator"))
    breached(world)
    assert world.run.pause_reasons == ("operator", PAUSED)


def test_a_stage_that_fails_calls_its_control_devices_back_and_updates_none() -> None:
    world = opened(msgspec.structs.replace(HELD, success_percent=100))
    succeed(world, 0, 0)
    fail(world, 0, 4, 5, 6, 7)
    assert world.state(0) is StageState.FAILED
    assert all(one.cancel_requested for one in world.devices[0][1:4])
    look(world, 10**6)
    for index in (1, 2, 3):
        world.device(0, index, DueReached(at=world.run_time))
    assert (world.run.state, group_of(world).tally.succeeded, group_of(world).tally.cancelled) == (
        RunState.FAILED,
        1,
        3,
    )


def test_terminating_updates_no_control_device() -> None:
    world = watched()
    world.happen(Terminated(at=world.now, reason="enough"))
    assert (world.run.state, group_of(world).tally) == (
        RunState.TERMINATED,
        msgspec.structs.replace(Tally(), succeeded=4, started=4, exposed=4, resolved=4),
    )


def test_a_run_does_not_end_before_its_control_devices_are_updated() -> None:
    world = watched(HELD, stage("b", "a"))
    look(world, 1_000)
    succeed(world, 1, 0)
    assert [one.state for one in world.run.stages] == [StageState.PASSED] * 2
    assert (world.run.state, world.run.stages[0].tally.in_progress) == (RunState.RUNNING, 4)


def test_who_left_the_fleet_is_not_discharged() -> None:
    world = watched(size=2)
    world.devices[0][0] = msgspec.structs.replace(world.devices[0][0], state=TargetState.REMOVED)
    group = msgspec.structs.replace(group_of(world), tally=Tally(removed=1), strata={"k1": AtRisk(updated=1)})
    assert group.dischargeable == 0
    assert not StageRun(state=StageState.PASSED, control=group).may_discharge


def test_the_tail_has_its_time_anew_once_control_devices_joined_it() -> None:
    world = watched(timeouts=Timeouts(stage_ms=1_500, queued_ms=1_200))
    look(world, 1_000)
    assert (world.state(0), world.run.stages[0].tail_ms) == (StageState.PASSED, 1_000)
    assert deadline(world) == 2_500
    look(world, 2_400)
    assert not world.run.stages[0].is_recalled
    look(world, 2_500)
    assert world.run.stages[0].is_recalled


def test_a_stage_that_passes_late_discharges_before_it_recalls() -> None:
    gate = msgspec.structs.replace(HELD, straggler_after_ms=10**6)
    world = opened(gate, timeouts=Timeouts(stage_ms=1_500))
    succeed(world, 0, 0, 1, 2, 3, 4, 5, 6)
    look(world, 1_500)
    assert world.state(0) is StageState.SOAKING
    look(world, 2_500)
    assert (world.state(0), world.run.stages[0].is_recalled) == (StageState.PASSED, False)
    assert world.run.stages[0].tally.in_progress == 5


def test_a_run_that_stops_as_a_stage_passes_calls_back_whom_it_has_just_discharged() -> None:
    world = World(
        plan(stage("a", gate=HELD), timeout_ms=1_000),
        [4],
    ).start()
    succeed(world, 0, 0, 1, 2, 3)
    look(world, 1_000)
    assert (world.state(0), world.run.state) == (StageState.PASSED, RunState.SUCCEEDED)
    assert [one.state for one in world.devices[0][:2]] == [TargetState.TIMED_OUT] * 2
    assert world.run.stages[0].tally.timed_out == 2


def test_a_discharge_that_comes_twice_is_once() -> None:
    world = watched()
    look(world, 1_000)
    before = world.run
    world.happen(Discharged(at=world.now, stage=0, deltas=()))
    assert world.run == before


def test_control_devices_cost_no_rate_and_nothing_of_a_ramp() -> None:
    world = opened(pace=Pace(per_minute=Growth(start=1, factor=2, every=100, max=2)))
    assert (group_of(world).tally.in_progress, world.run.stages[0].tally.in_progress) == (4, 1)
    ramped = opened(pace=Pace(ramp=Ramp(risk=1)), size=20)
    ramp = ramped.run.stages[0].ramp
    assert ramp is not None
    assert group_of(ramped).tally.in_progress == 10


def test_control_devices_may_begin_while_their_stage_soaks() -> None:
    world = opened(pace=Pace(max_in_flight=4), size=16)
    for _ in range(2):
        succeed(world, 0, *range(8, 16))
    assert (world.state(0), group_of(world).tally.queued) == (StageState.SOAKING, 4)
    succeed(world, 0, 0)
    assert group_of(world).tally.in_progress == 4


@pytest.mark.parametrize(("state", "soak_at"), [(StageState.ROLLING_OUT, None), (StageState.SOAKING, 0)])
def test_a_cut_of_control_devices_alone_is_due_again(state: StageState, soak_at: int | None) -> None:
    world = opened()
    group = msgspec.structs.replace(group_of(world), tally=Tally(queued=1))
    changes = {"state": state, "soak_at": soak_at, "control": group}
    at_work = msgspec.structs.replace(world.run.stages[0], is_cut=True, **changes)
    world.run = msgspec.structs.replace(world.run, stages=(at_work,))
    assert deadline(world) == 0


def test_a_quarantine_calls_control_devices_off_and_those_that_come_back_too() -> None:
    gate = msgspec.structs.replace(HELD, on_breach=OnBreach.ALERT, control=Control(share_percent=25))
    world = World(plan(stage("a", gate=gate, pace=Pace(max_in_flight=40)), alpha_percent=50), [40], [["k1", "k2"] * 20])
    world.start()
    for index in range(11, 40, 2):
        fail(world, 0, index)
    assert world.run.stages[0].models["k2"].breach is not None
    assert {one.state for one in world.devices[0][1:10:2]} == {AT_WORK}
    fail(world, 0, 1, reason=Reason.NO_CONTACT)
    assert world.devices[0][1].state is TargetState.CANCELLED
    world.happen(Readmitted(at=world.now, model="k2", reason="why not"))
    assert world.devices[0][1].state is TargetState.CANCELLED


def test_who_is_discharged_into_a_quarantine_is_called_off_again() -> None:
    gate = msgspec.structs.replace(HELD, success_percent=0, on_breach=OnBreach.ALERT, control=Control(share_percent=25))
    world = World(plan(stage("a", gate=gate, pace=Pace(max_in_flight=40)), alpha_percent=50), [40], [["k1", "k2"] * 20])
    world.start()
    for index in range(11, 40, 2):
        fail(world, 0, index)
    succeed(world, 0, *range(0, 40, 2), *range(1, 10, 2))
    look(world, 10**9)
    look(world, 2 * 10**9)
    assert world.state(0) is StageState.PASSED
    states = [(one.is_control, one.state) for one in world.devices[0][1:10:2]]
    assert set(states) == {(False, TargetState.CANCELLED)}


# --- what is wrong with a definition ---


@pytest.mark.parametrize(
    ("gate", "found"),
    [
        (Gate(control=Control(share_percent=5)), "control needs a soak: nothing is watched without one"),
        (
            Gate(soak_ms=1, health=OnHealth.IGNORED, control=Control(share_percent=5)),
            "control compares the health of devices: expected it without health: ignored",
        ),
    ],
)
def test_a_control_group_needs_something_to_compare(gate: Gate, found: str) -> None:
    faults = validate(plan(stage("a", gate=gate)).pipeline)
    assert [(fault.place, fault.message) for fault in faults] == [("stages[0].gate.control", found)]


def test_a_rollback_holds_nobody_back() -> None:
    pipeline = plan(stage("a")).pipeline
    rules = msgspec.structs.replace(pipeline.rollback, gate=Gate(soak_ms=1, control=Control(share_percent=5)))
    faults = validate(msgspec.structs.replace(pipeline, rollback=rules))
    assert [fault.place for fault in faults] == ["rollback.gate.control"]


def test_the_comparison_has_its_share_of_alpha() -> None:
    own = msgspec.structs.replace(HELD, control=Control(share_percent=5, alpha_percent=0.5))
    pipeline = plan(stage("a"), stage("b", gate=HELD), stage("c", gate=own)).pipeline
    assert judgement.control_alpha_of(pipeline, 2) == pytest.approx(0.005)
    each = [judgement.alpha_of(pipeline, index) for index in range(3)]
    assert [*each, judgement.control_alpha_of(pipeline, 1)] == pytest.approx([0.005 / 4] * 4)
    greedy = msgspec.structs.replace(HELD, control=Control(share_percent=5, alpha_percent=2))
    assert [fault.place for fault in validate(plan(stage("a", gate=greedy)).pipeline)] == ["alpha"]
