"""Sending: the fence, the transport's window, and what a crash between sending and marking leaves."""

import pytest

from controller.app import giving_up, runs, wakeups
from controller.app.consequences import Consequences
from controller.app.dispatch import RESEND_FIRST_MS, resend_after_ms
from controller.app.errors import StorageUnavailable
from controller.app.ports import Priority
from controller.app.records import CommandRecord
from controller.domain.pipeline import FailureLimit, Gate, OnFailure, Retry, Targets, Timeouts
from protocol.ids import device_id
from protocol.lifecycle import AttemptState
from protocol.reasons import RejectCode
from protocol.units import HOUR, INTEGER_MAX, MINUTE, SECOND, Instant, later
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import Rig, stage

ONLY_A = Targets(devices=(device_id("a"),))


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a")
    rig.connect("a")
    return rig


def open_commands(rig: Rig) -> list[CommandRecord]:
    return run_now(rig.store.read(lambda tx: tx.commands.due(Instant(INTEGER_MAX), limit=99)))


def held_back(rig: Rig) -> CommandRecord:
    """Return a command that is committed and was not sent, since the device's window was full."""
    rig.wire.is_full = True
    rig.start(stage(targets=ONLY_A))
    rig.wire.is_full = False
    return open_commands(rig)[0]


def test_nothing_below_a_raised_epoch_is_handed_over(rig: Rig) -> None:
    command = held_back(rig)
    dispatcher = rig.controller.dispatcher

    dispatcher.queue(Consequences(commands=[command]))
    dispatcher.fence(Consequences(epochs={command.run_id: 2}))
    rig.pump()

    assert rig.devices["a"].commands == []


def test_a_fence_never_goes_back(rig: Rig) -> None:
    command = held_back(rig)
    dispatcher = rig.controller.dispatcher

    dispatcher.fence(Consequences(epochs={command.run_id: 3}))
    dispatcher.fence(Consequences(epochs={command.run_id: 1}))
    dispatcher.queue(Consequences(commands=[command]))
    rig.pump()

    assert rig.devices["a"].commands == []


def test_a_voided_command_is_not_handed_over(rig: Rig) -> None:
    command = held_back(rig)
    dispatcher = rig.controller.dispatcher

    dispatcher.queue(Consequences(commands=[command]))
    dispatcher.fence(Consequences(voided=[command.id]))
    rig.pump()

    assert rig.devices["a"].commands == []


def test_a_command_that_its_own_transaction_made_void_is_not_handed_over(rig: Rig) -> None:
    command = held_back(rig)
    after = Consequences(commands=[command], voided=[command.id])

    rig.controller.dispatcher.fence(after)
    rig.controller.dispatcher.queue(after)
    rig.pump()

    assert rig.devices["a"].commands == []


def queued(rig: Rig) -> CommandRecord:
    """Have the newest open command in the sender's queue, and return it; the next `pump` would send it."""
    command = open_commands(rig)[-1]
    rig.controller.dispatcher.queue(Consequences(commands=[command]))
    rig.devices["a"].commands.clear()
    return command


def sent(rig: Rig) -> list[str]:
    return [command.op for _, command in rig.devices["a"].commands]


def test_a_queued_command_of_a_device_that_is_given_up_is_not_handed_over(rig: Rig) -> None:
    rig.enrol("b")
    rig.wire.is_full = True
    run = rig.start(stage())
    rig.wire.is_full = False
    queued(rig)

    rig.do(giving_up.give_up, run=run, device="a", reason="lost")

    assert sent(rig) == ["cancel"]


def test_a_queued_command_whose_attempt_was_not_accepted_in_time_is_not_handed_over(rig: Rig) -> None:
    timeouts = Timeouts(accept_ms=MINUTE, stage_ms=HOUR)
    run = rig.start(stage(targets=ONLY_A, timeouts=timeouts, retry=Retry(attempts_max=2, backoff_ms=HOUR)))
    rig.clock.time = later(rig.clock.time, 30 * SECOND)
    rig.refuse("a", RejectCode.BUSY)
    newer = queued(rig)
    rig.clock.time = later(rig.clock.time, 30 * SECOND)
    assert newer.expires_at > rig.clock.time

    run_now(wakeups.look(rig.controller))
    rig.pump()

    assert rig.counters(run) == {"queued": 1}
    assert sent(rig) == []


def test_a_queued_command_that_was_accepted_meanwhile_is_not_handed_over_again(rig: Rig) -> None:
    rig.start(stage(targets=ONLY_A))
    accepted = rig.last("a")
    queued(rig)

    rig.report("a", AttemptState.ACCEPTED, command=accepted)

    assert sent(rig) == []


def test_a_queued_control_command_that_is_out_of_date_is_not_handed_over(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))
    rig.report("a", AttemptState.ACCEPTED)
    rig.do(runs.pause, run=run, reason="doubt")
    rig.wire.is_full = True
    rig.do(runs.resume, run=run)
    rig.succeed("a")
    rig.wire.is_full = False
    assert queued(rig).op == "go"

    rig.hello("a")

    assert rig.view(run).state == "succeeded"
    assert sent(rig) == []


def test_an_expired_command_is_not_handed_over(rig: Rig) -> None:
    command = held_back(rig)
    rig.clock.time = command.expires_at

    rig.controller.dispatcher.queue(Consequences(commands=[command]))
    rig.pump()

    assert rig.devices["a"].commands == []


def test_what_could_not_be_signed_is_sent_when_it_is_due_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> bytes:
        raise RuntimeError("the key is away")

    with monkeypatch.context() as patched:
        patched.setattr(rig.controller.dispatcher, "_sealed", fails)
        with pytest.raises(RuntimeError):
            rig.start(stage(targets=ONLY_A))
    assert rig.devices["a"].commands == []

    rig.sleep(RESEND_FIRST_MS)

    assert len(rig.devices["a"].commands) == 1


