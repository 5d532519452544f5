"""Why a device is not updated by a run: facts in, sentences out, the most decisive first.

The rules this module keeps:

1. There is always an answer.
2. What has happened comes before what holds the device up, and that before what does not concern it.
3. Whoever cannot change a fact is told how long it lasts, where that is known.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from controller.domain import approval, graph, quarantine, query
from controller.domain.admission import Blocked, BlockReason
from controller.domain.clock import RunClock
from controller.domain.model import Plan, Run, StageRun
from controller.domain.pipeline import Stage, Targets
from controller.domain.query.explain import explain
from controller.domain.rerun import Source
from controller.domain.selector import Exclusion, exclusion
from controller.domain.settle import slots
from controller.domain.states import RunState, StageState
from controller.domain.target import Target, TargetState, is_suspended
from protocol.lifecycle import Left
from protocol.reasons import Reason
from protocol.units import SECOND, Instant


class Code(StrEnum):
    """What kind of fact it is."""

    UNKNOWN = "unknown"
    NO_RUN = "no_run"
    REMOVED = "removed"
    BLOCKED = "blocked"
    BROKEN = "broken"
    ENDED = "ended"
    AT_WORK = "at_work"
    CALLED_BACK = "called_back"
    PAUSED = "paused"
    STOPPING = "stopping"
    FROZEN = "frozen"
    OFFLINE = "offline"
    BUSY = "busy"
    BEHIND = "behind"
    RETRY = "retry"
    SOAKING = "soaking"
    HELD = "held"
    PINNED = "pinned"
    NOT_CAPABLE = "not_capable"
    NO_PATH = "no_path"
    PRECONDITION = "precondition"
    WINDOW_CLOSED = "window_closed"
    SITE_FULL = "site_full"
    RATE = "rate"
    SLOT = "slot"
    NEXT = "next"
    NOT_OPEN = "not_open"
    PROMOTION = "promotion"
    DELAY = "delay"
    CLOSED = "closed"
    TOO_LATE = "too_late"
    NO_MEMBER = "no_member"
    RUN_ENDED = "run_ended"
    QUARANTINED = "quarantined"


_ADMITTED: Final[Mapping[BlockReason, str]] = {
    BlockReason.HELD: "lift the hold: tidegate device unhold",
    BlockReason.PINNED: "take the pin away: tidegate device unpin",
    BlockReason.NOT_CAPABLE: "give it an agent that can",
    BlockReason.NO_PATH: "bring it to a version that this release may be installed over",
    BlockReason.PRECONDITION: "the device reports otherwise",
    BlockReason.WINDOW_CLOSED: "its window opens",
    BlockReason.SITE_FULL: "one of them ends",
}
"""What lets a device in that is refused for each reason."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One fact in words; `change` says what would change it, `until` when it changes by itself."""

    code: Code
    text: str
    change: str = ""
    until: Instant | None = None


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The device that is asked about."""

    described: query.Described
    is_online: bool
    is_blocked: bool = False
    is_broken: bool = False
    is_removed: bool = False
    last_seen_at: Instant | None = None


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """Another run that has the device at work, or that it goes to first."""

    run: str
    is_at_work: bool


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides: one device and one run, now.

    `part` is the device's, in the stage of index `stage`, which it joined as one of `model`; `refusal` is why it would
    not be admitted.
    """

    at: Instant
    device: Subject
    plan: Plan
    run: Run
    part: Target | None = None
    stage: int = 0
    model: str | None = None
    refusal: Blocked | None = None
    rival: Rival | None = None
    last_heard_at: Instant | None = None


def why(case: Case) -> tuple[Fact, ...]:
    """Return why the device is not updated by the run; never nothing."""
    if case.part is None:
        return (*_shut_out(case), *_stranger(case))
    match case.part.state:
        case TargetState.QUEUED:
            return tuple(_queued(case, case.part))
        case TargetState.IN_PROGRESS:
            return tuple(_at_work(case, case.part))
        case _:
            return (_ended(case, case.part), *_quarantined(case, case.part))


# --- members of the run -------------------------------------------------------------------------------------------


def _ended(case: Case, part: Target) -> Fact:
    stage = _stage(case).name
    reason = f": {part.reason}" if part.reason else ""
    detail = f" ({part.detail})" if part.detail else ""
    text = f"it {_ENDED[part.state]} in stage {stage}{reason}{detail}"
    if part.late_success_at is not None:
        text += "; its success came later"
    if part.left is Left.BROKEN:
        text += "; it was left broken"
    change = "" if part.state is TargetState.SUCCEEDED else "start another run that has it"
    return Fact(code=Code.ENDED, text=text, change=change)


