"""What people decide about a stage or a device of a run that would go on waiting: skip it, give it up."""

from typing import Any

import pytest

from controller.app import giving_up, jobs, runs
from controller.app.access import Actor, Role
from controller.app.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from controller.domain.pipeline import FailureLimit, Gate, OnBreach, OnFailure, Operation, Pace, Targets, Trigger
from protocol.ids import StageName, device_id
from protocol.lifecycle import AttemptState
from protocol.messages import Op
from protocol.units import HOUR
from tests.controller.app.rig import APP, Rig, stage

FIRST, C = StageName("first"), device_id("c")


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b")
    rig.enrol("c", ring="last")
    rig.connect("a", "b", "c")
    return rig


def two_stages(rig: Rig, **fields: Any) -> str:
    return rig.start(
        stage("first", targets=Targets(exclude=(C,)), **fields),
        stage("second", needs=(FIRST,)),
    )


# --- skip ---


def test_what_needs_a_skipped_stage_goes_on_and_its_devices_are_called_back(rig: Rig) -> None:
    run = two_stages(rig)
    rig.do(runs.skip, run=run, stage="first", reason="no time")

    assert rig.view(run).stages[0].state == "skipped"
    assert rig.view(run).stages[0].reason == "no time"
    assert rig.view(run).stages[1].state == "rolling_out"
    assert rig.last("a")[1].op == Op.CANCEL
    assert rig.last("c")[1].op == Op.INSTALL
    rig.succeed("c")
    rig.sleep(HOUR)
    assert rig.view(run).state == "succeeded"
    assert rig.counters(run) == {"cancelled": 2}


def test_a_stage_that_awaits_promotion_or_is_blocked_can_be_skipped(rig: Rig) -> None:
    run = two_stages(rig, trigger=Trigger.MANUAL)
    rig.do(runs.skip, run=run, stage="second", reason="another day")
    rig.do(runs.skip, run=run, stage="first", reason="another day")

    assert rig.view(run).state == "succeeded"
    assert [s.state for s in rig.view(run).stages] == ["skipped", "skipped"]


def test_skipping_a_breached_stage_lets_the_run_go_on_and_accepts_nothing_else(rig: Rig) -> None:
    gate = Gate(failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE)
    run = two_stages(rig, gate=gate, pace=Pace(max_in_flight=1))
    at_work = next(name for name, device in rig.devices.items() if device.commands)
    rig.report(at_work, AttemptState.ACCEPTED)
    rig.fail(at_work)
    assert rig.view(run).pause_reasons == ("breach:first",)

    rig.do(runs.skip, run=run, stage="first", reason="known")

    assert not rig.view(run).paused
    assert rig.view(run).stages[1].state == "rolling_out"


def test_a_run_that_something_else_holds_stays_held_when_a_stage_is_skipped(rig: Rig) -> None:
    run = two_stages(rig)
    rig.do(runs.pause, run=run, reason="lunch")
    rig.do(runs.skip, run=run, stage="first", reason="no time")

    assert rig.view(run).pause_reasons == ("operator:lunch",)
    assert rig.view(run).stages[1].state == "blocked"


def test_a_verdict_stands(rig: Rig) -> None:
    gate = Gate(failures=FailureLimit(count=0))
    run = rig.start(
        stage("first", targets=Targets(exclude=(C,)), gate=gate, on_failure=OnFailure.CONTINUE),
        stage("second", needs=(FIRST,)),
    )
    rig.fail("a", "b")
    with pytest.raises(Conflict, match="failed"):
        rig.do(runs.skip, run=run, stage="first", reason="no")
    with pytest.raises(NotFound):
        rig.do(runs.skip, run=run, stage="third", reason="no")


def test_skipping_twice_is_skipping_once(rig: Rig) -> None:
    run = two_stages(rig)
    rig.do(runs.skip, run=run, stage="first", reason="no time")
    rig.do(runs.skip, run=run, stage="first", reason="again")
    assert rig.view(run).stages[0].reason == "no time"


