"""The agent's state machine: `step(state, event) -> (state, effects)`, pure and total.

The rules this module keeps:

1. No outside bytes make it raise; what is odd becomes an `Alarm` and leaves the durable state as it is.
2. The shell journals `State.durable` and the reports of one step in one transaction, and only then carries
   its effects out. Feeding an event again whose step was not journalled is harmless.
3. Timers are data: `next_deadline` says when to feed a `Woke`. A restart loses none.
4. It decides from the level: after every event the permission of waiting work is looked at anew.
"""

from typing import NamedTuple, assert_never

from agent.core import admit as judge
from agent.core.answers import (
    HELLO_PATIENCE,
    keep_in_touch,
    leave,
    note_run,
    notice_silence,
    say_hello,
    take_answer,
    take_permit,
)
from agent.core.effects import AlarmKind, Effect, RefreshReleases, SendTick
from agent.core.events import (
    Ailed,
    AnswerReceived,
    AnyEvent,
    CommandReceived,
    Connected,
    Disconnected,
    Finished,
    Inspected,
    Measured,
    Progressed,
    ReleasesRefreshed,
    Started,
    Woke,
)
from agent.core.measures import measure_due_at, take_measured
from agent.core.model import (
    NOTED_MAX,
    PENDING_MAX,
    Ended,
    Noted,
    Profile,
    RunNote,
    Session,
    State,
    Trust,
    work_of,
)
from agent.core.reports import repeat, report_end, report_noted, report_refusal, report_work
from agent.core.turn import Turn
from agent.core.watch import resume_watch, settle_watch, take_ailed
from agent.core.work import (
    REVERSIBLE,
    begin,
    check_limit,
    resume,
    settle_waiting,
    take_finished,
    take_inspected,
)
from protocol.ids import Digest, RunId
from protocol.lifecycle import AttemptState
from protocol.messages import Mode, Op, Progress, Tick
from protocol.units import SECOND

_MODES = {Op.HOLD: Mode.HOLD, Op.GO: Mode.GO, Op.CANCEL: Mode.CANCEL}


class Stepped(NamedTuple):
    """What one event leads to."""

    state: State
    effects: list[Effect]


def step(state: State, event: AnyEvent, *, trust: Trust, profile: Profile) -> Stepped:
    """Fold *event* into *state*.

    Args:
        state: what the device knows.
        event: what happened.
        trust: what the device judges by, now.
        profile: what the device is, now.
    """
    turn = Turn(state, trust=trust, profile=profile, at=event.at)
    _learn(turn)
    _fold(turn, event)
    settle_waiting(turn)
    settle_watch(turn)
    return Stepped(turn.state, turn.effects)


def _fold(turn: Turn, event: AnyEvent) -> None:
    match event:
        case Started(boot=boot):
            turn.session = Session(boot=boot, started_at=turn.at)
            resume(turn)
            resume_watch(turn)
        case Connected(nonce=nonce):
            turn.note(is_connected=True, connection=nonce)
            say_hello(turn, nonce)
        case Disconnected():
            leave(turn)
        case CommandReceived(raw=raw):
            _take_command(turn, raw)
        case AnswerReceived(raw=raw):
            take_answer(turn, raw)
        case ReleasesRefreshed():
            _take_refresh(turn)
        case Progressed():
            _take_progress(turn, event)
        case Finished():
            take_finished(turn, event)
        case Inspected():
            take_inspected(turn, event)
        case Ailed() | Measured():
            _take_watched(turn, event)
        case Woke(nonce=nonce):
            check_limit(turn)
            keep_in_touch(turn, nonce)
            notice_silence(turn)
        case _:
            assert_never(event)


def _take_watched(turn: Turn, event: Ailed | Measured) -> None:
    """Fold what became of apps that are watched, or what they tell."""
    if isinstance(event, Ailed):
        take_ailed(turn, event)
    else:
        take_measured(turn, event)


def next_deadline(state: State) -> int | None:
    """Return the boot-time clock's reading at which a `Woke` is due, or None where nothing waits."""
    session = state.session
    times = [session.deadline_at, _permission_ends_at(state), _watch_ends_at(state), measure_due_at(state)]
    if not session.is_stale:
        times.append(state.silent_at + 1)
    if session.is_connected:
        times += [session.hello_due_at, session.asked_due_at]
        times.append(session.hello_at + HELLO_PATIENCE if session.nonce else None)
    return min((time for time in times if time is not None), default=None)


def _permission_ends_at(state: State) -> int | None:
    """Return when the permission of work that has not begun its irreversible step ends."""
    work = state.durable.work
    if work is None or work.phase not in REVERSIBLE:
        return None
    return state.at(work.not_after)


def _watch_ends_at(state: State) -> int | None:
    """Return when the watch over what was installed ends, where the time is known."""
    watch = state.durable.watch
    return None if watch is None or watch.until is None else state.at(watch.until)


