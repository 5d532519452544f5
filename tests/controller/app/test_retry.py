"""A new run over the devices that failed or were missed in an ended one."""

import pytest

from controller.app import devices, giving_up, jobs, reruns, runs
from controller.app.access import Actor, RequestKey, Role
from controller.app.errors import Conflict, NotAllowed, NotFound
from controller.domain.pipeline import FailureLimit, Gate, OnFailure, Pace, Targets, Timeouts, Trigger
from protocol.ids import StageName, device_id
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from protocol.units import HOUR
from tests.controller.app.rig import Rig, stage

LENIENT = Gate(success_percent=0, failures=FailureLimit(count=9))
FIRST = StageName("first")


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", "c", "d")
    rig.connect("a", "b", "c", "d")
    return rig


def two_stages(rig: Rig) -> str:
    """Return an ended run: of the first stage a has failed, of the second nobody has."""
    first = Targets(devices=(device_id("a"), device_id("b")))
    run = rig.start(stage("first", targets=first, gate=LENIENT), stage("second", needs=(FIRST,), gate=LENIENT))
    rig.fail("a")
    rig.succeed("b", "c", "d")
    assert rig.view(run).state == "succeeded"
    return run


def members(rig: Rig, run: str) -> dict[str, str]:
    return {target.device: target.stage for target in rig.do(runs.targets, run=run).items}


def test_the_devices_that_failed_are_tried_again_in_their_stage_and_an_empty_stage_is_skipped(rig: Rig) -> None:
    run = two_stages(rig)

    again = rig.do(reruns.retry, run=run)

    assert (again.source, again.purpose, again.started_by) == (run, "retry", "ann")
    assert (again.revision, again.salt, again.version) == (1, rig.view(run).salt, "1.0.0")
    assert members(rig, again.id) == {"a": "first"}
    rig.succeed("a")
    ended = rig.view(again.id)
    assert [s.state for s in ended.stages] == ["passed", "skipped"]
    assert ended.stages[1].reason == "no device of the earlier run is left for it"
    assert ended.state == "succeeded"


def test_a_device_that_was_missed_is_tried_again(rig: Rig) -> None:
    rig.lose("d")
    run = rig.start(stage(gate=Gate(success_percent=50), timeouts=Timeouts(stage_ms=HOUR)))
    rig.succeed("a", "b", "c")
    rig.sleep(HOUR)
    assert rig.target(run, "d").state == "timed_out"

    again = rig.do(reruns.retry, run=run)

    assert members(rig, again.id) == {"d": "all"}
    rig.connect("d")
    rig.succeed("d")
    assert rig.view(again.id).state == "succeeded"


def test_a_stage_that_has_nobody_to_try_again_awaits_no_promotion(rig: Rig) -> None:
    first = Targets(devices=(device_id("a"),))
    run = rig.start(
        stage("first", targets=first, gate=LENIENT),
        stage("second", needs=(FIRST,), gate=LENIENT, trigger=Trigger.MANUAL),
    )
    rig.fail("a")
    rig.do(runs.promote, run=run, stage="second")
    rig.succeed("b", "c", "d")

    again = rig.do(reruns.retry, run=run)
    rig.succeed("a")

    assert rig.view(again.id).state == "succeeded"


def test_whoever_is_blocked_or_broken_is_left_out_and_counted(rig: Rig) -> None:
    run = rig.start(stage(gate=LENIENT))
    rig.fail("a", "b")
    rig.report("c", AttemptState.INSTALLING)
    rig.report("c", AttemptState.FAILED, reason=Reason.INSTALL_FAILED, left=Left.BROKEN)
    rig.succeed("d")
    rig.do(devices.block, device="b", reason="stolen")

    again = rig.do(reruns.retry, run=run)

    assert members(rig, again.id) == {"a": "all"}
    left_out = {(one.reason, one.devices, one.first) for one in rig.view(again.id).stages[0].left_out}
    assert left_out == {("blocked", 1, ("b",)), ("broken", 1, ("c",))}
    texts = [event.data.get("text") for event in rig.do(runs.events, run=again.id) if event.kind == "left_out"]
    assert texts == ["1 blocked; 1 left broken (c)"]


def test_another_version_may_be_given(rig: Rig) -> None:
    run = rig.start(stage(gate=LENIENT))
    rig.fail("a")
    rig.succeed("b", "c", "d")
    rig.publish("2.0.0", counter=2)

    again = rig.do(reruns.retry, run=run, version="2.0.0")

    assert again.version == "2.0.0"
    assert rig.last_install("a")[1].releases[0].path == "shop/2.0.0/shop.tar.gz"


def test_a_retry_can_be_tried_again(rig: Rig) -> None:
    run = two_stages(rig)
    again = rig.do(reruns.retry, run=run)
    rig.fail("a")

    third = rig.do(reruns.retry, run=again.id)

    assert third.source == again.id
    assert members(rig, third.id) == {"a": "first"}


