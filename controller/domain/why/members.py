"""Why a device that a stage has is not updated: how it ended, what it does, or what it waits for."""

from collections.abc import Iterator, Mapping
from typing import Final

from controller.domain.admission import BlockReason
from controller.domain.quarantine import barred
from controller.domain.settle import slots
from controller.domain.states import StageState
from controller.domain.target import Target, TargetState, is_suspended
from controller.domain.why.case import Case, stage_of, wall
from controller.domain.why.circumstances import frozen, held, shut_out
from controller.domain.why.fact import Code, Fact, span
from controller.domain.wording import are
from protocol.health import Mark
from protocol.lifecycle import Left
from protocol.reasons import Reason

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


def held_back(case: Case) -> Fact:
    """Return that a device is held back, and what will become of it."""
    stage, at_work = stage_of(case), case.run.stages[case.stage]
    text = f"held back as control group of stage {stage.name}"
    if at_work.is_recalled or (at_work.state.is_verdict and at_work.state is not StageState.PASSED):
        change = "retry the run with cancelled devices once it has ended"
        return Fact(code=Code.CONTROL, text=f"it was {text}, which did not come to update it", change=change)
    return Fact(code=Code.CONTROL, text=f"it is {text}: updated once the stage has passed", change="the stage passes")


def ended(case: Case, part: Target) -> Fact:
    """Return how the part of a device in the run ended."""
    stage = stage_of(case).name
    reason = f": {part.reason}" if part.reason else ""
    detail = f" ({part.detail})" if part.detail else ""
    text = f"it {_ENDED[part.state]} in stage {stage}{reason}{detail}"
    if part.late_success_at is not None:
        text += "; its success came later"
    if part.is_unwell:
        text += f"; then it told that it {_AILS[part.health]}: {part.health_detail}"
    if part.health is Mark.ENDED:
        text += "; the watch ended early, as newer work began"
    if part.is_silent:
        text += f"; then it was offline for {span(stage_of(case).gate.silent_after_ms or 0)}: counted as failed"
    if part.left is Left.BROKEN:
        text += "; it was left broken"
    if part.watched_until is not None and part.due is not None:
        text += "; it is offline now, and counts as failed if that lasts"
        until = wall(case.run.clock, part.due, 0)
        return Fact(code=Code.ENDED, text=text, change="it comes back", until=until)
    change = "" if part.state is TargetState.SUCCEEDED else "start another run that has it"
    return Fact(code=Code.ENDED, text=text, change=change)


def quarantined(case: Case, part: Target) -> Iterator[Fact]:
    """Yield why the model of a device that was called off for it is kept out, or was until it was readmitted."""
    if part.reason is not Reason.MODEL_QUARANTINED:
        return
    breach = barred(case.run).breach(case.model)
    if breach is None:
        text, change = f"its model {case.model} was quarantined then, and was readmitted since", ""
    else:
        text, change = f"its model {case.model} is quarantined in this run: {breach.evidence}", "readmit the model"
    change = "; ".join(filter(None, (change, "retry the run with cancelled devices once it has ended")))
    yield Fact(code=Code.QUARANTINED, text=text, change=change)


_AILS: Final[Mapping[Mark | None, str]] = {Mark.CRASHED: "crashed", Mark.UNWELL: "is unwell"}
_ENDED = {
    TargetState.SUCCEEDED: "succeeded",
    TargetState.FAILED: "failed",
    TargetState.REJECTED: "refused, since the release does not apply to it,",
    TargetState.TIMED_OUT: "timed out",
    TargetState.CANCELLED: "was called off",
    TargetState.REMOVED: "was removed",
}


def at_work(case: Case, part: Target) -> Iterator[Fact]:
    """Yield what a device at work does, and what holds it up."""
    until = case.run.clock.wall(part.due) if part.due is not None else None
    if part.cancel_requested:
        text = "it is called back, and has not answered yet"
        yield Fact(code=Code.CALLED_BACK, text=text, change="it answers, or its lease ends", until=until)
    if is_suspended(part):
        yield from frozen(case, "the freeze {} suspends its attempt")
    heard = "" if case.last_heard_at is None else f", last heard of {span(case.at - case.last_heard_at)} ago"
    tries = f"attempt {part.attempt} of {stage_of(case).retry.attempts_max}"
    text = f"it is at work in stage {stage_of(case).name}: {part.attempt_state}, {tries}{heard}"
    if part.is_idle:
        text += "; it says that it has no work, and its end is waited for"
    change = "it is commanded anew" if is_suspended(part) else "it reports its end, or its lease ends"
    yield Fact(code=Code.AT_WORK, text=text, change=change, until=until)
    yield from held(case)
    yield from _offline(case)


def queued(case: Case, part: Target) -> Iterator[Fact]:
    """Yield all that keeps a queued device from its turn, or that nothing does."""
    holds = (*shut_out(case), *held(case), *frozen(case), *_offline(case), *_rivals(case), *_turn(case, part))
    yield from holds
    if not holds:
        text = f"it is queued in stage {stage_of(case).name}, and next"
        yield Fact(code=Code.NEXT, text=text, change="wait a moment")


def _turn(case: Case, part: Target) -> Iterator[Fact]:
    """Yield what of its stage keeps a queued device waiting."""
    stage, at_work = stage_of(case), case.run.stages[case.stage]
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
            until=wall(case.run.clock, at_work.soak_at, stage.gate.soak_ms),
        )
    elif not slots(stage, at_work):
        limit = stage.pace.max_in_flight
        taken = at_work.tally.in_progress
        text = f"it is queued in stage {stage.name}: {taken} of {limit} {are(taken)} at work"
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
    since = "and never was online" if seen_at is None else f"for {span(case.at - seen_at)}"
    yield Fact(code=Code.OFFLINE, text=f"it is offline {since}", change="it connects")