def test_a_full_window_is_tried_again_soon(rig: Rig) -> None:
    held_back(rig)
    assert open_commands(rig)[0].state == "unsent"

    rig.sleep(2 * SECOND)

    assert len(rig.devices["a"].commands) == 1
    assert open_commands(rig)[0].state == "sent"


def test_what_was_sent_and_not_marked_is_sent_again_with_the_same_bytes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = rig.store.write

    async def fails_to_mark(work: object, *, priority: Priority) -> object:
        if priority is Priority.DISPATCH:
            raise StorageUnavailable("the disk is full")
        return await write(work, priority=priority)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(rig.store, "write", fails_to_mark)
        rig.start(stage(targets=ONLY_A))
    assert open_commands(rig)[0].state == "unsent"

    rig.sleep(RESEND_FIRST_MS)

    digests = [digest for digest, _ in rig.devices["a"].commands]
    assert len(digests) == 2
    assert len(set(digests)) == 1


def test_a_command_for_a_device_that_left_waits_for_its_hello(rig: Rig) -> None:
    command = held_back(rig)
    del rig.wire.sessions[command.name]

    rig.controller.dispatcher.queue(Consequences(commands=[command]))
    rig.pump()

    assert open_commands(rig)[0].send_at == command.expires_at


def test_a_hello_whose_command_could_not_be_sent_or_marked_is_not_forgotten(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = held_back(rig)
    rig.lose("a")
    rig.sleep(MINUTE)
    assert open_commands(rig)[0].send_at > later(rig.clock.time, MINUTE), "nobody is there"

    async def fails(sent: object, kept: object) -> None:
        raise StorageUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(rig.controller.dispatcher, "_mark", fails)
        rig.wire.is_full = True
        rig.connect("a")
    rig.wire.is_full = False
    rig.sleep(RESEND_FIRST_MS)

    assert [digest for digest, _ in rig.devices["a"].commands] == [command.digest]


def test_a_command_is_queued_once_however_often_it_is_asked_for(rig: Rig) -> None:
    command = held_back(rig)

    rig.controller.dispatcher.queue(Consequences(commands=[command, command]))

    assert rig.controller.dispatcher.waiting_count == 1


def test_the_waits_between_resends_grow_to_a_limit() -> None:
    waits = [resend_after_ms(sends) for sends in range(12)]

    assert waits[:3] == [15 * SECOND, 30 * SECOND, 60 * SECOND]
    assert waits[-1] == 5 * MINUTE
    assert waits == sorted(waits)


def restarted(rig: Rig) -> None:
    """Let the controller lose its memory, as a kill does."""
    rig.controller = rig.new_controller()
    rig.inbox.open(rig.controller)
    run_now(wakeups.recover(rig.controller))


def test_a_restart_sends_nothing_of_a_paused_run(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))
    rig.do(runs.pause, run=run, reason="doubt")
    rig.devices["a"].commands.clear()

    restarted(rig)
    rig.sleep(10 * MINUTE)

    assert [command.op for _, command in rig.devices["a"].commands] == []


def test_a_restart_raises_the_fences_of_active_runs(rig: Rig) -> None:
    command = held_back(rig)
    rig.do(runs.pause, run=rig.do(runs.list_runs).items[0].id, reason="doubt")

    restarted(rig)
    rig.devices["a"].commands.clear()
    rig.controller.dispatcher.queue(Consequences(commands=[command]))
    rig.pump()

    assert rig.devices["a"].commands == []


def test_a_restart_sends_what_nobody_accepted(rig: Rig) -> None:
    rig.start(stage(targets=ONLY_A))
    first, _ = rig.last("a")

    restarted(rig)
    rig.sleep(MINUTE)

    assert len(rig.devices["a"].commands) > 1
    assert rig.last("a")[0] == first


def test_a_stopped_branch_sends_no_install_command_again(rig: Rig) -> None:
    rig.enrol("b")
    rig.connect("b")
    gate = Gate(failures=FailureLimit(count=0))
    rig.start(stage(gate=gate, on_failure=OnFailure.STOP_BRANCH))
    rig.fail("a")
    assert rig.last("b")[1].op == "cancel"

    rig.devices["b"].commands.clear()
    rig.sleep(20 * SECOND)

    assert [command.op for _, command in rig.devices["b"].commands] == []


def test_a_pause_repeats_the_recall_of_devices_that_were_called_back(rig: Rig) -> None:
    rig.enrol("b", "c")
    rig.connect("b", "c")
    gate = Gate(failures=FailureLimit(count=0))
    run = rig.start(
        stage(gate=gate, on_failure=OnFailure.STOP_BRANCH, targets=Targets(devices=(device_id("a"), device_id("b")))),
        stage("other"),
    )
    rig.report("b", AttemptState.DOWNLOADING)
    rig.fail("a")

    rig.do(runs.pause, run=run, reason="doubt")
    assert [rig.last(name)[1].op for name in "bc"] == ["cancel", "hold"]

    rig.do(runs.resume, run=run)
    assert [rig.last(name)[1].op for name in "bc"] == ["cancel", "install"]


def test_a_command_whose_sending_is_not_marked_yet_is_not_sent_a_second_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet(*_: object) -> None:
        return

    monkeypatch.setattr(rig.controller.dispatcher, "_mark", not_yet)

    rig.start(stage(targets=ONLY_A))
    rig.sleep(SECOND)

    assert len(rig.devices["a"].commands) == 1
