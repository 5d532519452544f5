"""Faults found by attacking the rollout: each test states what must hold."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from controller.app import cursors, devices, jobs, runs, system, wakeups
from controller.app.dispatch import RESEND_FIRST_MS
from controller.app.errors import InvalidRequest
from controller.complaints import LINES_BURST
from controller.domain import graph
from controller.domain.pipeline import FailureLimit, Gate, OnFailure, Operation, Pace, Retry, Targets, Timeouts
from protocol.ids import StageName, device_id
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Mode, WorkInHand
from protocol.reasons import Reason, RejectCode
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import DAY, HOUR, MINUTE, SECOND, later
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import ADMIN, APP, Inline, Rig, stage

S = TypeVar("S")
T = TypeVar("T")
FIRST_FAILURE = Gate(failures=FailureLimit(count=0))
SHORT = Timeouts(accept_ms=MINUTE, lease_ms=2 * MINUTE, stage_ms=DAY)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_device_that_went_offline_at_work_gets_no_slot_when_its_lease_ends(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(timeouts=SHORT, retry=Retry(attempts_max=5, backoff_ms=SECOND)))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.lose("a")
    rig.sleep(10 * MINUTE)
    assert rig.target(run, "a").attempt == 1
    assert rig.counters(run) == {"queued": 1}
    rig.connect("a")
    assert rig.target(run, "a").attempt == 2


def test_a_device_back_since_a_restart_without_its_work_is_released_again(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(timeouts=SHORT, retry=Retry(attempts_max=5, backoff_ms=SECOND)))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.wire.instance += 1
    rig.connect("a")
    rig.sleep(MINUTE + 10 * SECOND)
    assert rig.target(run, "a").attempt == 2


def test_a_device_whose_lease_ends_is_free_for_the_next_run(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    first = rig.start(stage(timeouts=SHORT, retry=Retry(attempts_max=1)))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.do(jobs.create, name="other", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))
    second = rig.do(runs.start, job="other").id
    assert rig.counters(second) == {"queued": 1}
    rig.sleep(2 * MINUTE + 10 * SECOND)
    assert rig.counters(first) == {"timed_out": 1}
    assert rig.counters(second) == {"in_progress": 1}


def test_a_run_that_fails_while_it_is_paused_ends_by_itself(rig: Rig) -> None:
    rig.enrol("a", "b")
    rig.connect("a", "b")
    run = rig.start(stage(gate=FIRST_FAILURE, timeouts=SHORT))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.report("b", AttemptState.DOWNLOADING)
    rig.do(runs.pause, run=run, reason="look")
    rig.fail("a")
    rig.lose("b")
    rig.sleep(HOUR)
    assert rig.view(run).state == "failed"


def test_a_recalled_device_that_refuses_its_command_is_cancelled_not_failed(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage())
    install = rig.last_install("a")
    rig.do(runs.terminate, run=run, reason="no")
    rig.refuse("a", RejectCode.REPLAY, command=install)
    assert rig.counters(run) == {"cancelled": 1}


def test_a_device_that_refuses_every_command_is_not_answered_without_end(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    rig.start(stage())
    for _ in range(50):
        rig.refuse("a", RejectCode.EXPIRED, command=rig.last_install("a"))
    assert len(rig.devices["a"].commands) < 10


def test_devices_that_rejected_do_not_loosen_the_failure_limit(rig: Rig) -> None:
    names = [f"d{n}" for n in range(22)]
    rig.enrol(*names)
    rig.connect(*names)
    limit = FailureLimit(percent=10, min_sample=1)
    run = rig.start(stage(gate=Gate(failures=limit)))
    for name in names[:20]:
        rig.report(name, AttemptState.ACCEPTED)
        rig.report(name, AttemptState.REJECTED, reason=Reason.WRONG_HARDWARE, left=Left.OLD)
    rig.fail(names[20])
    assert rig.view(run).stages[0].state == "failed"


def test_a_late_report_of_an_old_attempt_does_not_change_what_is_known_to_be_installed(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(retry=Retry(attempts_max=3, backoff_ms=SECOND), timeouts=SHORT))
    old = rig.last_install("a")
    rig.report("a", AttemptState.DOWNLOADING)
    rig.sleep(3 * MINUTE)
    assert rig.target(run, "a").attempt == 2
    rig.report("a", AttemptState.FAILED, reason=Reason.INSTALL_FAILED, left=Left.BROKEN)
    rig.report("a", AttemptState.FAILED, reason=Reason.INTERRUPTED, left=Left.OLD, command=old)
    assert rig.do(devices.get, device="a").broken


def test_a_late_report_of_another_run_does_not_make_a_broken_device_whole(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    rig.start(stage(retry=Retry(attempts_max=1), timeouts=SHORT))
    late = rig.last_install("a")
    rig.report("a", AttemptState.DOWNLOADING)
    rig.sleep(3 * MINUTE)
    rig.do(runs.start, job="job")
    rig.report("a", AttemptState.FAILED, reason=Reason.INSTALL_FAILED, left=Left.BROKEN)
    rig.report("a", AttemptState.SUCCEEDED, left=Left.NEW, command=late)
    assert rig.do(devices.get, device="a").broken


def test_a_long_standstill_is_taken_out_before_anything_is_judged(rig: Rig) -> None:
    rig.enrol("a", "b")
    rig.connect("a", "b")
    run_now(wakeups.recover(rig.controller))
    run = rig.start(stage(gate=Gate(soak_ms=10 * MINUTE, success_percent=100)))
    rig.succeed("a", "b")
    assert rig.view(run).stages[0].state == "soaking"
    rig.clock.time = later(rig.clock.time, HOUR)
    rig.connect("a")
    assert rig.view(run).stages[0].state == "soaking"
    rig.do(runs.resume, run=run)
    assert rig.view(run).stages[0].state == "soaking"
    rig.sleep(11 * MINUTE)
    assert rig.view(run).state == "succeeded"


def test_a_clock_that_is_put_back_does_not_hold_a_run_up(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run_now(wakeups.recover(rig.controller))
    run = rig.start(stage(timeouts=SHORT, retry=Retry(attempts_max=1)))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.clock.time = later(rig.clock.time, -DAY)
    rig.sleep(5 * MINUTE)
    assert rig.counters(run) == {"timed_out": 1}


@pytest.mark.parametrize("text", ["²", "--5", "-", "9" * 40])
def test_a_cursor_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        cursors.decode_int(cursors.encode(text))


def test_control_commands_that_nobody_could_take_do_not_wait_for_ever(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(timeouts=SHORT))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.lose("a")
    rig.do(runs.pause, run=run, reason="look")
    rig.do(runs.resume, run=run)
    rig.do(runs.terminate, run=run, reason="end")
    rig.sleep(3 * HOUR)
    assert rig.view(run).state == "terminated"
    assert run_now(rig.store.read(lambda tx: (tx.commands.unsent_count(), tx.commands.next_due()))) == (0, None)


def test_a_stage_recalled_alone_keeps_its_devices_recalled_over_pause_and_resume(rig: Rig) -> None:
    rig.enrol("a", "b", "c")
    rig.connect("a", "b", "c")
    other = stage("other", gate=FIRST_FAILURE, on_failure=OnFailure.CONTINUE, pace=Pace(max_in_flight=3))
    run = rig.start(other, stage("next", needs=("other",), allow_empty=True))
    rig.fail("a")
    count = len([c for c in rig.devices["b"].commands if c[1].op == "install"])
    rig.do(runs.pause, run=run, reason="look")
    rig.do(runs.resume, run=run)
    rig.sleep(20 * SECOND)
    assert len([c for c in rig.devices["b"].commands if c[1].op == "install"]) == count


def test_no_command_overtakes_the_reply_to_a_hello() -> None:
    rig = Rig()
    late: list[object] = []

    class Pumping(Inline):
        async def map(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
            done = await super().map(work, items)
            if late:
                await rig.controller.dispatcher.pump()
            return done

    rig = Rig(compute=Pumping())
    rig.enrol("a")
    rig.start(stage())
    late.append(True)
    rig.connect("a")
    assert [kind for _, kind, _ in rig.wire.written] == [DownlinkKind.ACK, DownlinkKind.COMMAND]


def test_a_controller_that_cannot_write_is_not_ready(rig: Rig) -> None:
    run_now(wakeups.look(rig.controller))
    assert run_now(system.health(rig.controller)).ready
    rig.clock.time = later(rig.clock.time, 2 * MINUTE)
    health = run_now(system.health(rig.controller))
    assert not health.ready
    assert "could be written" in health.faults[0]


def test_a_controller_whose_transport_has_faults_is_not_ready(rig: Rig) -> None:
    run_now(wakeups.look(rig.controller))
    health = run_now(system.health(rig.controller, transport_faults=("3 of 16 stand",)))
    assert (health.ready, health.faults) == (False, ("3 of 16 stand",))


def test_the_order_of_many_stages_is_found_at_once() -> None:
    names = [StageName(f"s{number}") for number in range(256)]
    chain = {name: tuple(names[:index]) for index, name in enumerate(names)}
    assert graph.in_order(dict(reversed(chain.items()))) == tuple(names)


def test_a_breach_of_a_recalled_tail_does_not_hold_up_the_end_of_a_run(rig: Rig) -> None:
    """The first stage has passed with two devices left; the second fails and stops the run, then the first breaches."""
    first = Targets(devices=tuple(device_id(name) for name in ("a", "b", "c")))
    rig.enrol("a", "b", "c", "z")
    rig.connect("a", "b", "c", "z")
    gate = Gate(success_percent=30, straggler_after_ms=SECOND, failures=FailureLimit(count=0))
    run = rig.start(
        stage("one", targets=first, gate=gate, timeouts=SHORT),
        stage("two", needs=("one",), gate=FIRST_FAILURE, timeouts=SHORT),
    )
    rig.report("b", AttemptState.INSTALLING)
    rig.report("c", AttemptState.INSTALLING)
    rig.succeed("a")
    rig.sleep(2 * SECOND)
    rig.fail("z")
    assert rig.view(run).state == "running"
    rig.fail("b")
    rig.lose("c")
    rig.sleep(10 * MINUTE)
    assert rig.view(run).state == "failed"


def test_control_commands_of_an_epoch_that_is_over_are_closed(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(timeouts=SHORT))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.wire.is_full = True
    for _ in range(3):
        rig.do(runs.pause, run=run, reason="look")
        rig.do(runs.resume, run=run)
    rig.wire.is_full = False
    rig.sleep(MINUTE)
    assert rig.last("a")[1].op == "go"
    assert run_now(rig.store.read(lambda tx: tx.commands.unsent_count())) == 0


def stale_work(rig: Rig, run: str) -> WorkInHand:
    digest, command = rig.last_install("a")
    rig.report("a", AttemptState.DOWNLOADING)
    return WorkInHand(
        command=digest, run=run, attempt=1, state=AttemptState.DOWNLOADING, epoch=command.epoch, mode=Mode.GO
    )


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_recalled_old_attempt_does_not_call_the_next_one_off(rig: Rig, is_connected: bool) -> None:
    """The permit to cancel is of the run's epoch, so a device used to end its next attempt as cancelled, too."""
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(timeouts=SHORT, retry=Retry(attempts_max=3, backoff_ms=SECOND)))
    work = stale_work(rig, run)
    if not is_connected:
        rig.lose("a")
    rig.sleep(2 * MINUTE + 10 * SECOND)
    known = len(rig.devices["a"].commands)
    rig.connect("a", work=work)
    permit = rig.devices["a"].replies[-1].work
    assert permit is not None
    assert permit.mode is Mode.CANCEL
    said = [command for _, command in rig.devices["a"].commands[known:]]
    assert [command.op for command in said] == ["go", "install"]
    assert (said[0].epoch, said[1].attempt) == (permit.epoch, 2)
    assert said[0].seq < said[1].seq
    rig.succeed("a")
    assert rig.counters(run) == {"succeeded": 1}


