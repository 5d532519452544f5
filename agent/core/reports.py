"""What the device says about commands: every report is filed here, and every limit on reports is kept here.

The rules this module keeps:

1. A report gets the next `report_seq` and stays in `Durable.filed` until the controller has settled it.
2. Repeats, measures, refusals and refusals of unsigned bytes each have a limit of unsettled ones, so that no flood
   grows the outbox, and refusals a rate besides, so that none wears out the flash.
3. A refused digest is reported once, as long as it is remembered.
"""

from typing import Final

from msgspec.structs import replace

from agent.core.effects import AlarmKind, DropReports, FileReport
from agent.core.model import (
    DETAIL_LENGTH_MAX,
    FINALS_MAX,
    MEASURES_OPEN_MAX,
    REFUSALS_OPEN_MAX,
    REFUSALS_UNSIGNED_OPEN_MAX,
    REFUSED_MAX,
    REFUSED_UNSIGNED_MAX,
    REPEATS_OPEN_MAX,
    Durable,
    Ended,
    Filed,
    FiledKind,
    Noted,
    RefusedNote,
    Told,
    Watch,
    Work,
)
from agent.core.turn import Turn
from protocol.health import Mark
from protocol.ids import Digest
from protocol.lifecycle import AttemptState
from protocol.messages import HealthReport, MeasureReport, Mode, RefusalReport, StateReport
from protocol.reasons import RejectCode
from protocol.units import MINUTE, Instant

REFUSALS_PER_MINUTE: Final = 30
REFUSALS_UNSIGNED_PER_MINUTE: Final = 10

_OPEN_MAX: Final = {
    FiledKind.REPEAT: REPEATS_OPEN_MAX,
    FiledKind.REFUSAL: REFUSALS_OPEN_MAX,
    FiledKind.REFUSAL_UNSIGNED: REFUSALS_UNSIGNED_OPEN_MAX,
    FiledKind.MEASURE: MEASURES_OPEN_MAX,
}


def may_file(durable: Durable, kind: FiledKind) -> bool:
    """Say whether another report of a kind that has a limit may wait for its acknowledgement."""
    count = sum(filed.kind is kind for filed in durable.filed)
    return count < _OPEN_MAX[kind]


def _time(turn: Turn) -> Instant:
    now = turn.now
    return turn.durable.time_floor if now is None else now


def _file(turn: Turn, kind: FiledKind, digest: Digest) -> int:
    """Take the next number for a report."""
    report_seq = turn.durable.report_seq + 1
    filed = Filed(report_seq=report_seq, kind=kind, digest=digest)
    turn.keep(report_seq=report_seq, filed=(*turn.durable.filed, filed))
    return report_seq


def _file_state(turn: Turn, digest: Digest, ended: Ended, *, mode: Mode, kind: FiledKind = FiledKind.STATE) -> None:
    report = StateReport(
        device=turn.durable.name,
        incarnation=turn.durable.incarnation,
        report_seq=_file(turn, kind, digest),
        at=_time(turn),
        command=digest,
        run=ended.run,
        attempt=ended.attempt,
        state=ended.state,
        mode=mode,
        reason=ended.reason,
        detail=ended.detail[:DETAIL_LENGTH_MAX],
        left=ended.left,
        installed=turn.durable.installed if ended.state.is_terminal else (),
        outputs=ended.outputs,
    )
    turn.do(FileReport(report=report))


def _progress(work: Work) -> Ended:
    return Ended(run=work.run, attempt=work.attempt, state=work.state)


def report_work(turn: Turn, work: Work, *, command: Digest | None = None) -> None:
    """Report where *work* stands, to its newest command or to another one about it."""
    mode = turn.durable.run(work.run).mode
    _file_state(turn, command or work.digest, _progress(work), mode=mode)


def report_end(turn: Turn, digest: Digest, ended: Ended) -> None:
    """Report how an attempt ended, and remember it for duplicates; all is journalled at each step, outputs but once."""
    before = tuple(replace(final, outputs={}) if final.outputs else final for final in turn.durable.finals)
    turn.keep(finals=(*before, ended)[-FINALS_MAX:])
    _file_state(turn, digest, ended, mode=turn.durable.run(ended.run).mode)


def report_health(turn: Turn, watch: Watch, mark: Mark, *, count: int, detail: str) -> None:
    """Report what became of apps that are watched."""
    report = HealthReport(
        device=turn.durable.name,
        incarnation=turn.durable.incarnation,
        report_seq=_file(turn, FiledKind.STATE, watch.digest),
        at=_time(turn),
        command=watch.digest,
        run=watch.run,
        attempt=watch.attempt,
        mark=mark,
        count=count,
        detail=detail[:DETAIL_LENGTH_MAX],
    )
    turn.do(FileReport(report=report))