def _quarantined(case: Case, part: Target) -> Iterator[Fact]:
    """Yield why the model of a device that was called off for it is kept out, or was until it was readmitted."""
    if part.reason is not Reason.MODEL_QUARANTINED:
        return
    breach = quarantine.barred(case.run).breach(case.model)
    if breach is None:
        text, change = f"its model {case.model} was quarantined then, and was readmitted since", ""
    else:
        text, change = f"its model {case.model} is quarantined in this run: {breach.evidence}", "readmit the model"
    change = "; ".join(filter(None, (change, "retry the run with cancelled devices once it has ended")))
    yield Fact(code=Code.QUARANTINED, text=text, change=change)


_ENDED = {
    TargetState.SUCCEEDED: "succeeded",
    TargetState.FAILED: "failed",
    TargetState.REJECTED: "refused, since the release does not apply to it,",
    TargetState.TIMED_OUT: "timed out",
    TargetState.CANCELLED: "was called off",
    TargetState.REMOVED: "was removed",
}


def _at_work(case: Case, part: Target) -> Iterator[Fact]:
    until = case.run.clock.wall(part.due) if part.due is not None else None
    if part.cancel_requested:
        text = "it is called back, and has not answered yet"
        yield Fact(code=Code.CALLED_BACK, text=text, change="it answers, or its lease ends", until=until)
    if is_suspended(part):
        yield from _frozen(case, "the freeze {} suspends its attempt")
    heard = "" if case.last_heard_at is None else f", last heard of {_span(case.at - case.last_heard_at)} ago"
    tries = f"attempt {part.attempt} of {_stage(case).retry.attempts_max}"
    text = f"it is at work in stage {_stage(case).name}: {part.attempt_state}, {tries}{heard}"
    if part.is_idle:
        text += "; it says that it has no work, and its end is waited for"
    change = "it is commanded anew" if is_suspended(part) else "it reports its end, or its lease ends"
    yield Fact(code=Code.AT_WORK, text=text, change=change, until=until)
    yield from _held(case)
    yield from _offline(case)


def _queued(case: Case, part: Target) -> Iterator[Fact]:
    """Yield all that keeps a queued device from its turn, or that nothing does."""
    holds = (*_shut_out(case), *_held(case), *_frozen(case), *_offline(case), *_rivals(case), *_turn(case, part))
    yield from holds
    if not holds:
        text = f"it is queued in stage {_stage(case).name}, and next"
        yield Fact(code=Code.NEXT, text=text, change="wait a moment")


def _turn(case: Case, part: Target) -> Iterator[Fact]:
    """Yield what of its stage keeps a queued device waiting."""
    stage, at_work = _stage(case), case.run.stages[case.stage]
    run_time = case.run.clock.run_time(case.at)
    if part.due is not None and part.due > run_time:
        until = case.run.clock.wall(part.due)
        reason = f" after {part.reason}" if part.reason else ""
        text = f"attempt {part.attempt + 1} of {stage.retry.attempts_max} waits for its time{reason}"
        yield Fact(code=Code.RETRY, text=text, change="wait", until=until)
    if case.refusal is not None:
        reason, text = case.refusal.reason, case.refusal.text
        yield Fact(code=Code(reason.value), text=text, change=_ADMITTED[reason], until=case.refusal.check_at)
    if at_work.state is StageState.SOAKING:
        yield Fact(
            code=Code.SOAKING,
            text=f"stage {stage.name} soaks, and lets nobody begin",
            change="the stage passes, and goes on with those who are left",
            until=_wall(case.run.clock, at_work.soak_at, stage.gate.soak_ms),
        )
    elif not slots(stage, at_work):
        limit = stage.pace.max_in_flight
        text = f"it is queued in stage {stage.name}: {at_work.tally.in_progress} of {limit} are at work"
        yield Fact(code=Code.SLOT, text=text, change="one of them ends, or another run has a greater pace")
    elif at_work.paced_until is not None:
        until = case.run.clock.wall(at_work.paced_until)
        text = f"the rate of stage {stage.name} lets nobody begin for a moment"
        yield Fact(code=Code.RATE, text=text, change="wait for its turn", until=until)


def _rivals(case: Case) -> Iterator[Fact]:
    if case.rival is None:
        return
    if case.rival.is_at_work:
        yield Fact(code=Code.BUSY, text=f"it is at work in run {case.rival.run}", change="it ends there")
    else:
        text = f"it waits in run {case.rival.run}, too, which goes first"
        yield Fact(code=Code.BEHIND, text=text, change="it ends there, or this job gets a higher priority")