def test_the_recall_of_work_that_nobody_wants_any_more_stands(rig: Rig) -> None:
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(timeouts=SHORT, retry=Retry(attempts_max=1)))
    work = stale_work(rig, run)
    rig.sleep(2 * MINUTE + 10 * SECOND)
    assert rig.counters(run) == {"timed_out": 1}
    known = len(rig.devices["a"].commands)
    rig.connect("a", work=work)
    assert rig.devices["a"].commands[known:] == []


def test_a_look_at_the_deadlines_sends_nothing_that_the_dispatcher_is_sending(rig: Rig) -> None:
    """What was handed over and is not marked yet used to be handed over again by the next look."""
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage(timeouts=SHORT))
    rig.do(runs.terminate, run=run, reason="end")
    rig.succeed("a")
    run_now(runs.start(rig.controller, ADMIN, job="job"))
    due = run_now(rig.store.read(lambda tx: tx.commands.next_due()))
    assert due == later(rig.clock.time, RESEND_FIRST_MS)


def test_a_device_that_floods_does_not_fill_the_log(rig: Rig) -> None:
    rig.enrol("loud")
    with capture_logs() as logs:
        for _ in range(1_000):
            rig.say("loud", UplinkKind.REPORT, b"junk")
    lines = [line for line in logs if line["event"] == "message_refused"]
    assert len(lines) == LINES_BURST
    rig.sleep(10_000)
    with capture_logs() as later:
        rig.say("loud", UplinkKind.REPORT, b"junk")
    assert later[-1]["suppressed"] == 1_000 - LINES_BURST
