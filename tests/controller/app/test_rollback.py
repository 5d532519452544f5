"""Taking back what a run has reached: by hand, and where a stage says so by failing."""

from collections.abc import Sequence
from typing import Any

import pytest

from controller.app import channels, devices, jobs, reruns, runs, standstill, system
from controller.app import paths as paths_of_releases
from controller.app.access import Actor, RequestKey, Role
from controller.app.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from controller.app.views import RunView
from controller.domain.pipeline import (
    FailureLimit,
    Gate,
    OnBreach,
    OnFailure,
    Operation,
    Pace,
    Rollback,
    Targets,
    Trigger,
)
from controller.domain.trigger import OnRelease
from protocol.ids import device_id
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease, Op
from protocol.reasons import Reason
from protocol.units import HOUR, MINUTE
from tests.controller.app.rig import APP, Rig, stage

FIRST_FAILURE = Gate(failures=FailureLimit(count=0))
LENIENT = Gate(success_percent=0, failures=FailureLimit(count=9))


def has(version: str, counter: int, floor: int = 0) -> dict[str, Any]:
    return {"installed": (InstalledRelease(app=APP, version=version, counter=counter, floor=floor),)}


@pytest.fixture
def rig() -> Rig:
    """Return devices on three versions, and a release that all are to get."""
    rig = Rig()
    for counter, version in enumerate(("0.8.0", "0.9.0"), 1):
        rig.publish(version, counter)
    rig.publish("1.0.0", 3)
    rig.enrol("a", "b", "c", "new")
    rig.connect("a", **has("0.8.0", 1))
    rig.connect("b", "c", **has("0.9.0", 2))
    rig.connect("new")
    return rig


def begin(rig: Rig, *stages: Any, **pipeline: Any) -> str:
    """Start a run to version 1.0.0, which the rig has published."""
    published, rig.publish = rig.publish, lambda *_: None  # type: ignore[method-assign]
    run = rig.start(*(stages or (stage(gate=LENIENT),)), **pipeline)
    rig.publish = published  # type: ignore[method-assign]
    return run


def paths(rig: Rig, *names: str) -> list[str]:
    """Return the versions that devices were last told to install."""
    return [rig.last_install(name)[1].releases[0].path.split("/")[1] for name in names]


def left_out(view: RunView) -> dict[str, Sequence[str]]:
    return {one.reason: one.first for one in view.stages[0].left_out}


def back(rig: Rig, run: str, **how: Any) -> RunView:
    """Roll a run back, and return the run that does it."""
    first = rig.do(reruns.roll_back, run=run, reason="crashes", **how)
    assert first.id == run
    assert first.rolled_back_by
    return rig.view(first.rolled_back_by)


# --- by hand, of a run that has ended ---


