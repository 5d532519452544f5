"""Answering hellos: what the device says is reconciled with the database before it is admitted to anything.

The rules this module keeps:

1. A hello that is not newer than the last one of its incarnation is a recording and gets no answer; nor does that of a
   device which is shut out by now.
2. What is still owed is sent again, the same bytes; work that is no longer wanted is called back.
3. Work that a device was thought to have, and has no more, is not waited for until its lease ends.
4. Only then does the device join stages that include new ones, and do its queued rows become ready.
"""

from collections.abc import Mapping, Sequence

import msgspec

from controller.app import silence
from controller.app.advance import Advance
from controller.app.changes import notice
from controller.app.commands import outdated
from controller.app.consequences import Answer, Consequences
from controller.app.controller import Controller
from controller.app.dispatch import RESEND_FIRST_MS
from controller.app.records import DeviceRecord, RunRecord, SecurityRecord, Sender, TargetRecord
from controller.app.releasing import policy_of
from controller.app.repositories import Transaction
from controller.domain import target as targets
from controller.domain.target import Seen, TargetState
from protocol.ids import Name
from protocol.lifecycle import AttemptState
from protocol.messages import Hello, HelloReply, Mode, WorkInHand, WorkPermit
from protocol.units import DAY, MINUTE, SECOND, Instant, Millis, later

MAX_SILENCE_MS = Millis(15 * MINUTE)
SPREAD_MS = Millis(10 * SECOND)


def greet(
    controller: Controller, tx: Transaction, after: Consequences, hellos: Sequence[tuple[Sender, Hello]]
) -> list[Answer]:
    """Reconcile each hello and return the replies, to be signed and sent after the commit."""
    if not hellos:
        return []
    advance = Advance(controller, tx, after)
    known = tx.devices.by_names({sender.name for sender, _ in hellos})
    fresh = _fresh(controller, tx, advance.at, known, hellos)
    _tell_again(advance, fresh)
    replies = [_reply(advance, device, hello) for device, hello in fresh]
    ids = [device.id for device, _ in fresh]
    changed = [device.id for device, _ in fresh if _is_news(known[device.name], device)]
    silence.came(advance, ids)
    notice(advance, changed, online=ids)
    advance.finish()
    return replies


def _fresh(
    controller: Controller,
    tx: Transaction,
    at: Instant,
    before: Mapping[Name, DeviceRecord],
    hellos: Sequence[tuple[Sender, Hello]],
) -> list[tuple[DeviceRecord, Hello]]:
    """Store the newest hello of each device, and return those that are no recordings, of devices not shut out."""
    known = dict(before)
    newest: dict[Name, tuple[DeviceRecord, Hello]] = {}
    for sender, hello in hellos:
        current = known[sender.name]
        refusal = _refusal(current, hello)
        if refusal is not None:
            controller.meters.refused.labels(reason=refusal).inc()
            controller.complain(refusal, device=sender.name, hello_seq=hello.hello_seq)
            continue
        known[sender.name] = _saved(controller, tx, at, current, hello)
        newest[sender.name] = (known[sender.name], hello)
    return list(newest.values())


def _refusal(device: DeviceRecord, hello: Hello) -> str | None:
    """Return why a hello is not taken; its device may have been shut out since the signature was verified."""
    if device.is_blocked:
        return "hello_blocked"
    is_old = hello.incarnation == device.incarnation and hello.hello_seq <= device.hello_seq
    return "hello_replayed" if is_old else None


def _is_news(before: DeviceRecord, after: DeviceRecord) -> bool:
    """Say whether a device tells something other than before that decides whether it is admitted."""
    told = ((one.facts, one.installed, one.agent, one.capabilities) for one in (before, after))
    return next(told) != next(told)


def _saved(controller: Controller, tx: Transaction, at: Instant, device: DeviceRecord, hello: Hello) -> DeviceRecord:
    is_ahead = hello.seq > at + DAY
    if is_ahead:
        event = SecurityRecord(at=at, name=device.name, code="seq-ahead", digest="", detail=f"seq {hello.seq}")
        tx.log.add_security([event])
    changed = msgspec.structs.replace(
        device,
        facts=hello.facts,
        installed=hello.installed,
        agent=hello.agent,
        capabilities=hello.capabilities,
        incarnation=hello.incarnation,
        hello_seq=hello.hello_seq,
        seq=device.seq if is_ahead else max(device.seq, hello.seq),
        instance=controller.transport.instance,
        connection=hello.connection,
        last_seen_at=at,
    )
    tx.devices.save_hello(changed)
    return changed


def _tell_again(advance: Advance, fresh: Sequence[tuple[DeviceRecord, Hello]]) -> None:
    """Send again what a device has not heard of its runs, and drop what is no longer so.

    The reply speaks of work in hand alone; a hold or a recall also stops a command that is still on its way.
    """
    heard = {device.id: hello.seq for device, hello in fresh}
    unheard = advance.tx.commands.controls_for(heard)
    over = outdated(advance.tx, unheard, advance.at) | {c.id for c in unheard if c.seq <= heard[c.device_id]}
    advance.tx.commands.drop(over)
    advance.releasing.send_again([c for c in unheard if c.id not in over])


