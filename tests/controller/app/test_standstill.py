"""Everything is stopped at once, whatever runs or begins to run, until somebody with the right lifts it."""

import pytest

from controller.app import runs, standstill
from controller.app.access import Actor, Role
from controller.app.errors import Conflict, InvalidRequest, NotAllowed
from controller.domain.pipeline import FailureLimit, Gate, OnBreach, Pace
from protocol.lifecycle import AttemptState
from protocol.messages import Op
from protocol.units import HOUR
from tests.controller.app.rig import Rig, stage

OPERATOR = Actor(name="olga", role=Role.OPERATOR)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", "c", "d")
    rig.connect("a", "b", "c", "d")
    return rig


def stop(rig: Rig) -> None:
    rig.do(standstill.stop, reason="smoke")


def lift(rig: Rig) -> None:
    rig.do(standstill.lift, reason="it was the toaster")


def installs(rig: Rig) -> int:
    return sum(command.op == Op.INSTALL for device in rig.devices.values() for _, command in device.commands)


def test_every_run_is_held_and_nothing_is_sent_any_more(rig: Rig) -> None:
    run = rig.start(stage(pace=Pace(max_in_flight=2)))
    assert installs(rig) == 2

    stop(rig)

    assert rig.view(run).pause_reasons == ("stop-everything",)
    at_work = next(name for name, device in rig.devices.items() if device.commands)
    assert rig.last(at_work)[1].op == Op.HOLD
    rig.succeed(at_work)
    rig.sleep(HOUR)
    assert installs(rig) == 2


def test_a_run_that_begins_meanwhile_begins_paused(rig: Rig) -> None:
    stop(rig)
    run = rig.start(stage())
    rig.sleep(HOUR)

    assert rig.view(run).paused
    assert installs(rig) == 0
    lift(rig)
    assert installs(rig) == 4
    rig.succeed("a", "b", "c", "d")
    assert rig.view(run).state == "succeeded"


def test_stopping_twice_is_stopping_once_and_the_first_reason_stands(rig: Rig) -> None:
    first = rig.do(standstill.stop, OPERATOR, reason="smoke")
    second = rig.do(standstill.stop, reason="fire")

    assert (second.stopped, second.by, second.reason) == (True, "olga", "smoke")
    assert second == first
    lift(rig)
    lift(rig)
    assert not rig.do(standstill.get).stopped


def test_a_run_that_something_else_holds_stays_held(rig: Rig) -> None:
    run = rig.start(stage())
    rig.do(runs.pause, run=run, reason="lunch")
    stop(rig)
    lift(rig)

    assert rig.view(run).pause_reasons == ("operator:lunch",)


def test_no_run_is_resumed_while_everything_is_stopped(rig: Rig) -> None:
    run = rig.start(stage())
    stop(rig)

    with pytest.raises(Conflict, match="everything is stopped"):
        rig.do(runs.resume, run=run, override=True, reason="I know better")
    assert rig.view(run).paused


def test_lifting_accepts_no_failures(rig: Rig) -> None:
    gate = Gate(failures=FailureLimit(count=0), on_breach=OnBreach.PAUSE)
    run = rig.start(stage(pace=Pace(max_in_flight=1), gate=gate))
    at_work = next(name for name, device in rig.devices.items() if device.commands)
    rig.report(at_work, AttemptState.ACCEPTED)
    stop(rig)
    rig.fail(at_work)
    lift(rig)

    assert rig.view(run).pause_reasons == ("breach:all",)
    assert installs(rig) == 1


def test_the_clock_of_a_run_that_began_stopped_stands_still(rig: Rig) -> None:
    stop(rig)
    run = rig.start(stage(), timeout_ms=HOUR)
    rig.sleep(2 * HOUR)
    lift(rig)

    assert rig.view(run).state == "running"


def test_a_restart_forgets_nothing(rig: Rig) -> None:
    stop(rig)
    rig.new_controller()
    run = rig.start(stage())

    assert rig.view(run).paused


def test_whoever_may_act_may_stop_and_administrators_alone_lift(rig: Rig) -> None:
    with pytest.raises(NotAllowed):
        rig.do(standstill.stop, Actor(name="vic", role=Role.VIEWER), reason="smoke")
    rig.do(standstill.stop, Actor(name="rea", role=Role.RELEASER), reason="smoke")
    with pytest.raises(NotAllowed):
        rig.do(standstill.lift, OPERATOR, reason="fine")


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_stopping_and_lifting_need_a_reason(rig: Rig, reason: str) -> None:
    for act in (standstill.stop, standstill.lift):
        with pytest.raises(InvalidRequest, match="reason"):
            rig.do(act, reason=reason)
