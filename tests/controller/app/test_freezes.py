"""The freeze calendar: nothing in scope is sent while a freeze holds, and nobody's attempt is spent by it."""

from typing import Any

import pytest

from controller.app import channels, freezes, jobs, paths, pipelines, runs, system, wakeups
from controller.app.access import Actor, RequestKey, Role
from controller.app.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from controller.domain.pipeline import Operation, Pace, Pipeline, Retry, Timeouts, Trigger
from controller.domain.trigger import OnRelease
from protocol.lifecycle import AttemptState
from protocol.messages import Op, WorkInHand
from protocol.reasons import RejectCode
from protocol.topics import DownlinkKind
from protocol.units import MINUTE, SECOND, Instant, later
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import APP, START, Rig, stage

OPERATOR = Actor(name="olga", role=Role.OPERATOR)
ONCE = Retry(attempts_max=1)
LONG = 10 * MINUTE
SHORT = 2 * MINUTE


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", "c")
    rig.connect("a", "b", "c")
    return rig


def freeze(rig: Rig, start_ms: int = 0, end_ms: int = LONG, *, actor: Actor = OPERATOR, **fields: Any) -> Any:
    """Add a freeze from and until so long after now."""
    now = rig.clock.time
    said = {"name": "sale", "reason": "sale week"} | fields
    starts_at = Instant(now + start_ms) if start_ms else None
    return rig.do(freezes.add, actor, starts_at=starts_at, ends_at=Instant(now + end_ms), **said)


def installs(rig: Rig) -> int:
    """Count the install commands that devices were sent, each once however often it was sent."""
    told = [entry for device in rig.devices.values() for entry in device.commands]
    return len({digest for digest, command in told if command.op == Op.INSTALL})


def at_work(rig: Rig) -> str:
    return next(name for name, device in rig.devices.items() if device.commands)


def test_no_attempt_begins_in_a_freeze_and_all_wait_for_its_end(rig: Rig) -> None:
    run = rig.start(stage(pace=Pace(max_in_flight=1)))
    first = at_work(rig)
    rig.report(first, AttemptState.ACCEPTED)
    freeze(rig)
    rig.succeed(first)
    rig.sleep(LONG - 1)

    assert installs(rig) == 1
    assert {rig.target(run, name).waits_for for name in "abc" if name != first} == {"the run stands in a freeze"}
    rig.sleep(1)
    assert installs(rig) == 2


def test_a_run_says_in_which_freeze_it_stands(rig: Rig) -> None:
    run = rig.start(stage())
    freeze(rig)
    shown = rig.view(run).frozen
    assert shown is not None
    assert (shown.name, shown.ends_at, shown.reason) == ("sale", START + LONG, "sale week")
    rig.sleep(LONG)
    assert rig.view(run).frozen is None
    assert [event.kind for event in rig.do(runs.events, run=run)][-2:] == ["frozen", "thawed"]


def test_what_was_committed_and_not_sent_is_void_when_the_freeze_is_answered(rig: Rig) -> None:
    rig.wire.is_full = True
    run = rig.start(stage(retry=ONCE, timeouts=Timeouts(accept_ms=SHORT)))
    freeze(rig)
    rig.wire.is_full = False
    rig.sleep(LONG - 1)
    assert (installs(rig), rig.counters(run)) == (0, {"in_progress": 3})

    rig.sleep(MINUTE)
    assert installs(rig) == 3
    assert {rig.target(run, name).attempt for name in "abc"} == {1}
    rig.succeed("a", "b", "c")
    assert rig.view(run).state == "succeeded"


def test_what_is_queued_for_sending_is_void_when_the_freeze_is_answered(rig: Rig) -> None:
    rig.start(stage())
    written = len(rig.wire.written)
    rig.clock.time = Instant(rig.clock.time + 15 * SECOND)
    while not rig.controller.dispatcher.waiting_count:
        run_now(wakeups.look(rig.controller))

    freeze(rig)

    assert rig.controller.dispatcher.waiting_count == 0
    assert len(rig.wire.written) == written