def _offline(case: Case) -> Iterator[Fact]:
    if case.device.is_online:
        return
    seen_at = case.device.last_seen_at
    since = "and never was online" if seen_at is None else f"for {_span(case.at - seen_at)}"
    yield Fact(code=Code.OFFLINE, text=f"it is offline {since}", change="it connects")


# --- the run and the device as a whole ----------------------------------------------------------------------------


def _held(case: Case) -> Iterator[Fact]:
    for reason in case.run.pause_reasons:
        yield Fact(code=Code.PAUSED, text=f"the run is paused: {reason}", change="resume the run")
    if case.run.state is RunState.TERMINATING or (case.run.is_stopped and not case.run.state.is_terminal):
        text = f"the run is being stopped: {case.run.reason}"
        yield Fact(code=Code.STOPPING, text=text, change="start another run once it has ended")


def _frozen(case: Case, effect: str = "nothing begins in the freeze {}") -> Iterator[Fact]:
    freeze = case.run.freeze
    if freeze is not None:
        text = f"{effect.format(freeze.name)}: {freeze.reason}"
        yield Fact(code=Code.FROZEN, text=text, change="it ends, or is taken off the calendar", until=freeze.ends_at)


def _shut_out(case: Case) -> Iterator[Fact]:
    device = case.device
    if device.is_removed:
        yield Fact(code=Code.REMOVED, text="it was removed from the fleet", change="enrol it anew")
    elif device.is_blocked:
        yield Fact(code=Code.BLOCKED, text="it is blocked", change="unblock it")
    if device.is_broken:
        text = "an installation left it broken, and it gets no work until it reports a whole one"
        yield Fact(code=Code.BROKEN, text=text, change="mend it")


# --- devices that no stage has ------------------------------------------------------------------------------------


def _stranger(case: Case) -> Iterator[Fact]:
    """Yield why no stage has the device: of the first that would take it what it waits for, else why none would."""
    if case.run.state.is_terminal:
        text = f"the run has ended, and the device was in none of its stages: {case.run.state}"
        yield Fact(code=Code.RUN_ENDED, text=text, change="start another run that has it")
    yield from _kept_out(case)
    if case.plan.source is not None:
        yield from _not_taken(case, case.plan.source)
        return
    stages = {stage.name: index for index, stage in enumerate(case.plan.pipeline.stages)}
    order = [stages[name] for name in graph.in_order({s.name: s.needs for s in case.plan.pipeline.stages})]
    wanting = [index for index in order if _exclusion(case, index) is None]
    to_come = [
        index for index in wanting if not case.run.stages[index].state.is_verdict and not _is_frozen(case, index)
    ]
    for index in to_come[:1]:
        yield from _unopened(case, index)
        yield from _held(case)
        yield from _frozen(case)
    for index in order:
        if index not in to_come[:1]:
            yield _missed(case, index)


def _kept_out(case: Case) -> Iterator[Fact]:
    """Yield that no stage takes the device any more, for its model."""
    model = case.device.described.model
    breach = quarantine.barred(case.run).breach(model)
    if breach is not None and not case.run.state.is_terminal:
        text = f"its model {model} is quarantined in this run, and no stage takes it: {breach.evidence}"
        yield Fact(code=Code.QUARANTINED, text=text, change="readmit the model before the stage opens")


def _not_taken(case: Case, source: Source) -> Iterator[Fact]:
    """Yield why a run over an earlier one does not have the device, or that this is not decided yet."""
    closed = [at_work.is_frozen or at_work.state.is_verdict for at_work in case.run.stages]
    if all(closed):
        text = f"the run takes devices of run {source.run} alone, and this one it does not have"
        yield Fact(code=Code.NO_MEMBER, text=text, change="start a run that has it")
        return
    name = case.plan.pipeline.stages[closed.index(False)].name
    text = f"the run takes devices of run {source.run}, whether this one is decided when stage {name} opens"
    yield Fact(code=Code.NOT_OPEN, text=text, change=f"stage {name} opens")
    yield from _held(case)
    yield from _frozen(case)


def _is_frozen(case: Case, index: int) -> bool:
    return case.run.stages[index].is_frozen


def _unopened(case: Case, index: int) -> Iterator[Fact]:
    """Yield what a stage that would take the device still waits for."""
    stage, at_work = case.plan.pipeline.stages[index], case.run.stages[index]
    if at_work.state is StageState.AWAITING_PROMOTION:
        yield _promotion(case, index)
        return
    if at_work.met_at is not None:
        until = _wall(case.run.clock, at_work.met_at, stage.delay_ms)
        text = f"its stage {stage.name} opens after a delay"
        yield Fact(code=Code.DELAY, text=text, change="wait", until=until)
        return
    needed = [_progress(case, name) for name in stage.needs]
    waits = f": it needs {', '.join(needed)}" if needed else ""
    yield Fact(code=Code.NOT_OPEN, text=f"its stage {stage.name} has not opened{waits}", change="what it needs passes")


