"""Holds, pins and upgrade paths: what operators order about who gets what."""

from typing import Any

import pytest

from controller.app import devices, paths, restraining, runs, system
from controller.app.access import Actor, Role
from controller.app.errors import InvalidRequest, NotAllowed, NotFound
from controller.app.views import HoldView
from controller.domain.pipeline import Retry, Stage, Targets
from protocol.ids import DeviceId
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease, Mode, WorkInHand
from protocol.reasons import Reason
from protocol.units import HOUR, MINUTE, later
from tests.controller.app.rig import ADMIN, APP, Rig, stage
from tests.controller.app.test_admission import blocked, sent

FAIR = "trade fair"


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.enrol("a", "b")
    return made


def has(version: str) -> dict[str, Any]:
    return {"installed": (InstalledRelease(app=APP, version=version, sha256="0" * 64, counter=1),)}


def only_a(**fields: Any) -> Stage:
    """Return a stage that asks for one device."""
    return stage(targets=Targets(devices=(DeviceId("a"),)), **fields)


def heard(rig: Rig, name: str) -> None:
    """Let a device say that it heard its recall and has no work."""
    rig.report(name, AttemptState.CANCELLED, command=rig.last(name), attempt=0)


def test_a_held_device_gets_no_work_until_the_hold_is_lifted(rig: Rig) -> None:
    rig.connect("a", "b")
    view = rig.do(restraining.hold, device="a", reason=FAIR)
    assert view.hold == HoldView(by="ann", reason=FAIR, at=rig.clock.time, ends_at=None)
    run = rig.start(stage())
    assert sent(rig, "a", "b") == ["b"]
    assert blocked(rig, run, "a") == ("held", None)
    assert rig.target(run, "a").waits_for == "held by ann: trade fair"
    assert rig.do(restraining.unhold, device="a", reason="over").hold is None
    assert sent(rig, "a", "b") == ["a", "b"]


def test_a_hold_may_end_by_itself(rig: Rig) -> None:
    rig.connect("a")
    end = later(rig.clock.time, HOUR)
    rig.do(restraining.hold, device="a", reason=FAIR, until=end)
    run = rig.start(stage())
    assert blocked(rig, run, "a") == ("held", end)
    rig.sleep(HOUR - 1)
    assert sent(rig, "a") == []
    rig.sleep(1)
    assert sent(rig, "a") == ["a"]
    assert rig.do(devices.get, device="a").hold is None


def test_a_hold_that_is_shortened_is_judged_anew(rig: Rig) -> None:
    rig.connect("a")
    rig.do(restraining.hold, device="a", reason=FAIR)
    run = rig.start(stage())
    end = later(rig.clock.time, MINUTE)
    rig.do(restraining.hold, device="a", reason=FAIR, until=end)
    assert blocked(rig, run, "a") == ("held", end)