def report_measure(turn: Turn, watch: Watch, told: Told) -> None:
    """Report what apps that are watched tell of themselves."""
    report = MeasureReport(
        device=turn.durable.name,
        incarnation=turn.durable.incarnation,
        report_seq=_file(turn, FiledKind.MEASURE, watch.digest),
        at=_time(turn),
        command=watch.digest,
        run=watch.run,
        attempt=watch.attempt,
        outputs=told.outputs,
        detail=told.remark[:DETAIL_LENGTH_MAX],
    )
    turn.do(FileReport(report=report))


def _answer(turn: Turn, noted: Noted) -> Ended:
    """Return what is to be said about a command that is remembered.

    A control has attempt 0, and so has its answer where no work of its run is in hand.
    """
    work = turn.durable.work
    if work is not None and work.run == noted.run and noted.attempt in {work.attempt, 0}:
        return _progress(work)
    for ended in reversed(turn.durable.finals):
        if (ended.run, ended.attempt) == (noted.run, noted.attempt):
            return ended
    return Ended(run=noted.run, attempt=noted.attempt, state=AttemptState.ACCEPTED)


def report_noted(turn: Turn, noted: Noted) -> None:
    """Report on a command that was just noted but starts no work: a control, or an attempt that had ended."""
    _file_state(turn, noted.digest, _answer(turn, noted), mode=turn.durable.run(noted.run).mode)


def repeat(turn: Turn, digest: Digest) -> None:
    """Answer a duplicate: report the current state again, unless that is on its way already."""
    is_open = any(f.kind is FiledKind.REPEAT and f.digest == digest for f in turn.durable.filed)
    if is_open or not may_file(turn.durable, FiledKind.REPEAT):
        return
    noted = next(noted for noted in turn.durable.noted if noted.digest == digest)
    mode = turn.durable.run(noted.run).mode
    _file_state(turn, digest, _answer(turn, noted), mode=mode, kind=FiledKind.REPEAT)


def _take_refusal(turn: Turn, *, is_signed: bool) -> bool:
    """Say whether the rate allows one more refusal, and count it."""
    if turn.session.window_at is None or turn.at - turn.session.window_at >= MINUTE:
        turn.note(window_at=turn.at, refusals_left=REFUSALS_PER_MINUTE, unsigned_left=REFUSALS_UNSIGNED_PER_MINUTE)
    session = turn.session
    if is_signed:
        turn.note(refusals_left=max(0, session.refusals_left - 1))
        return session.refusals_left > 0
    turn.note(unsigned_left=max(0, session.unsigned_left - 1))
    return session.unsigned_left > 0


def _remember_refusal(turn: Turn, note: RefusedNote, *, is_signed: bool) -> None:
    if is_signed:
        turn.keep(refused=(*turn.durable.refused, note)[-REFUSED_MAX:])
    else:
        turn.keep(refused_unsigned=(*turn.durable.refused_unsigned, note)[-REFUSED_UNSIGNED_MAX:])


def report_refusal(turn: Turn, digest: Digest, code: RejectCode, *, detail: str, is_signed: bool) -> None:
    """Report a refusal once, within the limits; what is beyond them is counted only."""
    turn.alarm(AlarmKind.COMMAND_REFUSED, f"{code}: {detail}"[:DETAIL_LENGTH_MAX])
    note = RefusedNote(digest=digest, code=code)
    known = turn.durable.refused if is_signed else turn.durable.refused_unsigned
    kind = FiledKind.REFUSAL if is_signed else FiledKind.REFUSAL_UNSIGNED
    if note in known or not may_file(turn.durable, kind) or not _take_refusal(turn, is_signed=is_signed):
        return
    _remember_refusal(turn, note, is_signed=is_signed)
    report = RefusalReport(
        device=turn.durable.name,
        incarnation=turn.durable.incarnation,
        report_seq=_file(turn, kind, digest),
        at=_time(turn),
        command=digest,
        code=code,
        detail=detail[:DETAIL_LENGTH_MAX],
    )
    turn.do(FileReport(report=report))


def settle(turn: Turn, report_seqs: frozenset[int]) -> None:
    """Drop reports that the controller has stored or refused for good."""
    settled = tuple(f.report_seq for f in turn.durable.filed if f.report_seq in report_seqs)
    if settled:
        turn.keep(filed=tuple(f for f in turn.durable.filed if f.report_seq not in report_seqs))
        turn.do(DropReports(report_seqs=settled))
