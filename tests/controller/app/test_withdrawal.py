"""A withdrawn release is blocked everywhere at once and for good; a deprecated one is started by whoever says so."""

from typing import Any

import pytest

from controller.app import channels, jobs, releases, runs, standstill, system, withdrawal
from controller.app.access import Actor, RequestKey, Role
from controller.app.errors import (
    Conflict,
    InvalidRequest,
    NotAllowed,
    NotFound,
    ReleaseDeprecated,
    ReleaseWithdrawn,
)
from controller.app.views import ReleaseView
from controller.domain.pipeline import Operation, Pace
from controller.domain.trigger import OnRelease, OnSchedule
from protocol.lifecycle import AttemptState
from protocol.messages import Mode, Op, WorkInHand
from protocol.units import DAY, HOUR
from tests.controller.app.rig import APP, Rig, stage

RELEASER = Actor(name="rea", role=Role.RELEASER)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", "c")
    rig.connect("a", "b", "c")
    return rig


def withdraw(rig: Rig, version: str = "1.0.0", **arguments: Any) -> ReleaseView:
    return rig.do(withdrawal.withdraw, **{"app": "shop", "version": version, "reason": "it burns", **arguments})


def deprecate(rig: Rig, version: str = "1.0.0", **arguments: Any) -> ReleaseView:
    return rig.do(withdrawal.deprecate, **{"app": "shop", "version": version, "reason": "slow", **arguments})


def begun(rig: Rig, *, in_flight: int = 1) -> tuple[str, str]:
    """Start a run, and return it with the first device at work."""
    run = rig.start(stage(pace=Pace(max_in_flight=in_flight)))
    return run, next(name for name, device in rig.devices.items() if device.commands)


def installs(rig: Rig) -> int:
    return sum(command.op == Op.INSTALL for device in rig.devices.values() for _, command in device.commands)


def verbs(rig: Rig) -> list[tuple[str, str, str]]:
    return [(entry.actor, entry.verb, entry.reason) for entry in rig.do(system.audit)]


# --- withdrawn ---


def test_a_run_that_installs_it_is_held_at_once_and_sends_nothing_any_more(rig: Rig) -> None:
    run, at_work = begun(rig)

    view = withdraw(rig)

    assert (view.state, view.state_by, view.state_reason) == ("withdrawn", "ann", "it burns")
    assert rig.view(run).pause_reasons == ("withdrawn:1.0.0",)
    assert rig.last(at_work)[1].op == Op.HOLD
    rig.succeed(at_work)
    rig.sleep(HOUR)
    assert installs(rig) == 1


def test_a_device_that_was_away_is_told_to_hold_when_it_is_back(rig: Rig) -> None:
    run, at_work = begun(rig)
    digest, command = rig.last_install(at_work)
    rig.report(at_work, AttemptState.ACCEPTED)
    rig.lose(at_work)
    withdraw(rig)

    work = WorkInHand(command=digest, run=run, attempt=1, epoch=command.epoch, state=AttemptState.ACCEPTED)
    rig.connect(at_work, work=work)

    permit = rig.devices[at_work].replies[-1].work
    assert permit is not None
    assert permit.mode is Mode.HOLD


def test_nobody_resumes_the_run_and_it_can_be_terminated(rig: Rig) -> None:
    run, at_work = begun(rig)
    rig.do(runs.pause, run=run, reason="lunch")
    withdraw(rig)

    with pytest.raises(ReleaseWithdrawn, match="terminate"):
        rig.do(runs.resume, run=run, override=True, reason="I know better")
    rig.do(runs.terminate, run=run, reason="withdrawn")
    rig.report(at_work, AttemptState.CANCELLED)
    assert rig.view(run).state == "terminated"


def test_a_standstill_that_is_lifted_leaves_the_run_held(rig: Rig) -> None:
    run, _ = begun(rig)
    rig.do(standstill.stop, reason="smoke")
    withdraw(rig)
    rig.do(standstill.lift, reason="toaster")
    assert rig.view(run).pause_reasons == ("withdrawn:1.0.0",)


def test_a_run_of_another_version_goes_on(rig: Rig) -> None:
    run, _ = begun(rig)
    rig.publish("2.0.0", 2)
    withdraw(rig, "2.0.0")
    assert not rig.view(run).paused


def test_no_run_of_it_begins(rig: Rig) -> None:
    begun(rig, in_flight=3)
    rig.succeed("a", "b", "c")
    withdraw(rig)

    for allowed in (False, True):
        with pytest.raises(ReleaseWithdrawn, match="it burns"):
            rig.do(runs.start, job="job", allows_deprecated=allowed)
    rig.publish("2.0.0", 2)
    assert rig.do(runs.start, job="job", version="2.0.0").version == "2.0.0"


