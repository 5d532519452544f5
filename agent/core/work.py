"""The work in hand: from its admission to its end, through every fault, time limit and restart.

```
INSPECTING, first of all where the device's own list says that all of it is installed ─new→ succeeded, left new
    │anything else
    ▼
DOWNLOADING ─ok→ WAITING ─permitted→ INSTALLING ─ok→ VERIFYING ─ok→ COMMITTING ─ok→ succeeded, left new
    │fault          │cancel, ended       │fault          │fault         │fault
    ▼               ▼                    └───────────────┴──────┬───────┘
 failed, old     cancelled, old                           ROLLING_BACK ─ok→ failed, left old
                 failed, old                                          ─fault→ failed, left broken
```

A watch command begins at WAITING. Permitted, it succeeds, and has touched nothing.

The rules this module keeps:

1. The phase is journalled before its effect is carried out. After a restart the phase alone says what to do.
2. The installer is asked to install at most once for an attempt: a restart while INSTALLING becomes
   INSPECTING, which asks what is active: the new release is verified, the old one means `interrupted`,
   anything else is rolled back.
3. Permission is looked at in one place, `settle_waiting`, whatever it was that may have changed it.
4. Every phase has a time limit, and all of them together a limit of transitions.
"""

from collections.abc import Mapping
from typing import Final, assert_never

from agent.core.answers import note_run
from agent.core.effects import (
    Abort,
    AlarmKind,
    Clean,
    Commit,
    Download,
    Effect,
    Inspect,
    Install,
    RollBack,
    Verify,
)
from agent.core.events import Finished, Found, Inspected
from agent.core.model import TRANSITIONS_MAX, Ended, Fault, Phase, RunNote, Work
from agent.core.reports import report_end, report_work
from agent.core.turn import Turn
from agent.core.watch import begin_watch, give_way
from protocol.ids import AppName
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease, Mode, Op
from protocol.reasons import Reason

AFTER: Final[Mapping[Phase, Phase]] = {
    Phase.DOWNLOADING: Phase.WAITING,
    Phase.WAITING: Phase.INSTALLING,
    Phase.INSTALLING: Phase.VERIFYING,
    Phase.INSPECTING: Phase.VERIFYING,
    Phase.VERIFYING: Phase.COMMITTING,
}
"""What follows a phase that went well; COMMITTING and ROLLING_BACK are the last ones."""

SHOWN: Final[Mapping[Phase, AttemptState]] = {
    Phase.DOWNLOADING: AttemptState.DOWNLOADING,
    Phase.INSTALLING: AttemptState.INSTALLING,
    Phase.VERIFYING: AttemptState.VERIFYING,
}
"""The phases that are reported, and as what."""

LATE: Final[Mapping[Phase, Fault]] = {
    Phase.DOWNLOADING: Fault(reason=Reason.DOWNLOAD_FAILED, detail="the download took longer than its limit"),
    Phase.INSTALLING: Fault(reason=Reason.INSTALL_FAILED, detail="the installer took longer than its limit"),
    Phase.INSPECTING: Fault(reason=Reason.INTERRUPTED, detail="the installer did not say what is active"),
    Phase.VERIFYING: Fault(reason=Reason.VERIFY_FAILED, detail="the release was not healthy within its limit"),
    Phase.COMMITTING: Fault(reason=Reason.STORAGE_ERROR, detail="the commit took longer than its limit"),
    Phase.ROLLING_BACK: Fault(reason=Reason.INSTALL_FAILED, detail="the roll back took longer than its limit"),
}
"""What a phase that outlasts its limit is taken for; WAITING is bounded by its permission."""

REVERSIBLE: Final = frozenset({Phase.DOWNLOADING, Phase.WAITING})
"""The phases before the irreversible step."""


def _ask(work: Work) -> Effect | None:
    """Return the effect that carries the work's phase out."""
    match work.phase:
        case Phase.DOWNLOADING:
            return Download(work=work)
        case Phase.INSTALLING:
            return Install(work=work)
        case Phase.INSPECTING:
            return Inspect(work=work)
        case Phase.VERIFYING:
            return Verify(work=work)
        case Phase.COMMITTING:
            return Commit(work=work)
        case Phase.ROLLING_BACK:
            return RollBack(work=work)
        case Phase.WAITING:
            return None
        case _:
            assert_never(work.phase)


def _limit_ms(work: Work) -> int | None:
    match work.phase:
        case Phase.DOWNLOADING:
            return work.steps.download_ms
        case Phase.VERIFYING:
            return work.steps.verify_ms
        case Phase.WAITING:
            return None
        case _:
            return work.steps.install_ms