def test_each_device_goes_back_to_what_it_had_before(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")

    view = back(rig, run)

    assert (view.source, view.purpose, view.version, view.started_by) == (run, "rollback", "several", "ann")
    assert paths(rig, "a", "b", "c") == ["0.8.0", "0.9.0", "0.9.0"]
    assert left_out(view) == {"no_previous": ("new",)}
    assert rig.target(view.id, "a").wanted == "0.8.0"
    assert rig.target(run, "a").previous == "0.8.0"
    rig.succeed("a", "b", "c")
    assert rig.view(view.id).state == "succeeded"


def test_all_may_go_to_one_version(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    view = back(rig, run, version="0.8.0")
    assert view.version == "0.8.0"
    assert paths(rig, "a", "b", "c", "new") == ["0.8.0"] * 4
    assert left_out(view) == {}


def test_only_those_who_were_sent_something_are_taken_back(rig: Rig) -> None:
    rig.lose("b", "c")
    run = begin(rig, stage(gate=Gate(success_percent=1, straggler_after_ms=0)))
    rig.succeed("a", "new")
    rig.do(runs.terminate, run=run, reason="enough")

    view = back(rig, run)

    assert view.stages[0].counters.in_progress == 1
    assert left_out(view) == {"no_previous": ("new",)}


def test_a_device_on_which_nothing_was_installed_stays_as_it_is(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "c", "new")
    rig.report("b", AttemptState.INSTALLING)
    rig.report("b", AttemptState.FAILED, reason=Reason.VERIFY_FAILED, left=Left.OLD, **has("0.9.0", 2))
    view = back(rig, run)
    assert left_out(view) == {"no_previous": ("new",), "unchanged": ("b",)}


def test_no_device_goes_below_its_floor_and_broken_or_blocked_ones_are_left_out(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("c", "new")
    for name, left in (("a", Left.NEW), ("b", Left.BROKEN)):
        rig.report(name, AttemptState.INSTALLING)
        state = AttemptState.SUCCEEDED if left is Left.NEW else AttemptState.FAILED
        reason = None if left is Left.NEW else Reason.INSTALL_FAILED
        rig.report(name, state, reason=reason, left=left, **has("1.0.0", 3, floor=2))
    rig.do(devices.block, device="new", reason="stolen")

    view = back(rig, run)

    assert left_out(view) == {"blocked": ("new",), "broken": ("b",), "below_floor": ("a",)}
    [note] = [event for event in rig.do(runs.events, run=view.id) if event.kind == "left_out"]
    assert note.data["text"] == "1 blocked; 1 left broken (b); 1 may not go below its floor"
    assert paths(rig, "c") == ["0.9.0"]


def test_a_version_that_is_not_published_is_not_gone_back_to(rig: Rig) -> None:
    rig.hello("a", **has("0.1.0", 0))
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    assert left_out(back(rig, run)) == {"no_previous": ("new",), "not_published": ("a",)}


def test_where_nobody_can_be_taken_back_that_is_said(rig: Rig) -> None:
    run = begin(rig, stage(targets=Targets(devices=(device_id("new"),))))
    rig.succeed("new")
    with pytest.raises(Conflict, match="no device to take back: 1 had no version before"):
        rig.do(reruns.roll_back, run=run, reason="crashes")
    assert not rig.view(run).rolled_back_by


def test_a_run_is_rolled_back_once(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    second = back(rig, run)
    with pytest.raises(Conflict, match=f"was rolled back by {second.id}"):
        rig.do(reruns.roll_back, run=run, reason="again")
    with pytest.raises(Conflict, match="was rolled back by"):
        rig.do(reruns.consequence, run=run)


def test_a_rollback_that_did_not_succeed_is_followed_by_another(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    second = back(rig, run)
    rig.succeed("a")
    rig.do(runs.terminate, run=second.id, reason="the link is down")
    rig.report("b", AttemptState.CANCELLED)
    rig.report("c", AttemptState.CANCELLED)
    assert rig.view(second.id).state == "terminated"

    third = back(rig, run)

    assert third.stages[0].counters.in_progress == 2
    assert left_out(third) == {"no_previous": ("new",), "unchanged": ("a",)}
    assert paths(rig, "b", "c") == ["0.9.0", "0.9.0"]
    assert rig.view(run).rolled_back_by == third.id


def test_the_way_to_a_version_does_not_bar_the_way_back_to_it(rig: Rig) -> None:
    rig.do(paths_of_releases.order, app=APP, version="0.9.0", allowed=">=0.8, <0.9", reason="its data moves once")
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    back(rig, run)
    assert paths(rig, "b", "c") == ["0.9.0", "0.9.0"]


def test_what_is_asked_with_one_key_is_done_once(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    actor = Actor(name="ann", role=Role.ADMIN, request=RequestKey(key="k", fingerprint="f"))
    first = rig.do(reruns.roll_back, actor=actor, run=run, reason="crashes")
    assert rig.do(reruns.roll_back, actor=actor, run=run, reason="crashes") == first


def test_a_rollback_of_a_rollback_takes_the_devices_forth_again(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    second = back(rig, run)
    rig.succeed("a", "b", "c")

    third = back(rig, second.id)

    assert (third.source, third.version) == (second.id, "1.0.0")
    assert paths(rig, "a", "b", "c") == ["1.0.0"] * 3
    assert rig.view(second.id).rolled_back_by == third.id


def test_a_rollback_of_a_retry_goes_back_to_what_was_there_before_the_first_run(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("b", "c", "new")
    rig.report("a", AttemptState.INSTALLING)
    rig.report("a", AttemptState.FAILED, reason=Reason.VERIFY_FAILED, left=Left.OLD)
    rig.hello("a", **has("1.0.0", 3))
    again = rig.do(reruns.retry, run=run).id
    rig.succeed("a")

    view = back(rig, again)

    assert rig.target(again, "a").previous == "0.8.0"
    assert [target.device for target in rig.do(runs.targets, run=view.id).items] == ["a"]
    assert paths(rig, "a") == ["0.8.0"]


def test_devices_that_a_rollback_failed_on_can_be_tried_again_each_with_its_own_version(rig: Rig) -> None:
    run = begin(rig, rollback=Rollback(gate=LENIENT))
    rig.succeed("a", "b", "c", "new")
    view = back(rig, run)
    rig.fail("a", "b")
    rig.succeed("c")

    again = rig.do(reruns.retry, run=view.id)

    assert (again.source, again.purpose) == (view.id, "retry")
    assert paths(rig, "a", "b") == ["0.8.0", "0.9.0"]
    rig.fail("a", "b")
    third = rig.do(reruns.retry, run=again.id, version="0.8.0")
    assert third.version == "0.8.0"
    assert paths(rig, "a", "b") == ["0.8.0", "0.8.0"]


def test_a_rollback_has_its_own_pace_and_gate(rig: Rig) -> None:
    rules = Rollback(pace=Pace(max_in_flight=2), gate=FIRST_FAILURE)
    run = begin(rig, rollback=rules)
    rig.succeed("a", "b", "c", "new")
    view = back(rig, run)
    assert view.stages[0].max_in_flight == 2
    at_work = next(t.device for t in rig.do(runs.targets, run=view.id).items if t.state == "in_progress")
    rig.fail(at_work)
    assert rig.view(view.id).stages[0].state == "failed"


def test_by_default_it_goes_as_fast_as_the_widest_stage_and_pauses_when_its_gate_is_breached(rig: Rig) -> None:
    first = stage("first", pace=Pace(max_in_flight=7), gate=LENIENT, targets=Targets(devices=(device_id("new"),)))
    run = begin(rig, first, stage("second", pace=Pace(max_in_flight=3), gate=LENIENT))
    rig.succeed("a", "b", "c", "new")
    view = back(rig, run)
    assert view.stages[0].max_in_flight == 7
    rig.fail("a", "b")
    assert rig.view(view.id).pause_reasons == ("breach:rollback",)


def test_what_a_rollback_would_do_is_said_before(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c")
    view = rig.do(reruns.consequence, run=run)
    assert (view.devices, view.ended) == (3, False)
    assert [(one.version, one.devices) for one in view.versions] == [("0.8.0", 1), ("0.9.0", 2)]
    assert [(one.reason, one.first) for one in view.left_out] == [("no_previous", ("new",))]
    to_one = rig.do(reruns.consequence, run=run, version="0.9.0")
    assert [(one.version, one.devices) for one in to_one.versions] == [("0.9.0", 4)]
    with pytest.raises(NotFound):
        rig.do(reruns.consequence, run=run, version="7")


# --- by hand, of a run that has not ended ---


def test_a_running_run_ends_first_and_its_rollback_begins_with_its_end(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b")
    rig.report("c", AttemptState.INSTALLING)

    first = rig.do(reruns.roll_back, run=run, reason="crashes")

    assert (first.state, first.rolling_back, first.rolled_back_by) == ("terminating", True, "")
    assert rig.last("c")[1].op == Op.CANCEL
    assert paths(rig, "a", "b") == ["1.0.0", "1.0.0"]
    with pytest.raises(Conflict, match="is being rolled back"):
        rig.do(reruns.roll_back, run=run, reason="again")

    rig.sleep(MINUTE)
    rig.succeed("c")

    ended = rig.view(run)
    assert (ended.state, ended.rolling_back) == ("terminated", False)
    assert rig.view(ended.rolled_back_by).started_by == "ann"
    assert paths(rig, "a", "b", "c") == ["0.8.0", "0.9.0", "0.9.0"]


def test_a_run_that_somebody_has_terminated_can_still_be_rolled_back_before_it_ends(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "new")
    rig.report("c", AttemptState.INSTALLING)
    rig.do(runs.terminate, run=run, reason="enough")
    assert rig.do(reruns.roll_back, run=run, reason="crashes", version="0.9.0").rolling_back
    rig.succeed("c")
    assert rig.view(rig.view(run).rolled_back_by).version == "0.9.0"


def test_a_paused_run_can_be_rolled_back(rig: Rig) -> None:
    run = begin(rig)
    rig.do(runs.pause, run=run, reason="lunch")
    first = rig.do(reruns.roll_back, run=run, reason="crashes")
    assert (first.state, first.paused) == ("terminating", False)


def test_a_run_goes_on_where_nobody_could_be_taken_back(rig: Rig) -> None:
    only_new = Targets(devices=(device_id("new"),))
    run = begin(rig, stage("one", targets=only_new), stage("two", trigger=Trigger.MANUAL))
    rig.succeed("new")
    with pytest.raises(Conflict, match="no device to take back: 1 had no version before"):
        rig.do(reruns.roll_back, run=run, reason="crashes")
    assert rig.view(run).state == "running"


def test_nothing_slips_in_between_a_run_and_its_rollback(rig: Rig) -> None:
    run = begin(rig)
    rig.do(jobs.set_triggers, name="job", triggers=(OnRelease(channel="stable"),))
    rig.succeed("a", "b", "new")
    rig.report("c", AttemptState.INSTALLING)
    rig.publish("2.0.0", 4)
    rig.do(_add, version="2.0.0")
    assert rig.do(jobs.get, name="job").waiting is not None

    rig.do(reruns.roll_back, run=run, reason="crashes")
    rig.succeed("c")
    second = rig.view(run).rolled_back_by
    assert rig.do(jobs.get, name="job").active_run == second
    rig.sleep(MINUTE)
    rig.succeed("a", "b", "c")
    assert rig.view(second).state == "succeeded"
    rig.sleep(MINUTE)
    waited = rig.do(jobs.get, name="job").active_run
    assert waited not in {None, second}
    assert rig.view(str(waited)).version == "2.0.0"


async def _add(controller: Any, actor: Actor, *, version: str) -> None:
    await channels.add(controller, actor, app=APP, channel="stable", version=version)


# --- where a stage says so ---


def test_a_stage_that_fails_has_all_devices_of_its_run_taken_back(rig: Rig) -> None:
    first = stage("first", targets=Targets(devices=(device_id("a"),)), gate=LENIENT)
    second = stage("second", needs=(first.name,), gate=FIRST_FAILURE, on_failure=OnFailure.ROLLBACK)
    run = begin(rig, first, second)
    rig.succeed("a", "b")
    rig.report("c", AttemptState.INSTALLING)
    rig.report("new", AttemptState.INSTALLING)
    rig.fail("new")

    stopping = rig.view(run)
    assert (stopping.state, stopping.rolling_back, stopping.rolled_back_by) == ("running", True, "")
    assert rig.last("c")[1].op == Op.CANCEL
    assert paths(rig, "a", "b") == ["1.0.0", "1.0.0"]

    rig.succeed("c")
    ended = rig.view(run)
    assert ended.state == "failed"
    view = rig.view(ended.rolled_back_by)
    assert (view.purpose, view.started_by) == ("rollback", "trigger:on_failure")
    assert paths(rig, "a", "b", "c") == ["0.8.0", "0.9.0", "0.9.0"]
    entries = rig.do(system.audit)
    assert [(e.actor, e.subject) for e in entries if e.verb == "run.rollback"] == [("trigger:on_failure", run)]


def test_where_a_failed_stage_can_take_nobody_back_the_timeline_says_so(rig: Rig) -> None:
    only = stage(targets=Targets(devices=(device_id("new"),)), gate=FIRST_FAILURE, on_failure=OnFailure.ROLLBACK)
    run = begin(rig, only)
    rig.fail("new")
    view = rig.view(run)
    assert (view.state, view.rolled_back_by) == ("failed", "")
    [note] = [event for event in rig.do(runs.events, run=run) if event.kind == "not_rolled_back"]
    assert note.data["text"] == f"run {run} has no device to take back: 1 had no version before"


def test_whoever_terminates_a_failing_run_decides_against_its_rollback(rig: Rig) -> None:
    run = begin(rig, stage(gate=FIRST_FAILURE, on_failure=OnFailure.ROLLBACK))
    rig.succeed("b")
    rig.report("c", AttemptState.INSTALLING)
    rig.fail("new")
    assert rig.view(run).rolling_back
    rig.do(runs.terminate, run=run, reason="I look into it")
    rig.sleep(2 * HOUR)
    view = rig.view(run)
    assert (view.state, view.rolled_back_by) == ("terminated", "")
    assert back(rig, run).purpose == "rollback"


def test_a_rollback_of_a_failing_stage_holds_while_everything_is_stopped(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    rig.do(standstill.stop, reason="fire")
    view = back(rig, run)
    assert view.pause_reasons == ("stop-everything",)
    assert view.stages[0].state == "blocked"
    rig.do(standstill.lift, reason="out")
    assert paths(rig, "a", "b", "c") == ["0.8.0", "0.9.0", "0.9.0"]


def test_a_breach_that_pauses_rolls_nothing_back(rig: Rig) -> None:
    gate = Gate(failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE)
    run = begin(rig, stage(gate=gate, on_failure=OnFailure.ROLLBACK))
    rig.fail("a")
    assert (rig.view(run).paused, rig.view(run).rolling_back) == (True, False)


def test_a_rollback_goes_before_other_runs(rig: Rig) -> None:
    run = begin(rig)
    rig.succeed("a", "b", "c", "new")
    rig.do(jobs.create, name="other", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))
    rig.lose("a", "b", "c", "new")
    other = rig.do(runs.start, job="other").id
    view = back(rig, run)
    rig.connect("b", **has("1.0.0", 3))
    assert rig.target(view.id, "b").state == "in_progress"
    assert rig.target(other, "b").state == "queued"


def test_who_may_not_and_what_is_needed(rig: Rig) -> None:
    run = begin(rig)
    with pytest.raises(NotAllowed):
        rig.do(reruns.roll_back, actor=Actor(name="vic", role=Role.VIEWER), run=run, reason="x")
    with pytest.raises(InvalidRequest):
        rig.do(reruns.roll_back, run=run, reason="")
    with pytest.raises(NotFound):
        rig.do(reruns.roll_back, run="r0", reason="x")
    with pytest.raises(NotFound, match="'7' of 'shop'"):
        rig.do(reruns.roll_back, run=run, reason="x", version="7")
    assert rig.view(run).state == "running"
    rig.succeed("a", "b", "c", "new")
    other = rig.do(runs.start, job="job").id
    with pytest.raises(Conflict, match=f"has an active run, {other}"):
        rig.do(reruns.roll_back, run=run, reason="x")