def test_what_a_newer_command_has_replaced_is_not_sent_in_a_freeze(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.start(stage())
    rig.clock.time = Instant(rig.clock.time + 15 * SECOND)
    while not rig.controller.dispatcher.waiting_count:
        run_now(wakeups.look(rig.controller))
    with monkeypatch.context() as patch:
        patch.setattr(rig, "pump", lambda: None)
        for name in "abc":
            rig.refuse(name, RejectCode.BUSY)
        freeze(rig)
    written = len(rig.wire.written)

    rig.pump()

    assert [kind for _, kind, _ in rig.wire.written[written:] if kind is DownlinkKind.COMMAND] == []


def test_devices_at_work_finish(rig: Rig) -> None:
    run = rig.start(stage())
    for name in "abc":
        rig.report(name, AttemptState.DOWNLOADING)
    freeze(rig)
    rig.succeed("a", "b", "c")
    assert rig.view(run).state == "succeeded"


def test_a_device_that_accepts_though_its_command_was_taken_back_goes_on(rig: Rig) -> None:
    run = rig.start(stage())
    freeze(rig)
    rig.succeed("a")
    assert rig.counters(run) == {"succeeded": 1, "in_progress": 2}


def test_a_device_that_says_hello_or_refuses_in_a_freeze_is_sent_nothing(rig: Rig) -> None:
    rig.start(stage())
    freeze(rig)
    rig.refuse("a", RejectCode.BUSY)
    rig.connect("b", "c")
    rig.sleep(SHORT)
    assert installs(rig) == 3
    rig.sleep(LONG)
    assert installs(rig) >= 6


def test_a_device_with_old_work_in_hand_gets_none_in_a_freeze(rig: Rig) -> None:
    run = rig.start(stage())
    digest, _ = rig.last_install("a")
    freeze(rig)
    work = WorkInHand(command=digest, run=run, attempt=9, epoch=1, state=AttemptState.ACCEPTED)
    rig.hello("a", work=work)
    assert installs(rig) == 3


def test_a_resume_within_a_freeze_sends_nothing(rig: Rig) -> None:
    run = rig.start(stage())
    rig.do(runs.pause, run=run, reason="lunch")
    freeze(rig)
    rig.do(runs.resume, run=run)
    assert (rig.view(run).paused, installs(rig)) == (False, 3)
    rig.sleep(LONG)
    assert installs(rig) == 6


def test_a_freeze_that_ends_in_a_pause_is_over_when_that_is_lifted(rig: Rig) -> None:
    run = rig.start(stage())
    freeze(rig)
    rig.do(runs.pause, run=run, reason="lunch")
    rig.sleep(2 * LONG)
    assert installs(rig) == 3
    rig.do(runs.resume, run=run)
    assert installs(rig) == 6
    rig.sleep(LONG)
    assert rig.counters(run) == {"queued": 3}


def test_a_run_that_starts_in_a_freeze_waits_and_says_so(rig: Rig) -> None:
    freeze(rig)
    run = rig.start(stage())
    assert (rig.view(run).frozen is not None, rig.view(run).stages[0].state, installs(rig)) == (True, "blocked", 0)
    rig.sleep(LONG)
    assert installs(rig) == 3


def test_a_promotion_waits_for_the_end_of_a_freeze(rig: Rig) -> None:
    run = rig.start(stage(trigger=Trigger.MANUAL))
    freeze(rig)
    rig.do(runs.promote, run=run, stage="all")
    assert rig.view(run).stages[0].state == "awaiting_promotion"
    rig.sleep(LONG)
    assert rig.view(run).stages[0].state == "rolling_out"


def test_a_freeze_to_come_begins_by_itself_and_no_command_outlives_its_start(rig: Rig) -> None:
    freeze(rig, SHORT, LONG)
    rig.start(stage(pace=Pace(max_in_flight=1), timeouts=Timeouts(accept_ms=2 * SHORT)))
    first = at_work(rig)
    assert rig.last(first)[1].exp == START + SHORT
    rig.sleep(SHORT)
    rig.report(first, AttemptState.FAILED)
    rig.sleep(SHORT)
    assert {rig.target(rig.do(runs.list_runs).items[0].id, first).state} <= {"queued", "failed"}
    assert {command.op for device in rig.devices.values() for _, command in device.commands} == {Op.INSTALL}
    assert len({name for name, device in rig.devices.items() if device.commands}) == 1


def test_only_runs_in_scope_are_frozen(rig: Rig) -> None:
    run = rig.start(stage())
    with pytest.raises(NotFound, match="did you mean 'rollout'"):
        freeze(rig, pipelines=("rolout",))
    freeze(rig, pipelines=("rollout",))
    assert rig.view(run).frozen is not None


def test_a_run_out_of_scope_goes_on(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=Pipeline(name="other", stages=(stage(),)))
    freeze(rig, pipelines=("other",))
    run = rig.start(stage())
    assert (rig.view(run).frozen, installs(rig)) == (None, 3)


def test_a_freeze_that_is_removed_lets_runs_go_on_at_once(rig: Rig) -> None:
    freeze(rig)
    run = rig.start(stage())
    rig.do(freezes.remove, OPERATOR, name="sale", reason="sold out")
    assert (rig.view(run).frozen, installs(rig), rig.do(freezes.list_freezes)) == (None, 3, ())
    with pytest.raises(NotFound, match="no freeze 'sale'"):
        rig.do(freezes.remove, name="sale", reason="again")


def test_overlapping_freezes_hold_until_the_last_has_ended(rig: Rig) -> None:
    freeze(rig, 0, SHORT)
    freeze(rig, 0, LONG, name="audit")
    run = rig.start(stage())
    rig.do(freezes.remove, name="audit", reason="done")
    shown = rig.view(run).frozen
    assert (shown and shown.name, installs(rig)) == ("sale", 0)
    rig.sleep(SHORT)
    assert installs(rig) == 3


def test_a_restart_forgets_no_freeze(rig: Rig) -> None:
    run = rig.start(stage(pace=Pace(max_in_flight=1)))
    freeze(rig)
    rig.controller = rig.new_controller()
    rig.inbox.open(rig.controller)
    rig.clock.time = Instant(rig.clock.time + SHORT)
    run_now(wakeups.recover(rig.controller))
    rig.connect("a", "b", "c")
    rig.sleep(SHORT)
    assert (rig.view(run).frozen is not None, installs(rig)) == (True, 1)
    rig.sleep(LONG)
    assert installs(rig) >= 2


def test_a_run_that_is_terminated_in_a_freeze_ends(rig: Rig) -> None:
    run = rig.start(stage())
    freeze(rig)
    rig.do(runs.terminate, run=run, reason="enough")
    rig.sleep(SHORT)
    assert (rig.view(run).state, rig.view(run).frozen) == ("terminated", None)


def test_runs_that_start_by_themselves_wait_too(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=Pipeline(name="rollout", stages=(stage(),)))
    rig.publish()
    operation = Operation(app=APP, version="1.0.0")
    rig.do(jobs.create, name="job", pipeline="rollout", operation=operation)
    rig.do(jobs.set_triggers, name="job", triggers=(OnRelease(channel="stable"),))
    freeze(rig)
    rig.do(channels.add, app=APP, version="1.0.0", channel="stable")

    assert (rig.do(runs.list_runs).items[0].frozen is not None, installs(rig)) == (True, 0)
    rig.sleep(LONG)
    assert installs(rig) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_ms": SHORT, "end_ms": SHORT}, "ends after it starts"),
        ({"start_ms": -SHORT, "end_ms": 0}, "over already"),
        ({"reason": " "}, "reason"),
        ({"name": "Sale!"}, "freeze"),
    ],
)
def test_a_freeze_that_is_none_is_refused(rig: Rig, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        freeze(rig, **fields)
    assert rig.do(freezes.list_freezes) == ()


def test_a_name_is_taken_until_its_freeze_is_over(rig: Rig) -> None:
    freeze(rig, 0, SHORT)
    with pytest.raises(Conflict, match="already"):
        freeze(rig)
    rig.sleep(SHORT)
    assert [view.is_over for view in rig.do(freezes.list_freezes)] == [True]
    freeze(rig)
    assert [view.is_over for view in rig.do(freezes.list_freezes)] == [False]


def test_the_calendar_is_bounded(rig: Rig) -> None:
    for number in range(freezes.FREEZES_MAX):
        freeze(rig, name=f"f{number}")
    with pytest.raises(Conflict, match="the most"):
        freeze(rig)


def test_operators_freeze_and_thaw_and_viewers_look(rig: Rig) -> None:
    viewer = Actor(name="vic", role=Role.VIEWER)
    with pytest.raises(NotAllowed):
        freeze(rig, actor=viewer)
    freeze(rig)
    with pytest.raises(NotAllowed):
        rig.do(freezes.remove, viewer, name="sale", reason="mine")
    with pytest.raises(InvalidRequest, match="reason"):
        rig.do(freezes.remove, name="sale", reason="")
    assert [view.by for view in rig.do(freezes.list_freezes, viewer)] == ["olga"]
    rig.do(freezes.remove, OPERATOR, name="sale", reason="sold out")
    acts = [(entry.verb, entry.subject, entry.reason) for entry in rig.do(system.audit)]
    assert acts[-2:] == [("freeze.add", "sale", "sale week"), ("freeze.remove", "sale", "sold out")]


def test_a_freeze_that_is_asked_for_twice_under_one_key_is_added_once(rig: Rig) -> None:
    keyed = Actor(name="olga", role=Role.OPERATOR, request=RequestKey(key="k", fingerprint="f"))
    assert freeze(rig, actor=keyed) == freeze(rig, actor=keyed)


def test_a_run_that_somebody_only_looks_at_after_the_end_of_its_freeze_goes_on_all_the_same(rig: Rig) -> None:
    rig.publish("2.0.0", counter=2)
    rig.start(stage(pace=Pace(max_in_flight=1)))
    freeze(rig)
    rig.succeed(at_work(rig))
    rig.sleep(LONG - 1)
    rig.clock.time = later(rig.clock.time, 1)
    rig.do(paths.order, app=APP, version="2.0.0", forbidden="1.0.0", reason="it loses settings")
    rig.sleep(0)
    assert installs(rig) == 2
