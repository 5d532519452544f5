"""The hello and what the controller answers: trusted time, permission of the work in hand, settled reports.

The rules this module keeps:

1. Trusted time is the time of the last hello reply plus what the boot-time clock has run since the hello was
   *sent*: a delayed reply makes the device's time late by no more than the round trip.
2. A reply counts once, and only for the hello that is open: a recorded reply is worth nothing.
3. The time floor never falls, but for a time key from a newer fleet root, which resets it to that root's
   `issued` (evidence/security.md, 4.2).
4. A hello has a nonce of its own, and names the connection as its will does.
5. A hello that the controller asks for is said at a drawn instant, and at most once in `SILENCE_MIN`: whoever records
   such a request gains nothing. It waits rather than being forgotten, since the controller takes a device that does
   not answer for gone. It takes the place of one that is unanswered, which was lost where the request came from.
"""

from typing import Final

from agent.core.backoff import spread
from agent.core.effects import AlarmKind, Reconnect, SayHello
from agent.core.model import RUNS_MAX, ClockBase, RunNote
from agent.core.reports import settle
from agent.core.turn import Turn
from protocol.envelope import Verified, parse, verify
from protocol.errors import MalformedMessage, ProtocolError
from protocol.ids import KeyId, RunId
from protocol.messages import Ack, Hello, HelloReply, Mode, PayloadType, RootVersions
from protocol.units import Instant, Millis

HELLO_PATIENCE: Final = Millis(30_000)
"""How long a hello may stay unanswered before the connection is made anew."""
SILENCE_MIN: Final = Millis(60_000)
"""The least `max_silence_ms` that is taken from a reply, so that none makes the device talk without end."""
SILENCE_MAX: Final = Millis(86_400_000)
SPREAD_MAX: Final = Millis(3_600_000)


def say_hello(turn: Turn, nonce: str) -> None:
    """Say hello; the answer to any earlier one no longer counts."""
    durable, profile = turn.durable, turn.profile
    turn.keep(hello_seq=durable.hello_seq + 1)
    turn.note(nonce=nonce, hello_at=turn.at, hello_due_at=None, asked_due_at=None)
    hello = Hello(
        device=durable.name,
        nonce=nonce,
        incarnation=durable.incarnation,
        hello_seq=durable.hello_seq + 1,
        connection=turn.session.connection,
        generation=durable.generation,
        seq=durable.seq,
        roots=RootVersions(fleet=turn.trust.fleet.version, release=turn.trust.release_root_version),
        installed=durable.installed,
        work=durable.work_in_hand(),
        agent=profile.agent,
        capabilities=profile.capabilities,
        facts=profile.facts,
    )
    turn.do(SayHello(hello=hello))


def leave(turn: Turn) -> None:
    """Take note that there is no connection: the next one begins with a hello, so none is due before."""
    turn.note(is_connected=False, nonce="", hello_due_at=None, asked_due_at=None)


def take_answer(turn: Turn, raw: bytes) -> bool:
    """Take bytes from the acknowledgement topic; say whether they were a good hello reply."""
    keys = turn.trust.fleet.time
    try:
        kind = parse(raw).payload_type
        if kind == PayloadType.HELLO_REPLY:
            return _take_reply(turn, verify(raw, PayloadType.HELLO_REPLY, HelloReply, keys))
        if kind == PayloadType.ACK:
            _take_ack(turn, verify(raw, PayloadType.ACK, Ack, keys).value)
            return False
        raise MalformedMessage(f"payloadType {kind[:80]!r}: expected a hello reply or an acknowledgement")
    except ProtocolError as error:
        turn.alarm(AlarmKind.UNTRUSTED_ANSWER, str(error))
    return False


def _take_ack(turn: Turn, ack: Ack) -> None:
    if (ack.device, ack.incarnation) != (turn.durable.name, turn.durable.incarnation):
        turn.alarm(AlarmKind.FOREIGN_ANSWER, f"acknowledgement for {ack.device}")
        return
    settle(turn, frozenset(ack.stored) | {refused.report_seq for refused in ack.refused})
    if ack.hello_within_ms:
        _plan_hello(turn, within_ms=ack.hello_within_ms)