def test_it_leaves_its_channels_and_enters_none(rig: Rig) -> None:
    begun(rig)
    rig.do(channels.add, app="shop", version="1.0.0", channel="stable")
    rig.do(channels.add, app="shop", version="1.0.0", channel="beta")
    withdraw(rig)

    assert rig.do(releases.list_releases)[0].channels == ()
    with pytest.raises(ReleaseWithdrawn):
        rig.do(channels.add, app="shop", version="1.0.0", channel="stable")
    assert verbs(rig)[-3:] == [
        ("ann", "release.withdraw", "it burns"),
        ("ann", "channel.remove", "beta"),
        ("ann", "channel.remove", "stable"),
    ]


def test_a_release_that_waited_for_the_end_of_a_run_is_not_started_once_it_is_withdrawn(rig: Rig) -> None:
    begun(rig, in_flight=3)
    rig.do(jobs.set_triggers, name="job", triggers=(OnRelease(channel="stable"),))
    rig.publish("2.0.0", 2)
    rig.do(channels.add, app="shop", version="2.0.0", channel="stable")
    withdraw(rig, "2.0.0")

    rig.succeed("a", "b", "c")
    rig.sleep(HOUR)

    assert len(rig.do(runs.list_runs).items) == 1
    assert verbs(rig)[-1][:2] == ("trigger:channel stable", "job.fail")
    assert "withdrawn" in verbs(rig)[-1][2]


def test_the_first_withdrawal_stands(rig: Rig) -> None:
    begun(rig)
    first = withdraw(rig)
    rig.sleep(HOUR)
    assert withdraw(rig, reason="again", actor=RELEASER) == first
    assert [verb for _, verb, _ in verbs(rig)].count("release.withdraw") == 2


def test_one_request_has_one_effect(rig: Rig) -> None:
    begun(rig)
    actor = Actor(name="rea", role=Role.RELEASER, request=RequestKey(key="k", fingerprint="f"))
    assert withdraw(rig, actor=actor) == withdraw(rig, actor=actor)
    assert [verb for _, verb, _ in verbs(rig)].count("release.withdraw") == 1


def test_it_outlives_the_controller(rig: Rig) -> None:
    run, _ = begun(rig)
    withdraw(rig)
    rig.controller = rig.new_controller()
    with pytest.raises(ReleaseWithdrawn):
        rig.do(runs.resume, run=run)
    assert rig.do(releases.list_releases)[0].state == "withdrawn"


def test_a_run_that_only_waits_for_devices_called_back_is_left_to_end(rig: Rig) -> None:
    run, _ = begun(rig)
    rig.do(runs.terminate, run=run, reason="enough")
    withdraw(rig)
    assert not rig.view(run).paused


# --- deprecated ---


def test_a_deprecated_release_is_started_by_whoever_says_so(rig: Rig) -> None:
    begun(rig, in_flight=3)
    rig.succeed("a", "b", "c")
    view = deprecate(rig)

    assert (view.state, view.state_by, view.state_reason) == ("deprecated", "ann", "slow")
    with pytest.raises(ReleaseDeprecated, match=r"ann: slow: .*--allow-deprecated"):
        rig.do(runs.start, job="job")
    assert rig.do(runs.start, job="job", allows_deprecated=True).state == "running"


def test_runs_that_began_go_on(rig: Rig) -> None:
    run, _ = begun(rig)
    deprecate(rig)
    assert not rig.view(run).paused


def test_what_starts_by_itself_does_not_start_it(rig: Rig) -> None:
    begun(rig, in_flight=3)
    rig.succeed("a", "b", "c")
    rig.do(jobs.set_triggers, name="job", triggers=(OnRelease(channel="stable"), OnSchedule(cron="0 0 * * *")))
    deprecate(rig)

    added = rig.do(channels.add, app="shop", version="1.0.0", channel="stable")
    rig.sleep(DAY)

    assert added.runs == ()
    assert len(rig.do(runs.list_runs).items) == 1
    assert ("trigger:schedule 0 0 * * * UTC", "job.fail") in [entry[:2] for entry in verbs(rig)]


def test_a_deprecated_release_can_be_withdrawn_and_a_withdrawn_one_is_no_more_deprecated(rig: Rig) -> None:
    begun(rig)
    deprecate(rig)
    assert deprecate(rig, reason="again").state_reason == "slow"
    assert withdraw(rig).state == "withdrawn"
    with pytest.raises(Conflict, match="withdrawn"):
        deprecate(rig)


# --- who, what and why ---


@pytest.mark.parametrize("act", [withdraw, deprecate])
def test_it_takes_a_release_a_reason_and_the_right(rig: Rig, act: Any) -> None:
    begun(rig)
    with pytest.raises(NotFound):
        act(rig, "9.9.9")
    with pytest.raises(InvalidRequest, match="reason"):
        act(rig, reason="  ")
    with pytest.raises(NotAllowed):
        act(rig, actor=Actor(name="olga", role=Role.OPERATOR))
    assert act(rig, actor=RELEASER).state_by == "rea"


def test_another_app_of_that_version_is_none_of_it(rig: Rig) -> None:
    begun(rig)
    with pytest.raises(NotFound):
        withdraw(rig, app="till")
    rig.do(jobs.create, name="other", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))
    assert not rig.do(runs.start, job="other").paused