# --- give up ---


def test_a_device_given_up_counts_as_failed_and_no_gate_counts_it(rig: Rig) -> None:
    run = rig.start(stage(gate=Gate(failures=FailureLimit(count=0), success_percent=50)))
    rig.report("a", AttemptState.INSTALLING)

    view = rig.do(giving_up.give_up, run=run, device="a", reason="stolen")

    assert (view.state, view.reason, view.detail) == ("failed", "given_up", "stolen")
    assert rig.view(run).stages[0].failures == 0
    assert rig.last("a")[1].op == Op.CANCEL
    rig.succeed("b", "c")
    assert rig.view(run).state == "succeeded"


def test_the_last_one_at_work_is_called_back_though_the_run_ends_with_it(rig: Rig) -> None:
    run = rig.start(stage(targets=Targets(devices=(C,))))
    rig.report("c", AttemptState.DOWNLOADING)

    rig.do(giving_up.give_up, run=run, device="c", reason="stolen")

    assert rig.view(run).state == "failed"
    assert rig.last("c")[1].op == Op.CANCEL


def test_its_slot_is_free_at_once(rig: Rig) -> None:
    run = rig.start(stage(pace=Pace(max_in_flight=1)))
    at_work = next(name for name, device in rig.devices.items() if device.commands)
    rig.do(giving_up.give_up, run=run, device=at_work, reason="silent")
    assert rig.counters(run) == {"in_progress": 1, "failed": 1, "queued": 1}


def test_a_queued_device_can_be_given_up_and_nothing_is_sent_to_it(rig: Rig) -> None:
    rig.lose("a")
    run = rig.start(stage())
    rig.do(giving_up.give_up, run=run, device="a", reason="scrapped")
    rig.connect("a")
    assert not rig.devices["a"].commands


def test_what_it_still_reports_is_noted_as_late(rig: Rig) -> None:
    run = rig.start(stage(pace=Pace(max_in_flight=3)))
    rig.report("a", AttemptState.INSTALLING)
    install = rig.last_install("a")
    rig.do(giving_up.give_up, run=run, device="a", reason="silent")
    rig.report("a", AttemptState.SUCCEEDED, command=install)

    assert rig.target(run, "a").state == "failed"
    assert rig.counters(run)["failed"] == 1


def test_it_is_free_for_another_run(rig: Rig) -> None:
    run = rig.start(stage())
    rig.do(jobs.create, name="other", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))
    other = rig.do(runs.start, job="other").id
    assert rig.counters(other) == {"queued": 3}
    rig.do(giving_up.give_up, run=run, device="a", reason="silent")
    assert rig.counters(other) == {"queued": 2, "in_progress": 1}


def test_what_has_ended_otherwise_stands(rig: Rig) -> None:
    run = rig.start(stage())
    rig.succeed("a")
    with pytest.raises(Conflict, match="succeeded"):
        rig.do(giving_up.give_up, run=run, device="a", reason="silent")
    first = rig.do(giving_up.give_up, run=run, device="b", reason="silent")
    assert rig.do(giving_up.give_up, run=run, device="b", reason="again") == first


def test_strangers_reasons_and_rights_are_checked(rig: Rig) -> None:
    run = rig.start(stage(targets=Targets(exclude=(C,))))
    for device, uid in (("c", run), ("zz", run), ("No Name", run), ("a", "r-none")):
        with pytest.raises(NotFound):
            rig.do(giving_up.give_up, run=uid, device=device, reason="silent")
    with pytest.raises(InvalidRequest):
        rig.do(giving_up.give_up, run=run, device="a", reason=" ")
    with pytest.raises(NotAllowed):
        rig.do(giving_up.give_up, Actor(name="v", role=Role.VIEWER), run=run, device="a", reason="silent")