def _plan_hello(turn: Turn, *, within_ms: int) -> None:
    """Plan the hello that the controller asks for, unless one is planned or a new connection begins with one."""
    session = turn.session
    if not session.is_connected or session.asked_due_at is not None:
        return
    seed = f"{turn.durable.name}/{session.connection}/{turn.durable.hello_seq}"
    due_at = turn.at + spread(min(within_ms, SPREAD_MAX), seed=seed)
    allowed_at = turn.at if session.asked_at is None else session.asked_at + SILENCE_MIN
    turn.note(asked_due_at=max(due_at, allowed_at))


def _take_reply(turn: Turn, verified: Verified[HelloReply]) -> bool:
    reply = verified.value
    if reply.device != turn.durable.name:
        turn.alarm(AlarmKind.FOREIGN_ANSWER, f"hello reply for {reply.device}")
        return False
    if not turn.session.nonce or reply.nonce != turn.session.nonce:
        turn.alarm(AlarmKind.UNASKED_REPLY)
        return False
    if not _take_time(turn, reply.time, verified.keyid):
        return False
    silence = min(max(reply.max_silence_ms, SILENCE_MIN), SILENCE_MAX)
    spread_ms = Millis(min(reply.spread_ms, SPREAD_MAX))
    turn.note(nonce="", max_silence_ms=silence, spread_ms=spread_ms, is_stale=False)
    turn.note(hello_due_at=turn.at + silence * 2 // 3)
    if reply.work is not None:
        take_permit(turn, reply.work.run, epoch=reply.work.epoch, mode=reply.work.mode)
    return True


def _take_time(turn: Turn, time: Instant, keyid: KeyId) -> bool:
    """Set the clock, unless the fleet root or the floor forbid it."""
    fleet, durable = turn.trust.fleet, turn.durable
    generation = durable.key_generations.get(keyid, 0)
    floor = fleet.issued if generation > durable.time_generation else durable.time_floor
    if not max(fleet.issued, floor) <= time < fleet.expires:
        detail = f"time {time}: expected {max(fleet.issued, floor)} to {fleet.expires}"
        turn.alarm(AlarmKind.TIME_REFUSED, detail)
        return False
    if generation < durable.time_generation:
        turn.alarm(AlarmKind.TIME_REFUSED, "the time key is older than the one heard before")
        return False
    base = ClockBase(boot=turn.session.boot, time=time, at=turn.session.hello_at)
    turn.keep(clock=base, time_floor=time, time_generation=generation)
    return True


def take_permit(turn: Turn, run: str, *, epoch: int, mode: Mode) -> None:
    """Raise the epoch floor of *run* and set its mode, unless *epoch* is an old one."""
    note = turn.durable.run(run)
    if epoch >= note.epoch:
        note_run(turn, run, RunNote(epoch=epoch, mode=mode, ended=note.ended))


def note_run(turn: Turn, run: str, note: RunNote) -> None:
    """Remember *note* as the newest; the oldest one without work in hand is forgotten at the limit."""
    runs = {key: value for key, value in turn.durable.runs.items() if key != run}
    work = turn.durable.work
    if len(runs) >= RUNS_MAX:
        del runs[next(key for key in runs if work is None or key != work.run)]
    turn.keep(runs={**runs, RunId(run): note})


def keep_in_touch(turn: Turn, nonce: str) -> None:
    """Say hello again when it is due, give an unanswered connection up, and notice a silent control plane."""
    session = turn.session
    if not session.is_connected:
        return
    if session.asked_due_at is not None and turn.at >= session.asked_due_at:
        turn.note(asked_at=turn.at)
        say_hello(turn, nonce)
    elif session.nonce:
        if turn.at >= session.hello_at + HELLO_PATIENCE:
            leave(turn)
            turn.do(Reconnect())
    elif session.hello_due_at is not None and turn.at >= session.hello_due_at:
        say_hello(turn, nonce)


def notice_silence(turn: Turn) -> None:
    """Raise one alarm when no hello was answered for longer than the controller allows."""
    if not turn.session.is_stale and turn.at > turn.state.silent_at:
        turn.note(is_stale=True)
        turn.alarm(AlarmKind.STALE_CONTROL_PLANE, "no hello was answered within the allowed silence")
