"""Messages coming in: what is stored, what is refused, and that a bad one harms no other."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest

from controller.app import devices, hello, inbox, runs, system
from controller.app.errors import StorageUnavailable
from controller.app.ports import Disposition, Uplinked
from controller.domain import target as targets
from controller.domain.pipeline import Retry, Targets
from controller.domain.target import Event, Outcome, Policy, Target
from protocol.codec import encode
from protocol.envelope import seal
from protocol.ids import device_id
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Hello, InstalledRelease, Mode, PayloadType, Progress, Tick, WorkInHand
from protocol.reasons import Reason, RejectCode
from protocol.topics import UplinkKind
from protocol.units import DAY, HOUR, MINUTE
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import ADMIN, INCARNATION, Rig, stage

S = TypeVar("S")
T = TypeVar("T")

ONLY_A = Targets(devices=(device_id("a"),))


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b")
    rig.connect("a", "b")
    return rig


def security(rig: Rig) -> list[tuple[str, str]]:
    events = run_now(system.security_events(rig.controller, ADMIN))
    return [(event.device, event.code) for event in events]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (UplinkKind.HELLO, b""),
        (UplinkKind.REPORT, b"{"),
        (UplinkKind.REPORT, b"[" * 10_000),
        (UplinkKind.REPORT, b"\xff\xfe"),
        (UplinkKind.REPORT, b'{"payload":"","payloadType":"x","signatures":[]}'),
        (UplinkKind.TICK, b'{"progress":[{"run":1}]}'),
        (UplinkKind.GONE, b"null"),
        (UplinkKind.REPORT, b"x" * 20_000),
    ],
)
def test_a_malformed_message_is_refused_and_counted(rig: Rig, kind: UplinkKind, payload: bytes) -> None:
    assert rig.say("a", kind, payload) is Disposition.MALFORMED
    assert b'tidegate_messages_refused_total{reason="malformed"} 1.0' in rig.controller.meters.render()


def test_a_bad_message_harms_no_other_of_its_batch(rig: Rig) -> None:
    run = rig.start(stage())
    good = [
        Uplinked(
            name=rig.devices[name].name,
            kind=UplinkKind.REPORT,
            payload=rig.signed_report(name, AttemptState.SUCCEEDED, left=Left.NEW),
        )
        for name in "ab"
    ]
    bad = Uplinked(name=rig.devices["a"].name, kind=UplinkKind.REPORT, payload=b"junk")

    dispositions = rig.receive([good[0], bad, good[1]])

    assert dispositions == [Disposition.STORED, Disposition.MALFORMED, Disposition.STORED]
    assert rig.view(run).state == "succeeded"


def test_a_report_signed_by_another_device_is_refused(rig: Rig) -> None:
    rig.start(stage(targets=ONLY_A))
    forged = rig.signed_report("a", AttemptState.SUCCEEDED, left=Left.NEW)

    assert rig.say("b", UplinkKind.REPORT, forged) is Disposition.UNTRUSTED


def test_a_report_about_another_device_is_refused(rig: Rig) -> None:
    rig.start(stage(targets=ONLY_A))

    said = rig.report("a", AttemptState.SUCCEEDED, device=rig.devices["b"].name)

    assert said is Disposition.UNTRUSTED


def test_a_hello_sent_as_a_report_is_refused(rig: Rig) -> None:
    payload = seal(b"{}", PayloadType.HELLO, rig.devices["a"].key)

    assert rig.say("a", UplinkKind.REPORT, payload) is Disposition.MALFORMED


def test_a_blocked_device_is_not_heard_and_its_session_is_closed(rig: Rig) -> None:
    rig.do(devices.block, device="a", reason="stolen")

    assert rig.devices["a"].name in rig.wire.closed
    assert rig.hello("a") is Disposition.UNTRUSTED
    assert not run_now(rig.inbox.may_connect(rig.devices["a"].name))
    rig.do(devices.unblock, device="a", reason="found")
    assert run_now(rig.inbox.may_connect(rig.devices["a"].name))


def test_a_blocked_device_is_not_released(rig: Rig) -> None:
    rig.do(devices.block, device="a", reason="stolen")

    run = rig.start(stage())

    assert [t.device for t in rig.do(runs.targets, run=run).items] == ["b"]


def test_a_duplicate_report_changes_nothing_and_is_acknowledged_again(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))
    payload = rig.signed_report("a", AttemptState.DOWNLOADING)

    for _ in range(3):
        assert rig.say("a", UplinkKind.REPORT, payload) is Disposition.STORED

    assert [ack.stored for ack in rig.devices["a"].acks] == [(1,)] * 3
    assert rig.counters(run) == {"in_progress": 1}
    assert rig.target(run, "a").attempt_state == "downloading"


def test_a_batch_with_the_same_report_twice_stores_it_once(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))
    payload = rig.signed_report("a", AttemptState.SUCCEEDED, left=Left.NEW)
    message = Uplinked(name=rig.devices["a"].name, kind=UplinkKind.REPORT, payload=payload)

    rig.receive([message, message])

    assert rig.counters(run) == {"succeeded": 1}


def test_reports_out_of_order_never_go_back(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))

    rig.report("a", AttemptState.INSTALLING)
    rig.report("a", AttemptState.ACCEPTED)

    assert rig.target(run, "a").attempt_state == "installing"


def test_a_terminal_report_is_final(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))
    rig.fail("a")

    rig.report("a", AttemptState.SUCCEEDED, left=Left.NEW)
    rig.report("a", AttemptState.DOWNLOADING)

    assert rig.counters(run) == {"failed": 1}


def test_a_report_of_a_command_that_we_never_gave_is_an_alarm(rig: Rig) -> None:
    run = rig.start(stage())
    foreign = rig.last_install("b")

    rig.report("a", AttemptState.SUCCEEDED, command=foreign)
    rig.report("a", AttemptState.SUCCEEDED, command=("0" * 64, foreign[1]))  # type: ignore[arg-type]

    assert security(rig) == [("acme:a", "unknown-command")] * 2
    assert rig.counters(run) == {"in_progress": 2}


def test_a_refusal_of_a_command_that_is_not_current_is_an_alarm_and_nothing_else(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))
    rig.report("a", AttemptState.DOWNLOADING)

    rig.refuse("a", RejectCode.UNSIGNED)

    assert security(rig) == [("acme:a", "unsigned")]
    assert rig.counters(run) == {"in_progress": 1}


def test_ticks_show_progress_and_are_not_stored(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))
    rig.report("a", AttemptState.DOWNLOADING)
    progress = Progress(run=run, attempt=1, state=AttemptState.DOWNLOADING, done=30, total=100)

    assert rig.say("a", UplinkKind.TICK, encode(Tick(progress=(progress,)))) is Disposition.STORED

    assert (rig.target(run, "a").done, rig.target(run, "a").total) == (30, 100)


def test_a_recorded_hello_is_not_answered(rig: Rig) -> None:
    replies = len(rig.devices["a"].replies)
    rig.hello("a", hello_seq=1)
    assert len(rig.devices["a"].replies) == replies

    rig.hello("a", hello_seq=1, incarnation="2" * 16)
    assert len(rig.devices["a"].replies) == replies + 1


def test_a_device_that_claims_an_absurd_sequence_harms_only_itself(rig: Rig) -> None:
    rig.hello("a", seq=rig.clock.time + 2 * DAY)
    assert security(rig) == [("acme:a", "seq-ahead")]

    rig.hello("b", seq=rig.clock.time + 5)
    rig.start(stage())

    assert rig.last("b")[1].seq == rig.clock.time + 6
    assert rig.last("a")[1].seq < rig.clock.time + DAY


def test_a_stale_will_changes_nothing(rig: Rig) -> None:
    assert rig.say("a", UplinkKind.GONE, b'{"connection":"c0"}') is Disposition.STALE
    assert run_now(devices.get(rig.controller, ADMIN, device="a")).online

    rig.lose("a")
    assert not run_now(devices.get(rig.controller, ADMIN, device="a")).online


def test_a_will_that_comes_with_its_own_hello_is_that_of_the_connection(rig: Rig) -> None:
    hello, will = rig.said_hello("a", connection="c9"), rig.said_gone("a", "c9")
    stale, other = rig.said_gone("a", "c1"), rig.said_gone("b", "c1")

    said = rig.receive([stale, hello, will, other])

    assert said == [Disposition.STALE, Disposition.STORED, Disposition.STORED, Disposition.STORED]
    assert not run_now(devices.get(rig.controller, ADMIN, device="a")).online


def test_a_will_that_overtakes_its_own_hello_still_ends_that_connection(rig: Rig) -> None:
    """Brokers offer again what was not acknowledged, and some offer the new before the old (NATS, RabbitMQ)."""
    hello = rig.said_hello("a", connection="c9")
    assert rig.receive([rig.said_gone("a", "c9")]) == [Disposition.STALE]
    assert run_now(devices.get(rig.controller, ADMIN, device="a")).online

    assert rig.receive([hello]) == [Disposition.STORED]
    assert not run_now(devices.get(rig.controller, ADMIN, device="a")).online

    assert rig.hello("a", connection="c10") is Disposition.STORED
    assert run_now(devices.get(rig.controller, ADMIN, device="a")).online


def test_what_is_remembered_of_stale_wills_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "STALE_MAX", 2)
    hello = rig.said_hello("a", connection="c7")
    for connection in ("c7", "c8", "c9"):
        rig.receive([rig.said_gone("a", connection)])
    assert rig.receive([hello]) == [Disposition.STORED]
    assert run_now(devices.get(rig.controller, ADMIN, device="a")).online


def test_of_a_batch_that_met_a_fault_stale_wills_are_still_told_from_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [rig.said_gone("a", "c0"), rig.said_hello("a"), rig.said_gone("b", "c1")]
    greet = hello.greet

    def broken(controller: Any, tx: Any, after: Any, hellos: Any) -> Any:
        assert not hellos, "a fault of ours"
        return greet(controller, tx, after, hellos)

    monkeypatch.setattr(hello, "greet", broken)

    said = rig.receive(batch)

    assert said == [Disposition.STALE, Disposition.MALFORMED, Disposition.STORED]


def test_a_session_that_ends_takes_its_device_offline_unless_it_is_back(rig: Rig) -> None:
    name = rig.devices["a"].name
    rig.connect("a")
    run_now(rig.inbox.disconnected(name, 1))
    assert run_now(devices.get(rig.controller, ADMIN, device="a")).online

    del rig.wire.sessions[name]
    run_now(rig.inbox.disconnected(name, 2))
    assert not run_now(devices.get(rig.controller, ADMIN, device="a")).online


def test_what_a_terminal_report_says_is_installed_is_kept(rig: Rig) -> None:
    rig.start(stage(targets=ONLY_A))
    rig.succeed("a")

    view = run_now(devices.get(rig.controller, ADMIN, device="a"))
    assert [(i.app, i.version) for i in view.installed] == [("shop", "1.0.0")]
    assert not view.broken


def test_a_hello_said_before_the_end_of_the_work_does_not_hide_it(rig: Rig) -> None:
    """Both may come in one batch, after the controller was away; reports are folded first."""
    rig.start(stage(targets=ONLY_A))
    device = rig.devices["a"]
    device.hello_seq += 1
    said = Hello(device=device.name, nonce="7" * 32, incarnation=INCARNATION, hello_seq=device.hello_seq, agent="test")
    new = InstalledRelease(app="shop", version="1.0.0")
    payloads = {
        UplinkKind.HELLO: seal(encode(said), PayloadType.HELLO, device.key),
        UplinkKind.REPORT: rig.signed_report("a", AttemptState.SUCCEEDED, left=Left.NEW, installed=(new,)),
    }
    rig.receive([Uplinked(name=device.name, kind=kind, payload=raw) for kind, raw in payloads.items()])
    assert [i.version for i in run_now(devices.get(rig.controller, ADMIN, device="a")).installed] == ["1.0.0"]


def test_a_broken_device_is_counted_and_left_out_of_further_runs(rig: Rig) -> None:
    run = rig.start(stage())
    rig.report("a", AttemptState.FAILED, left=Left.BROKEN)
    rig.succeed("b")
    assert rig.view(run).stages[0].bricked == 1

    second = rig.do(runs.start, job="job").id

    assert [t.device for t in rig.do(runs.targets, run=second).items] == ["b"]


@pytest.mark.parametrize("wait_ms", [MINUTE, HOUR], ids=["the next attempt is sent", "the next attempt is over, too"])
def test_a_device_that_broke_in_an_earlier_attempt_is_broken_though_it_says_so_late(rig: Rig, wait_ms: int) -> None:
    rig.start(stage(targets=ONLY_A, retry=Retry(attempts_max=2)))
    first = rig.last_install("a")
    while rig.last_install("a") == first:
        rig.sleep(MINUTE)
    rig.sleep(wait_ms)
    rig.report("a", AttemptState.FAILED, reason=Reason.INSTALL_FAILED, left=Left.BROKEN, command=first)
    assert rig.do(devices.get, device="a").broken


def test_an_attempt_that_was_called_off_hides_no_earlier_one_that_broke(rig: Rig) -> None:
    """Its device refused it, busy with the earlier one, and has told no end of it."""
    run = rig.start(stage(targets=ONLY_A, retry=Retry(attempts_max=2)))
    first = rig.last_install("a")
    while rig.last_install("a") == first:
        rig.sleep(MINUTE)
    rig.do(runs.terminate, run=run, reason="enough")
    rig.refuse("a", RejectCode.BUSY, command=rig.last_install("a"))
    assert rig.target(run, "a").state == "cancelled"
    rig.report("a", AttemptState.FAILED, reason=Reason.INSTALL_FAILED, left=Left.BROKEN, command=first)
    assert rig.do(devices.get, device="a").broken


def test_a_device_that_was_mended_since_is_not_broken_by_an_old_report(rig: Rig) -> None:
    rig.start(stage(targets=ONLY_A, retry=Retry(attempts_max=2)))
    first = rig.last_install("a")
    while rig.last_install("a") == first:
        rig.sleep(MINUTE)
    rig.succeed("a")
    rig.report("a", AttemptState.FAILED, reason=Reason.INSTALL_FAILED, left=Left.BROKEN, command=first)
    assert not rig.do(devices.get, device="a").broken


def test_nothing_is_acknowledged_when_the_database_cannot_be_written(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rig.start(stage(targets=ONLY_A))
    payload = rig.signed_report("a", AttemptState.DOWNLOADING)

    async def broken(*_: object, **__: object) -> None:
        raise StorageUnavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(rig.store, "write", broken)
        with pytest.raises(StorageUnavailable):
            rig.say("a", UplinkKind.REPORT, payload)
    assert rig.devices["a"].acks == []

    rig.say("a", UplinkKind.REPORT, payload)
    assert rig.target(run, "a").attempt_state == "downloading"


def test_the_device_says_which_incarnation_its_acknowledged_reports_are_of(rig: Rig) -> None:
    rig.start(stage(targets=ONLY_A))

    rig.report("a", AttemptState.DOWNLOADING)

    assert rig.devices["a"].acks[0].incarnation == INCARNATION


def test_a_blocked_device_gets_no_new_command_for_its_attempt(rig: Rig) -> None:
    run = rig.start(stage())
    before = len(rig.devices["a"].commands)
    rig.do(devices.block, device="a", reason="stolen")
    rig.do(runs.pause, run=run, reason="wait")
    rig.do(runs.resume, run=run)
    rows = rig.wait(rig.store.read(lambda tx: tx.commands.unsent_count()))
    assert (len(rig.devices["a"].commands), rows) == (before, 0)


def test_a_device_that_was_away_is_told_again_what_it_has_not_heard(rig: Rig) -> None:
    """Its command may still be on the way: without the recall it would begin what nobody wants any more."""
    run = rig.start(stage(targets=Targets(devices=(device_id("a"),))))
    rig.wire.is_full = True
    rig.do(runs.terminate, run=run, reason="enough")
    rig.lose("a")
    rig.wire.is_full = False
    rig.connect("a", seq=rig.last("a")[1].seq - 1)
    assert rig.last("a")[1].op == "cancel"
    assert rig.wait(rig.store.read(lambda tx: tx.commands.unsent_count())) == 0


def test_what_a_device_need_not_hear_any_more_is_dropped(rig: Rig) -> None:
    run = rig.start(stage(targets=Targets(devices=(device_id("a"),))))
    rig.wire.is_full = True
    rig.do(runs.pause, run=run, reason="wait")
    rig.do(runs.terminate, run=run, reason="enough")
    rig.lose("a")
    rig.wire.is_full = False
    rig.connect("a", seq=rig.clock.time + DAY // 2)
    assert [command.op for _, command in rig.devices["a"].commands] == ["install"]
    assert rig.wait(rig.store.read(lambda tx: tx.commands.unsent_count())) == 0


class Overtaken:
    """Computing that lets something else be done first."""

    def __init__(self) -> None:
        self.first: Callable[[], object] = lambda: None

    async def run(self, work: Callable[[], T]) -> T:
        first, self.first = self.first, lambda: None
        first()
        return work()

    async def map(self, work: Callable[[S], T], items: Sequence[S]) -> list[T]:
        return await self.run(lambda: [work(item) for item in items])


def test_a_permit_that_a_pause_overtakes_lets_the_device_begin_nothing() -> None:
    compute = Overtaken()
    rig = Rig(compute=compute)
    rig.enrol("a")
    rig.connect("a")
    run = rig.start(stage())
    rig.report("a", AttemptState.ACCEPTED)
    digest, command = rig.last_install("a")
    work = WorkInHand(command=digest, run=run, attempt=1, state=AttemptState.ACCEPTED, epoch=command.epoch)

    def pause_after_parsing() -> None:
        compute.first = lambda: rig.do(runs.pause, run=run, reason="wait")

    compute.first = pause_after_parsing
    rig.hello("a", work=work)
    permit = rig.devices["a"].replies[-1].work
    assert permit is not None
    assert (permit.mode, permit.epoch) == (Mode.HOLD, command.epoch)


def test_a_message_that_meets_a_fault_of_ours_blocks_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rig.start(stage())
    poisoned = rig.devices["a"].name
    step = targets.step

    def faulty(target: Target, event: Event, policy: Policy) -> Outcome:
        if policy.jitter_key.endswith(poisoned):
            raise ZeroDivisionError
        return step(target, event, policy)

    monkeypatch.setattr(targets, "step", faulty)
    batch = [
        Uplinked(
            name=rig.devices[name].name,
            kind=UplinkKind.REPORT,
            payload=rig.signed_report(name, AttemptState.DOWNLOADING),
        )
        for name in "ab"
    ]

    assert rig.receive(batch) == [Disposition.MALFORMED, Disposition.STORED]

    assert rig.devices["a"].acks == []
    assert rig.target(run, "b").attempt_state == "downloading"


def test_a_state_that_is_reported_again_is_no_anomaly_and_extends_the_lease(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))
    rig.report("a", AttemptState.DOWNLOADING)
    rig.sleep(40 * MINUTE)

    rig.report("a", AttemptState.DOWNLOADING)
    rig.sleep(40 * MINUTE)

    assert rig.counters(run) == {"in_progress": 1}
    assert b"tidegate_anomalies_total{" not in rig.controller.meters.render()


def test_a_device_cannot_say_that_its_command_was_sent(rig: Rig) -> None:
    run = rig.start(stage(targets=ONLY_A))

    rig.report("a", AttemptState.SENT)

    assert rig.view(run).stages[0].started == 0