def _reply(advance: Advance, device: DeviceRecord, hello: Hello) -> Answer:
    at_work = advance.tx.targets.at_work(device.id)
    if at_work is not None:
        _see(advance, at_work, hello)
    permit = None if hello.work is None else _permit(advance, at_work, hello.work)
    if hello.work is not None and permit is not None and permit.mode is Mode.CANCEL:
        _lift_recall(advance, device, hello.work)
    _send_again(advance, at_work, hello, permit)
    reply = HelloReply(
        nonce=hello.nonce,
        device=device.name,
        time=advance.at,
        latest_seq=device.seq,
        roots=advance.controller.roots,
        work=permit,
        max_silence_ms=MAX_SILENCE_MS,
        spread_ms=SPREAD_MS,
    )
    return Answer(device.name, reply, run_id=0 if at_work is None else at_work.run_id)


def _see(advance: Advance, at_work: TargetRecord, hello: Hello) -> None:
    """Take note whether a device still has the work that it has accepted.

    A hello from before it took note of the command says nothing about that: it may have come late.
    """
    digest = at_work.target.command
    assert digest is not None
    is_unheard = at_work.target.attempt_state is AttemptState.SENT
    if is_unheard or hello.seq < advance.tx.commands.given({digest})[digest].seq:
        return
    record, work = advance.record(at_work.run_id), hello.work
    has_work = work is not None and (work.run, work.attempt) == (record.uid, at_work.target.attempt)
    event = Seen(at=record.run.clock.run_time(advance.at), has_work=has_work)
    seen, _ = targets.step(at_work.target, event, policy_of(record, at_work))
    if seen != at_work.target:
        advance.tx.targets.save([msgspec.structs.replace(at_work, target=seen, updated_at=advance.at)])


def _permit(advance: Advance, at_work: TargetRecord | None, work: WorkInHand) -> WorkPermit:
    """Return what a device may do with the work it has in hand."""
    record = None if at_work is None else advance.record(at_work.run_id)
    if at_work is None or record is None or record.uid != work.run or at_work.target.attempt != work.attempt:
        found = advance.tx.runs.by_uid(work.run)
        return WorkPermit(run=work.run, epoch=found.run.epoch if found else work.epoch, mode=Mode.CANCEL)
    return WorkPermit(run=work.run, epoch=record.run.epoch, mode=_mode(record, at_work))


def _lift_recall(advance: Advance, device: DeviceRecord, work: WorkInHand) -> None:
    """Let a device whose old attempt is called back begin the next one.

    The permit speaks of the run and not of the attempt: left at that, the device would call the next attempt off, too.
    A control command, which comes after the reply, says what holds for the run.
    """
    command = advance.tx.commands.given({work.command}).get(work.command)
    if command is None or command.target_id is None or command.device_id != device.id:
        return
    row = advance.tx.targets.get([command.target_id])[command.target_id]
    if row.target.state not in {TargetState.QUEUED, TargetState.IN_PROGRESS} or row.target.cancel_requested:
        return
    record = advance.record(row.run_id)
    advance.control(record, [row], _mode(record, row))
    if row.target.attempt_state is AttemptState.SENT and record.run.may_send(advance.at):
        advance.releasing.reissue(record, [row])  # its sequence number is lower than that of the control command


def _mode(record: RunRecord, at_work: TargetRecord) -> Mode:
    if at_work.target.cancel_requested:
        return Mode.CANCEL
    return Mode.HOLD if record.run.is_paused else Mode.GO


def _send_again(advance: Advance, at_work: TargetRecord | None, hello: Hello, permit: WorkPermit | None) -> None:
    if at_work is None or at_work.target.state is not TargetState.IN_PROGRESS:
        return
    record = advance.record(at_work.run_id)
    is_unheard = at_work.target.attempt_state is AttemptState.SENT
    if hello.work is not None and permit is not None:
        if permit.mode is Mode.GO and hello.work.epoch < permit.epoch:
            advance.control(record, [at_work], Mode.GO)
        if permit.mode is Mode.CANCEL and is_unheard:
            _ask_soon(advance, at_work)
        return
    if not is_unheard or not record.run.may_send(advance.at) or at_work.target.cancel_requested:
        return
    owed = advance.tx.commands.open_for(at_work.id)
    usable = [c for c in owed if c.epoch == record.run.epoch and c.expires_at > advance.at and c.seq > hello.seq]
    if usable and at_work.target.recalls:
        # The device may not have heard that its recall was lifted, which has to come before the command.
        advance.control(record, [at_work], Mode.GO)
        advance.releasing.reissue(record, [at_work])
    elif usable:
        advance.releasing.send_again(usable)
    elif not any(c.seq <= hello.seq for c in owed):
        advance.releasing.reissue(record, [at_work])


def _ask_soon(advance: Advance, at_work: TargetRecord) -> None:
    """Send what a device is owed again before long: it has other work in hand, and no hello says when it is free."""
    owed = [command.id for command in advance.tx.commands.open_for(at_work.id)]
    advance.tx.commands.postpone(owed, until=later(advance.at, RESEND_FIRST_MS))