def test_nothing_to_retry_is_an_error_that_says_so(rig: Rig) -> None:
    run = rig.start(stage())
    rig.succeed("a", "b", "c", "d")
    with pytest.raises(Conflict, match="no device to try again"):
        rig.do(reruns.retry, run=run)
    again = rig.start(stage(gate=LENIENT))
    rig.fail("a")
    rig.succeed("b", "c", "d")
    rig.do(devices.block, device="a", reason="stolen")
    with pytest.raises(Conflict, match="no device to try again: 1 blocked"):
        rig.do(reruns.retry, run=again)


def test_only_an_ended_run_of_a_free_job_is_tried_again(rig: Rig) -> None:
    run = two_stages(rig)
    other = rig.do(runs.start, job="job").id
    with pytest.raises(Conflict, match="has an active run"):
        rig.do(reruns.retry, run=run)
    with pytest.raises(Conflict, match="has not ended"):
        rig.do(reruns.retry, run=other)
    with pytest.raises(NotFound):
        rig.do(reruns.retry, run="r0")
    rig.do(runs.terminate, run=other, reason="enough")
    rig.sleep(60_000)
    with pytest.raises(NotFound, match="'9' of 'shop' is not published"):
        rig.do(reruns.retry, run=run, version="9")
    rig.do(jobs.archive, name="job")
    with pytest.raises(NotFound, match="there is no job"):
        rig.do(reruns.retry, run=run)


def test_a_viewer_may_not_and_the_same_key_has_one_effect(rig: Rig) -> None:
    run = two_stages(rig)
    with pytest.raises(NotAllowed):
        rig.do(reruns.retry, actor=Actor(name="vic", role=Role.VIEWER), run=run)
    actor = Actor(name="ann", role=Role.ADMIN, request=RequestKey(key="k", fingerprint="f"))
    assert rig.do(reruns.retry, actor=actor, run=run) == rig.do(reruns.retry, actor=actor, run=run)


def test_a_stage_all_of_whose_devices_are_shut_out_meanwhile_is_skipped(rig: Rig) -> None:
    first = Targets(devices=(device_id("a"),))
    gate = Gate(success_percent=0, failures=FailureLimit(count=9))
    run = rig.start(
        stage("first", targets=first, gate=gate), stage("second", needs=(FIRST,), gate=gate, trigger=Trigger.MANUAL)
    )
    rig.fail("a")
    rig.do(runs.promote, run=run, stage="second")
    rig.fail("b")
    rig.succeed("c", "d")
    again = rig.do(reruns.retry, run=run).id
    rig.succeed("a")
    rig.do(devices.block, device="b", reason="stolen")

    rig.do(runs.promote, run=again, stage="second")

    assert [s.state for s in rig.view(again).stages] == ["passed", "skipped"]


def terminated(rig: Rig) -> str:
    """Return a run that was terminated: a had failed, b is called back at work, c and d never had their turn."""
    run = rig.start(stage(gate=LENIENT, pace=Pace(max_in_flight=2)))
    rig.fail("a")
    rig.do(runs.terminate, run=run, reason="wrong night")
    rig.sleep(HOUR)
    assert rig.view(run).state == "terminated"
    return run


def test_whom_a_terminate_has_cancelled_is_left_alone_unless_asked_for(rig: Rig) -> None:
    run = terminated(rig)
    cancelled = {name for name in "abcd" if rig.target(run, name).state == "cancelled"}
    assert len(cancelled) == 3

    failed_alone = rig.do(reruns.retry, run=run)
    assert set(members(rig, failed_alone.id)) == set("abcd") - cancelled
    rig.do(runs.terminate, run=failed_alone.id, reason="all, rather")
    rig.sleep(HOUR)

    again = rig.do(reruns.retry, run=run, with_cancelled=True)
    assert members(rig, again.id) == dict.fromkeys("abcd", "all")
    rig.succeed("a", "b", "c", "d")
    assert rig.view(again.id).state == "succeeded"


def test_who_was_cancelled_in_a_later_stage_joins_it_when_it_opens(rig: Rig) -> None:
    first = Targets(devices=(device_id("a"),))
    run = rig.start(stage("first", targets=first), stage("second", needs=(FIRST,)))
    rig.succeed("a")
    rig.do(runs.terminate, run=run, reason="wrong night")
    rig.sleep(HOUR)

    again = rig.do(reruns.retry, run=run, with_cancelled=True)

    assert rig.view(again.id).stages[0].state == "skipped"
    assert members(rig, again.id) == dict.fromkeys("bcd", "second")


def test_where_all_that_is_left_was_cancelled_the_refusal_says_how_to_have_it(rig: Rig) -> None:
    run = rig.start(stage())
    rig.do(runs.terminate, run=run, reason="wrong night")
    rig.sleep(HOUR)
    with pytest.raises(Conflict, match="no device to try again; 4 were cancelled, which are taken when asked for"):
        rig.do(reruns.retry, run=run)


def test_a_device_given_up_counts_as_failed(rig: Rig) -> None:
    run = rig.start(stage(gate=LENIENT, on_failure=OnFailure.CONTINUE))
    rig.succeed("a", "b", "c")
    rig.do(giving_up.give_up, run=run, device="d", reason="lost")

    again = rig.do(reruns.retry, run=run)

    assert members(rig, again.id) == {"d": "all"}