def begin(turn: Turn, work: Work) -> None:
    """Take admitted *work* in hand; what is installed already is asked for first, and then left alone."""
    give_way(turn)
    turn.keep(work=work)
    report_work(turn, work)
    _enter(turn, work, _first_phase(turn, work))


def _first_phase(turn: Turn, work: Work) -> Phase:
    if work.op is Op.WATCH:
        return Phase.WAITING
    installed = {(release.app, release.sha256) for release in turn.durable.installed}
    is_listed = all((release.app, release.sha256) in installed for release in work.releases)
    return Phase.INSPECTING if is_listed else Phase.DOWNLOADING


def _is_asked_first(work: Work) -> bool:
    """Say whether an inspection is the one before everything else, and not the one after a crash."""
    return work.phase is Phase.INSPECTING and work.state is AttemptState.ACCEPTED


def _enter(turn: Turn, work: Work, phase: Phase, *, verdict: Fault | None = None) -> None:
    """Move the work to *phase*, report that where it shows, and ask for its effect."""
    if work.transitions >= TRANSITIONS_MAX and phase is not Phase.ROLLING_BACK:
        _give_up(turn, work)
        return
    state = SHOWN.get(phase, work.state)
    changed = turn.work_on(
        work,
        phase=phase,
        state=state,
        transitions=work.transitions + 1,
        verdict=verdict or work.verdict,
    )
    if state is not work.state:
        report_work(turn, changed)
    _ask_for(turn, changed)


def _ask_for(turn: Turn, work: Work) -> None:
    limit_ms = _limit_ms(work)
    turn.note(deadline_at=None if limit_ms is None else turn.at + limit_ms)
    effect = _ask(work)
    if effect is not None:
        turn.do(effect)
    settle_waiting(turn)


def _give_up(turn: Turn, work: Work) -> None:
    """End a loop: before the irreversible step at once, after it by rolling back."""
    fault = Fault(reason=Reason.TRANSITIONS_EXHAUSTED, detail=f"{work.transitions} transitions were saved")
    if work.phase in REVERSIBLE:
        fail(turn, work, fault, left=turn.durable.untouched)
    else:
        _enter(turn, work, Phase.ROLLING_BACK, verdict=fault)


def fail(turn: Turn, work: Work, fault: Fault, *, left: Left) -> None:
    """End the work as failed."""
    _end(turn, work, AttemptState.FAILED, fault=fault, left=left)


def _end(turn: Turn, work: Work, state: AttemptState, *, fault: Fault | None, left: Left) -> None:
    """End the work, remember that its attempt ended, and report it."""
    turn.keep(work=None, is_broken=left is Left.BROKEN)
    turn.note(deadline_at=None)
    note = turn.durable.run(work.run)
    note_run(turn, work.run, RunNote(epoch=note.epoch, mode=note.mode, ended=max(note.ended, work.attempt)))
    ended = Ended(
        run=work.run,
        attempt=work.attempt,
        state=state,
        reason=fault.reason if fault else "",
        detail="; ".join(filter(None, (fault.detail if fault else "", work.told.remark))),
        left=left,
        outputs=work.told.outputs,
    )
    report_end(turn, work.digest, ended)
    if work.op is not Op.WATCH:
        turn.do(Clean())


def settle_waiting(turn: Turn) -> None:
    """Look at the permission of work that has not begun its irreversible step, and act on it."""
    work, now = turn.durable.work, turn.now
    if work is None or work.phase not in REVERSIBLE:
        return
    note = turn.durable.run(work.run)
    if note.mode is Mode.CANCEL:
        _call_off(turn, work)
        _end(turn, work, AttemptState.CANCELLED, fault=Fault(reason=Reason.CANCELLED), left=turn.durable.untouched)
    elif now is not None and now >= work.not_after:
        _call_off(turn, work)
        detail = f"permission ended at {work.not_after}, the time is {now}"
        fail(turn, work, Fault(reason=Reason.PERMISSION_ENDED, detail=detail), left=turn.durable.untouched)
    elif work.phase is Phase.WAITING and now is not None and note.mode is Mode.GO and work.epoch >= note.epoch:
        _go_on(turn, work)


def _go_on(turn: Turn, work: Work) -> None:
    """Do what the permission is for: begin the irreversible step, or a watch, which touches nothing."""
    if work.op is Op.WATCH:
        _end(turn, work, AttemptState.SUCCEEDED, fault=None, left=turn.durable.untouched)
        begin_watch(turn, work)
    else:
        _enter(turn, work, Phase.INSTALLING)


def _call_off(turn: Turn, work: Work) -> None:
    if work.phase is Phase.DOWNLOADING:
        turn.do(Abort())