def test_what_was_not_accepted_is_called_back_and_costs_no_attempt(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(only_a(retry=Retry(attempts_max=1)))
    rig.do(restraining.hold, device="a", reason=FAIR)
    assert rig.last("a")[1].op == "cancel"
    heard(rig, "a")
    assert rig.counters(run) == {"queued": 1}
    assert blocked(rig, run, "a") == ("held", None)
    rig.do(restraining.unhold, device="a", reason="over")
    assert [command.op for _, command in rig.devices["a"].commands] == ["install", "cancel", "go", "install"]
    assert rig.last("a")[1].attempt == 2
    rig.succeed("a")
    assert rig.view(run).state == "succeeded"


def test_one_that_does_not_answer_is_back_in_the_queue_before_long(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(only_a(retry=Retry(attempts_max=1)))
    rig.lose("a")
    rig.do(restraining.hold, device="a", reason=FAIR)
    rig.sleep(MINUTE)
    assert rig.counters(run) == {"queued": 1}
    rig.connect("a")
    assert blocked(rig, run, "a") == ("held", None)


def test_what_was_accepted_goes_on(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(only_a())
    rig.report("a", AttemptState.ACCEPTED)
    rig.do(restraining.hold, device="a", reason=FAIR)
    assert len(rig.devices["a"].commands) == 1
    rig.succeed("a")
    assert rig.counters(run) == {"succeeded": 1}


def test_a_retry_of_a_held_device_waits(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(stage(retry=Retry(attempts_max=2, backoff_ms=1_000)))
    rig.report("a", AttemptState.ACCEPTED)
    rig.do(restraining.hold, device="a", reason=FAIR)
    rig.report("a", AttemptState.FAILED, reason=Reason.INTERRUPTED, left=Left.OLD)
    rig.sleep(MINUTE)
    assert blocked(rig, run, "a") == ("held", None)
    assert len(rig.devices["a"].commands) == 1


def test_a_device_that_missed_the_lifting_of_its_recall_hears_it_before_the_command(rig: Rig) -> None:
    rig.connect("a")
    rig.start(stage())
    rig.do(restraining.hold, device="a", reason=FAIR)
    heard(rig, "a")
    missed = len(rig.devices["a"].commands)
    seq = rig.last("a")[1].seq
    rig.do(restraining.unhold, device="a", reason="over")
    del rig.devices["a"].commands[missed:]
    rig.hello("a", seq=seq)
    assert [command.op for _, command in rig.devices["a"].commands[missed:]] == ["go", "install"]


def test_a_held_device_with_the_called_back_work_in_hand_is_told_to_cancel(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(stage())
    digest, command = rig.last("a")
    rig.do(restraining.hold, device="a", reason=FAIR)
    rig.lose("a")
    work = WorkInHand(
        command=digest, run=run, attempt=1, epoch=command.epoch, state=AttemptState.ACCEPTED, mode=Mode.GO
    )
    rig.connect("a", work=work)
    permit = rig.devices["a"].replies[-1].work
    assert permit is not None
    assert permit.mode is Mode.CANCEL


def test_terminating_a_run_ends_a_device_that_was_on_its_way_back(rig: Rig) -> None:
    rig.connect("a")
    run = rig.start(only_a())
    rig.do(restraining.hold, device="a", reason=FAIR)
    rig.do(runs.terminate, run=run, reason="enough")
    heard(rig, "a")
    assert rig.counters(run) == {"cancelled": 1}


def test_a_pinned_device_gets_no_other_version(rig: Rig) -> None:
    rig.connect("a", "b")
    rig.do(restraining.pin, device="a", app=APP, versions="<1", reason="audit")
    rig.do(restraining.pin, device="b", app=APP, versions=">=1", reason="audit")
    run = rig.start(stage())
    assert sent(rig, "a", "b") == ["b"]
    assert blocked(rig, run, "a") == ("pinned", None)
    [pin] = rig.do(devices.get, device="a").pins
    assert (pin.app, pin.versions, pin.by, pin.reason) == (APP, "<1", "ann", "audit")
    assert rig.do(restraining.unpin, device="a", app=APP, reason="over").pins == ()
    assert sent(rig, "a", "b") == ["a", "b"]


def test_a_pin_calls_back_only_what_it_forbids(rig: Rig) -> None:
    rig.connect("a", "b")
    rig.start(stage())
    rig.do(restraining.pin, device="a", app=APP, versions="1.0.0", reason="audit")
    rig.do(restraining.pin, device="b", app=APP, versions="0.9", reason="audit")
    assert [rig.last(name)[1].op for name in ("a", "b")] == ["install", "cancel"]


def test_a_path_lets_through_whom_it_should_and_says_why_not_the_others(rig: Rig) -> None:
    rig.enrol("c", "d")
    rig.publish("1.0.0")
    rig.connect("a", **has("0.9"))
    rig.connect("b", **has("0.5"))
    rig.connect("c", **has("0.8.3"))
    rig.connect("d")
    reason = "0.9 moves the database"
    view = rig.do(
        paths.order, app=APP, version="1.0.0", allowed=">=0.4", forbidden="0.8.*", through=["0.9"], reason=reason
    )
    assert (view.by, view.through) == ("ann", ("0.9",))
    run = rig.start_published(stage())
    assert sent(rig, *"abcd") == ["a", "d"]
    assert rig.target(run, "b").waits_for == "from 0.5 only through 0.9: 0.9 moves the database"
    assert rig.target(run, "c").waits_for == "not from 0.8.3: 0.9 moves the database"
    rig.do(paths.order, app=APP, version="1.0.0", forbidden="0.8.*", reason="found a way")
    assert sent(rig, *"abcd") == ["a", "b", "d"]
    rig.do(paths.order, app=APP, version="1.0.0", reason="found another")
    assert sent(rig, *"abcd") == ["a", "b", "c", "d"]
    assert rig.do(paths.get, app=APP, version="1.0.0").allowed == ""


def test_a_device_that_passed_the_step_goes_on_with_what_waited_for_it(rig: Rig) -> None:
    rig.publish("1.0.0")
    rig.connect("a", **has("0.5"))
    rig.do(paths.order, app=APP, version="1.0.0", through=["0.9"], reason="database")
    run = rig.start_published(stage())
    assert blocked(rig, run, "a") == ("no_path", None)
    rig.hello("a", **has("0.9"))
    assert sent(rig, "a") == ["a"]


REFUSED: list[tuple[Any, dict[str, Any], type[Exception]]] = [
    (restraining.hold, {"device": "x", "reason": FAIR}, NotFound),
    (restraining.hold, {"device": "a", "reason": " "}, InvalidRequest),
    (restraining.hold, {"device": "a", "reason": FAIR, "until": 5}, InvalidRequest),
    (restraining.unhold, {"device": "a", "reason": ""}, InvalidRequest),
    (restraining.pin, {"device": "a", "app": APP, "versions": "latest greatest", "reason": FAIR}, InvalidRequest),
    (restraining.pin, {"device": "a", "app": "No App", "versions": "1", "reason": FAIR}, InvalidRequest),
    (restraining.unpin, {"device": "x", "app": APP, "reason": FAIR}, NotFound),
    (paths.order, {"app": APP, "version": "7", "reason": FAIR}, NotFound),
    (paths.get, {"app": APP, "version": "7"}, NotFound),
    (paths.order, {"app": APP, "version": "7", "allowed": "?,", "reason": FAIR}, InvalidRequest),
    (paths.order, {"app": APP, "version": "7", "through": [""], "reason": FAIR}, InvalidRequest),
]


@pytest.mark.parametrize(("act", "arguments", "error"), REFUSED)
def test_orders_that_make_no_sense_are_refused(
    rig: Rig, act: Any, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        rig.do(act, **arguments)


def test_orders_need_a_permission_and_are_in_the_audit_log(rig: Rig) -> None:
    viewer = Actor(name="vic", role=Role.VIEWER)
    with pytest.raises(NotAllowed):
        rig.do(restraining.hold, viewer, device="a", reason=FAIR)
    with pytest.raises(NotAllowed):
        rig.do(paths.order, Actor(name="oz", role=Role.OPERATOR), app=APP, version="1.0.0", reason=FAIR)
    rig.publish("1.0.0")
    rig.do(restraining.hold, device="a", reason=FAIR)
    rig.do(restraining.unhold, device="a", reason="over")
    rig.do(restraining.pin, device="a", app=APP, versions="1.*", reason="audit")
    rig.do(restraining.unpin, device="a", app=APP, reason="done")
    rig.do(paths.order, app=APP, version="1.0.0", allowed="1", reason="careful")
    said = [(entry.verb, entry.subject, entry.reason) for entry in rig.do(system.audit, ADMIN, after=0, limit=9)]
    assert said == [
        ("device.hold", "a", FAIR),
        ("device.unhold", "a", "over"),
        ("device.pin", "a", f"{APP} 1.*: audit"),
        ("device.unpin", "a", f"{APP}: done"),
        ("release.path", f"{APP} 1.0.0", "from 1: careful"),
    ]