def _learn(turn: Turn) -> None:
    """Take note of new versions of the fleet root and the release file; neither ever goes back."""
    fleet, releases = turn.trust.fleet, turn.trust.releases
    if fleet.version > turn.durable.fleet_version:
        known = turn.durable.key_generations
        first_listed = {keyid: fleet.version for keyid in (*fleet.director, *fleet.time) if keyid not in known}
        turn.keep(fleet_version=fleet.version, key_generations={**known, **first_listed})
    if releases is not None and releases.version > turn.durable.release_version:
        turn.keep(release_version=releases.version)


def _take_command(turn: Turn, raw: bytes, *, is_refreshed: bool = False) -> None:
    outcome = judge.admit(
        raw,
        durable=turn.durable,
        trust=turn.trust,
        profile=turn.profile,
        now=turn.now,
        is_fresh=turn.is_fresh,
        is_refreshed=is_refreshed,
    )
    match outcome:
        case judge.Refused(digest=digest, code=code, detail=detail, is_signed=is_signed):
            report_refusal(turn, digest, code, detail=detail, is_signed=is_signed)
        case judge.Duplicate(digest=digest):
            repeat(turn, digest)
        case judge.Known():
            pass
        case judge.NeedsReleases():
            _hold_back(turn, raw)
        case _:
            _obey(turn, outcome)


def _obey(
    turn: Turn,
    taken: judge.Admitted | judge.Inapplicable | judge.Renewed | judge.Repeated | judge.Controlled,
) -> None:
    """Take note of a good command, before anything is done about it, and do it."""
    noted = _note(turn, taken)
    match taken:
        case judge.Admitted(command=command, digest=digest, releases=releases):
            begin(turn, work_of(command, digest, releases))
        case judge.Inapplicable():
            _reject(turn, taken)
        case judge.Renewed(digest=digest):
            _renew(turn, epoch=taken.command.epoch, not_after=taken.command.not_after, digest=digest)
        case judge.Repeated():
            report_noted(turn, noted)
        case judge.Controlled():
            _control(turn, taken, noted)
        case _:
            assert_never(taken)


def _note(turn: Turn, taken: judge.Taken) -> Noted:
    """Store sequence, digest and epoch; a command newer than the run's mode says go."""
    command = taken.command
    noted = Noted(digest=taken.digest, run=RunId(command.run), attempt=command.attempt)
    turn.keep(
        generation=taken.generation,
        seq=command.seq,
        digest=taken.digest,
        noted=(*turn.durable.noted, noted)[-NOTED_MAX:],
    )
    if command.epoch > turn.durable.run(command.run).epoch:
        take_permit(turn, command.run, epoch=command.epoch, mode=Mode.GO)
    return noted


def _reject(turn: Turn, taken: judge.Inapplicable) -> None:
    """End an attempt that does not fit this device; nothing was touched."""
    command = taken.command
    note = turn.durable.run(command.run)
    note_run(turn, command.run, RunNote(epoch=note.epoch, mode=note.mode, ended=command.attempt))
    ended = Ended(
        run=RunId(command.run),
        attempt=command.attempt,
        state=AttemptState.REJECTED,
        reason=taken.reason,
        detail=taken.detail,
        left=turn.durable.untouched,
    )
    report_end(turn, taken.digest, ended)


def _renew(turn: Turn, *, epoch: int, not_after: int, digest: Digest | None) -> None:
    """Renew the permission of the work in hand; report it where it has a new command."""
    work = turn.durable.work
    assert work is not None, "only work in hand is renewed"
    changed = turn.work_on(work, epoch=epoch, not_after=not_after, digest=digest or work.digest)
    if digest is not None:
        report_work(turn, changed)


def _control(turn: Turn, taken: judge.Controlled, noted: Noted) -> None:
    """Set the run's mode; a go renews the permission of its work; report that it was heard."""
    command = taken.command
    take_permit(turn, command.run, epoch=command.epoch, mode=_MODES[taken.op])
    work = turn.durable.work
    if taken.op is Op.GO and work is not None and work.run == command.run:
        _renew(turn, epoch=command.epoch, not_after=command.not_after, digest=None)
    report_noted(turn, noted)


def _hold_back(turn: Turn, raw: bytes) -> None:
    """Keep a command until the release file is refreshed; one refresh serves all that wait."""
    pending = turn.session.pending
    if raw in pending:
        return
    if len(pending) >= PENDING_MAX:
        turn.alarm(AlarmKind.COMMAND_DROPPED, "too many commands wait for the release file")
        return
    turn.note(pending=(*pending, raw))
    if not pending:
        turn.do(RefreshReleases())


def _take_refresh(turn: Turn) -> None:
    pending = turn.session.pending
    turn.note(pending=())
    for raw in pending:
        _take_command(turn, raw, is_refreshed=True)


def _take_progress(turn: Turn, event: Progressed) -> None:
    """Pass progress of the current step on, at most once a second."""
    work, session = turn.durable.work, turn.session
    if work is None or not work.is_of(event.run, event.attempt) or not session.is_connected:
        return
    if session.tick_at is not None and turn.at - session.tick_at < SECOND:
        return
    turn.note(tick_at=turn.at)
    progress = Progress(
        run=work.run,
        attempt=work.attempt,
        state=work.state,
        done=max(0, event.done),
        total=max(0, event.total),
    )
    turn.do(SendTick(tick=Tick(progress=(progress,))))