def take_finished(turn: Turn, event: Finished) -> None:
    """Fold the end of a step; one that is not the current step's is an echo of something called off."""
    work = turn.durable.work
    if work is None or not work.is_of(event.run, event.attempt) or work.phase is not event.phase:
        turn.alarm(AlarmKind.STALE_RESULT, f"{event.phase} of run {event.run}")
    elif event.phase is Phase.WAITING or (event.phase is Phase.INSPECTING and event.fault is None):
        turn.alarm(AlarmKind.STALE_RESULT, f"{event.phase} does not finish")
    else:
        heard = turn.work_on(work, told=event.told) if work.phase is Phase.VERIFYING else work
        if event.fault is None:
            _take_success(turn, heard)
        else:
            _take_fault(turn, heard, event.fault)


def _take_success(turn: Turn, work: Work) -> None:
    if work.phase is Phase.COMMITTING:
        _take_commit(turn, work)
    elif work.phase is Phase.ROLLING_BACK:
        fail(turn, work, work.verdict or LATE[Phase.INSPECTING], left=turn.durable.untouched)
    else:
        _enter(turn, work, AFTER[work.phase])


def _take_fault(turn: Turn, work: Work, fault: Fault) -> None:
    if _is_asked_first(work):
        _enter(turn, work, Phase.DOWNLOADING)
    elif work.phase is Phase.ROLLING_BACK:
        verdict = work.verdict or fault
        detail = f"{verdict.detail}; the roll back failed: {fault.detail}"
        fail(turn, work, Fault(reason=verdict.reason, detail=detail), left=Left.BROKEN)
    elif work.phase in REVERSIBLE:
        fail(turn, work, fault, left=turn.durable.untouched)
    else:
        _enter(turn, work, Phase.ROLLING_BACK, verdict=fault)


def _take_commit(turn: Turn, work: Work) -> None:
    """Raise the floors and list what is installed now: only here, never earlier."""
    floors = dict(turn.durable.floors)
    installed = {release.app: release for release in turn.durable.installed}
    for release in work.releases:
        floors[release.app] = max(release.floor, floors.get(release.app, 0))
        installed[release.app] = InstalledRelease(
            app=release.app,
            version=release.version,
            path=release.path,
            sha256=release.sha256,
            counter=release.counter,
            floor=release.floor,
        )
    turn.keep(floors={AppName(app): floor for app, floor in floors.items()}, installed=tuple(installed.values()))
    _end(turn, work, AttemptState.SUCCEEDED, fault=None, left=Left.NEW)
    begin_watch(turn, work)


def take_inspected(turn: Turn, event: Inspected) -> None:
    """Fold what the installer found active after a crash in the irreversible step."""
    work = turn.durable.work
    if work is None or not work.is_of(event.run, event.attempt) or work.phase is not Phase.INSPECTING:
        turn.alarm(AlarmKind.STALE_RESULT, f"inspection of run {event.run}")
        return
    if _is_asked_first(work):
        _take_first_answer(turn, work, event.found)
        return
    fault = Fault(reason=Reason.INTERRUPTED, detail=f"the agent ended while installing; active: {event.found}")
    match event.found:
        case Found.NEW:
            _enter(turn, work, Phase.VERIFYING)
        case Found.OLD:
            fail(turn, work, fault, left=Left.OLD)
        case Found.BROKEN:
            _enter(turn, work, Phase.ROLLING_BACK, verdict=fault)
        case _:
            assert_never(event.found)


def _take_first_answer(turn: Turn, work: Work, found: Found) -> None:
    """Be done where the very release is active, with the command's own settings; otherwise begin."""
    if found is Found.NEW:
        _take_commit(turn, work)
    else:
        _enter(turn, work, Phase.DOWNLOADING)


def resume(turn: Turn) -> None:
    """Go on after a restart, from the journalled phase."""
    work = turn.durable.work
    if work is None:
        turn.do(Clean())
    elif work.phase is Phase.WAITING:
        _ask_for(turn, work)
    elif work.phase is Phase.INSTALLING:
        _enter(turn, work, Phase.INSPECTING)
    elif work.transitions >= TRANSITIONS_MAX * 2:
        fault = work.verdict or Fault(reason=Reason.TRANSITIONS_EXHAUSTED)
        fail(turn, work, fault, left=Left.BROKEN)
    else:
        _enter(turn, work, work.phase)


def check_limit(turn: Turn) -> None:
    """Give the current step up when its time limit has passed."""
    work, deadline_at = turn.durable.work, turn.session.deadline_at
    if work is None or deadline_at is None or turn.at < deadline_at:
        return
    turn.do(Abort())
    _take_fault(turn, work, LATE[work.phase])