def _promotion(case: Case, index: int) -> Fact:
    name, missing = case.plan.pipeline.stages[index].name, approval.missing(case.plan, case.run, index)
    text = f"its stage {name} awaits promotion"
    if case.run.stages[index].is_promoted:
        return Fact(code=Code.PROMOTION, text=f"its stage {name} is promoted, and opens when the run may go on")
    if missing:
        text = f"{text}, and {missing} more to approve it"
        return Fact(code=Code.PROMOTION, text=text, change=f"approve stage {name}, then promote it")
    return Fact(code=Code.PROMOTION, text=text, change=f"promote stage {name}")


def _progress(case: Case, name: str) -> str:
    """Return how far a stage is, in words."""
    index = next(i for i, stage in enumerate(case.plan.pipeline.stages) if stage.name == name)
    at_work: StageRun = case.run.stages[index]
    tally = at_work.tally
    shown = f" ({tally.succeeded} of {tally.counted})" if at_work.is_frozen else ""
    return f"{name}, which is {at_work.state.value.replace('_', ' ')}{shown}"


def _missed(case: Case, index: int) -> Fact:
    """Return why a stage does not have the device."""
    stage, at_work = case.plan.pipeline.stages[index], case.run.stages[index]
    mismatch = _exclusion(case, index)
    if mismatch is not None:
        text = f"not in stage {stage.name}: {_mismatch(stage.targets, mismatch, case.device.described)}"
        return Fact(code=Code.NO_MEMBER, text=text, change=_CHANGES[mismatch])
    if stage.targets.include_new and at_work.state is StageState.ROLLING_OUT:
        return Fact(code=Code.NEXT, text=f"stage {stage.name} takes newcomers in, and this one before long")
    if at_work.opened_at is not None:
        text = f"stage {stage.name} opened without it, which fits only since then or was shut out"
        return Fact(code=Code.TOO_LATE, text=text, change="start another run")
    if at_work.state.is_verdict:
        text = f"stage {stage.name} would have it, and never opened: it was {at_work.state}"
        return Fact(code=Code.CLOSED, text=f"{text} ({at_work.reason})" if at_work.reason else text)
    return Fact(code=Code.NOT_OPEN, text=f"stage {stage.name} would have it, too, and has not opened")


def _exclusion(case: Case, index: int) -> Exclusion | None:
    targets = case.plan.pipeline.stages[index].targets
    return exclusion(targets, case.device.described, salt=case.plan.salt)


_CHANGES = {
    Exclusion.EXCLUDED: "take it off the stage's exclusions",
    Exclusion.NOT_LISTED: "list it in the stage's targets",
    Exclusion.LABELS: "label it as the stage wants",
    Exclusion.GROUPS: "add it to one of the groups",
    Exclusion.QUERY: "make it match the query",
    Exclusion.PERCENT: "a greater share, or a run with another salt",
}


def _mismatch(targets: Targets, reason: Exclusion, device: query.Described) -> str:
    match reason:
        case Exclusion.LABELS:
            key, wanted = next((k, v) for k, v in sorted(targets.labels.items()) if device.labels.get(k) != v)
            has = f"is {device.labels[key]}" if key in device.labels else "is not set"
            return f"label {key} {has}, and the stage wants {wanted}"
        case Exclusion.QUERY:
            return explain(query.parse(targets.query), device)
        case Exclusion.GROUPS:
            return f"it is in none of the groups {', '.join(targets.groups)}"
        case Exclusion.PERCENT:
            return f"it is outside the share of {targets.percent:g} %"
        case Exclusion.EXCLUDED:
            return "it is excluded by name"
        case _:
            return "it is not among the devices that the stage lists"


# --- words --------------------------------------------------------------------------------------------------------


def _stage(case: Case) -> Stage:
    return case.plan.pipeline.stages[case.stage]


def _wall(clock: RunClock, since: int | None, span_ms: int) -> Instant | None:
    return None if since is None else clock.wall(since + span_ms)


_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def _span(span_ms: int) -> str:
    """Return a span in its greatest unit.

    >>> _span(12_345), _span(7_200_000)
    ('12 s', '2 h')
    """
    seconds = max(0, span_ms) // SECOND
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), ("s", 1))
    return f"{seconds // size} {unit}"
