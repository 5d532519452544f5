"""A run: the stage graph at work. Counters, not devices, so an event costs the same in a fleet of any size.

The rules this module and `controller.domain.settle` keep:

1. `step` is total, and decides from the level, not from the edge: after any event the whole state is looked at, and
   doing it twice changes nothing.
2. States change along the tables of `controller.domain.states` and nowhere else; a verdict absorbs.
3. A stage opens only when all it needs has a verdict that meets it (`passed`, `skipped`, `failed` with `continue`), and
   one that asks for approvals only with all of them.
4. While a run is paused, is ending or has ended, no device is released.
5. Whatever pauses or stops a run raises its epoch, which fences commands that are on their way.
6. A release that was cut short is due again at once, because the state says so: it goes on after any restart.
7. In a freeze nothing begins (`controller.domain.freeze`).
8. Nothing of a quarantined model begins (`controller.domain.quarantine`).
9. A stage with a rate keeps it by what is stored of it (`controller.domain.pace`), whatever happened in between.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

import msgspec

from controller.domain import approval, checking, control, metrics, pace, quarantine, ramping, waves
from controller.domain.counters import Tally, folded
from controller.domain.events import (
    Answered,
    Approved,
    CalendarChanged,
    CallOff,
    Counted,
    Discharged,
    Effect,
    Event,
    Folded,
    Frozen,
    Go,
    Issued,
    Joined,
    Lifted,
    Note,
    Order,
    Paused,
    Promoted,
    Readmitted,
    Recovered,
    Resumed,
    RollbackAsked,
    Skipped,
    Started,
    TelemetryLost,
    Terminated,
    Woken,
)
from controller.domain.freeze import in_force, next_change
from controller.domain.gates import checks, judgement
from controller.domain.model import Approval, Plan, Run, StageRun, run_changed, stage_changed
from controller.domain.outputs import summed
from controller.domain.pipeline import Stage, outputs_asked
from controller.domain.rerun import RollbackOrder, said
from controller.domain.settle import (
    accepted,
    breach_of,
    control_room,
    hold_of,
    holds_of,
    paused,
    queue_limit,
    room,
    settle,
    shortfalls,
    slots,
    telemetry_of,
)
from controller.domain.states import RunState, StageState
from controller.domain.target import Delta
from protocol.units import Instant

Outcome = tuple[Run, tuple[Effect, ...]]


def step(plan: Plan, run: Run, event: Event) -> Outcome:
    """Return the run after *event* and the effects to be carried out in the same transaction."""
    if run.state.is_terminal and not isinstance(event, Folded | Issued):
        return run, ()
    changed, effects = _apply(plan, run, event)
    settled, more = settle(plan, changed, event.at, before=run)
    return settled, (*effects, *more)


def next_deadline(plan: Plan, run: Run) -> Instant | None:
    """Return the wall time at which the run must be woken, or None while nothing is due by itself."""
    if run.state is not RunState.RUNNING or run.is_paused:
        return None
    dues = [] if run.is_stopped or run.freeze else [plan.pipeline.timeout_ms + run.frozen_ms]
    out = quarantine.barred(run)
    for stage, at_work in zip(plan.pipeline.stages, run.stages, strict=True):
        if at_work.state is StageState.SOAKING:
            assert at_work.soak_at is not None
            over_at = at_work.soak_at + stage.gate.soak_ms
            dues.append(over_at + (stage.timeouts.stage_ms if at_work.is_soaked else 0))
            dues += [at_work.soak_at] if run.freeze is None and _is_cut(stage, at_work) else []
        elif run.freeze is None:
            dues += _dues(stage, at_work, out, frozen_ms=run.frozen_ms - at_work.frozen_ms)
        dues += checking.dues(stage, at_work)
    return run.clock.wall(min(dues)) if dues else None


def _is_cut(stage: Stage, at_work: StageRun) -> bool:
    return at_work.is_cut and bool(room(stage, at_work) or control_room(stage, at_work))


def next_freeze_change(run: Run, at: Instant) -> Instant | None:
    """Return the wall time at which a freeze begins or ends for the run, or None while that matters not.

    That is *at* where it has happened already and nobody has let the run see it yet.
    """
    if run.state is not RunState.RUNNING or run.is_paused or run.is_stopped:
        return None
    return next_change(run.freezes, at) if run.freeze == in_force(run.freezes, at) else at


def _dues(stage: Stage, at_work: StageRun, out: quarantine.Barred, *, frozen_ms: int) -> Iterator[int]:
    """Yield when something of a stage is due; it has stood in freezes for *frozen_ms* since it opened."""
    rest = quarantine.excepted(stage, at_work, out).rest(at_work.tally)
    if _is_cut(stage, at_work):
        assert at_work.opened_at is not None
        yield at_work.opened_at
    if at_work.paced_until is not None and slots(stage, at_work):
        yield at_work.paced_until
    if ramping.is_done(at_work) and not at_work.is_recalled:
        yield ramping.due(stage, at_work)
    limit = queue_limit(stage, at_work)
    if limit is not None and at_work.opened_at is not None:
        yield at_work.opened_at + at_work.tail_ms + limit + frozen_ms
    match at_work.state:
        case StageState.BLOCKED if at_work.met_at is not None:
            yield at_work.met_at + stage.delay_ms
        case StageState.ROLLING_OUT:
            assert at_work.opened_at is not None
            yield at_work.opened_at + stage.timeouts.stage_ms + frozen_ms
            straggler = stage.gate.straggler_after_ms
            if straggler is not None and judgement.is_success(stage.gate, rest):
                yield at_work.opened_at + straggler + frozen_ms
        case StageState.PASSED if not at_work.is_recalled and not at_work.is_settled:
            assert at_work.opened_at is not None
            yield at_work.opened_at + at_work.tail_ms + stage.timeouts.stage_ms + frozen_ms
        case _:
            return


def _apply(plan: Plan, run: Run, event: Event) -> Outcome:
    match event:
        case Started():
            return _start(plan, run, event)
        case Frozen() | Joined() | Discharged() | Folded() | Issued():
            return _count(plan, run, event)
        case Recovered():
            return run_changed(run, clock=run.clock.skipped(event.gap_ms)), ()
        case CalendarChanged():
            return run_changed(run, freezes=event.freezes), ()
        case Answered():
            return _answer(plan, run, event)
        case TelemetryLost():
            return _lose_sight(plan, run, event)
        case Woken():
            return run, ()
        case _:
            return _obey(plan, run, event)


def _count(plan: Plan, run: Run, event: Counted) -> Outcome:
    match event:
        case Frozen():
            return _freeze(plan, run, event)
        case Joined():
            return _join(run, event.counts, event.models), ()
        case Discharged():
            return _discharge(plan, run, event)
        case Folded():
            return _fold(plan, _pair(plan, run, event), event), tuple(_not_again(run, event.deltas))
        case Issued():
            return _issue(plan, run, event), ()
        case _:
            assert_never(event)


def _obey(plan: Plan, run: Run, order: Order) -> Outcome:
    match order:
        case Paused():
            return paused(run, order.reason, order.at, by=order.by)
        case Resumed():
            return _resume(plan, run, order)
        case Readmitted():
            return _readmit(run, order)
        case Lifted():
            return _lift(run, order)
        case Terminated():
            return _terminate(run, order)
        case Approved():
            return _approve(plan, run, order)
        case RollbackAsked():
            return _roll_back(run, order)
        case Promoted():
            return _promote(plan, run, order)
        case Skipped():
            return _skip(plan, run, order)
        case _:
            assert_never(order)


def _start(plan: Plan, run: Run, event: Started) -> Outcome:
    if run.state is not RunState.PENDING:
        return run, ()
    clock = run.clock if run.is_paused else run.clock.started(event.at)
    notes = [Note(kind="paused", text=reason) for reason in run.pause_reasons]
    return run_changed(run, state=RunState.RUNNING, clock=clock), (Note(kind="started", by=plan.started_by), *notes)


def _freeze(plan: Plan, run: Run, event: Frozen) -> Outcome:
    if run.stages[event.stage].is_frozen:
        return run, ()
    tally = Tally(queued=event.targets)
    stage = plan.pipeline.stages[event.stage]
    ramp = ramping.begun(stage, targets=event.targets)
    models = quarantine.begun(event.models, takes_new=stage.targets.include_new)
    held = None if event.control is None else control.begun(event.control)
    known = {"tally": tally, "ramp": ramp, "models": models, "control": held, "left_out": event.left_out}
    left_out = [Note(kind="left_out", stage=stage.name, text=said(event.left_out))] if event.left_out else []
    notes = (*left_out, *(() if held is None else shortfalls(plan, event.stage, held.held)))
    return stage_changed(run, event.stage, is_frozen=True, **known), notes


def _join(run: Run, counts: Mapping[int, int], by_model: Mapping[int, Mapping[str, int]]) -> Run:
    for index, count in counts.items():
        tally = run.stages[index].tally
        models = quarantine.joined(run.stages[index].models, by_model.get(index, {}))
        tally = msgspec.structs.replace(tally, queued=tally.queued + count)
        run = stage_changed(run, index, tally=tally, models=models)
    return run


def _discharge(plan: Plan, run: Run, event: Discharged) -> Outcome:
    """Let devices that were held back join the tail of their stage, which has its time anew."""
    group, index = run.stages[event.stage].control, event.stage
    if group is None or not event.deltas:
        return run, ()
    open_for = run.open_for(index, run.clock.run_time(event.at))
    run = stage_changed(run, index, control=control.discharged(group, event.deltas, open_for=open_for))
    run = _join(run, {index: len(event.deltas)}, {index: event.models})
    text = f"{len(event.deltas)} device{'' if len(event.deltas) == 1 else 's'}"
    note = Note(kind="discharged", stage=plan.pipeline.stages[index].name, text=text)
    return run, (note, *_not_again(run, {index: event.deltas}))


def _issue(plan: Plan, run: Run, event: Issued) -> Run:
    now = run.clock.run_time(event.at)
    for index, deltas in event.deltas.items():
        begun = sum(not delta.is_control for delta in deltas)
        ramp = ramping.issued(run.stages[index].ramp, count=begun)
        run = stage_changed(run, index, is_cut=index in event.cut, ramp=ramp)
        rate = pace.per_minute(plan.pipeline.stages[index].pace, succeeded=run.stages[index].tally.succeeded)
        if rate is not None and begun:
            run = stage_changed(run, index, paced_until=now + pace.span_ms(rate, released=begun))
    return _fold(plan, run, event)


def _fold(plan: Plan, run: Run, event: Folded | Issued) -> Run:
    for index, changes in event.deltas.items():
        run = _compare(plan, run, index, changes)
        deltas = [delta for delta in changes if not delta.is_control]
        models = quarantine.counted(run.stages[index].models, deltas)
        began = waves.counted(
            run.stages[index].waves, ((delta.wave, delta.exposed, delta.faultless) for delta in deltas)
        )
        tally = folded(run.stages[index].tally, deltas)
        run = stage_changed(run, index, tally=tally, models=models, waves=began)
        told = [delta.outputs for delta in deltas if delta.outputs]
        if told:
            names = outputs_asked(plan.pipeline, plan.pipeline.stages[index].name)
            run = stage_changed(run, index, outputs=summed(run.stages[index].outputs, told, names))
    return run


def _compare(plan: Plan, run: Run, index: int, changes: Sequence[Delta]) -> Run:
    rules, group = plan.pipeline.stages[index].gate.control, run.stages[index].control
    if rules is None or group is None:
        return run
    return stage_changed(run, index, control=control.counted(group, changes, tolerated=rules.tolerated))


def _pair(plan: Plan, run: Run, event: Folded) -> Run:
    """Count what pairs of updated devices and those held back have told."""
    for index, pairs in event.pairs.items():
        rules, group = plan.pipeline.stages[index].gate.control, run.stages[index].control
        assert rules is not None, "devices are paired in a stage that compares them"
        assert group is not None, "devices are paired once the membership is known"
        known = metrics.counted(group.metrics, pairs, rules.metrics)
        run = stage_changed(run, index, control=msgspec.structs.replace(group, metrics=known))
    return run


def _not_again(run: Run, changes: Mapping[int, Sequence[Delta]]) -> Iterator[CallOff]:
    """Yield whom a quarantine keeps from another attempt where the stage does not count their model by itself."""
    out = quarantine.barred(run)
    if out.stages:
        for index, deltas in changes.items():
            for model in sorted(quarantine.returned(run.stages[index].models, deltas, out)):
                yield CallOff(stage=index, model=model)


def _resume(plan: Plan, run: Run, event: Resumed) -> Outcome:
    """Lift every pause reason, and accept what those of them stand for that are of the run's own rules."""
    if run.state is not RunState.RUNNING or not run.is_paused:
        return run, ()
    for index, (stage, at_work) in enumerate(zip(plan.pipeline.stages, run.stages, strict=True)):
        asked_anew = checking.resumed(stage, at_work, run.pause_reasons, run.clock.run_time(event.at))
        run = stage_changed(run, index, checks=asked_anew)
        if breach_of(stage.name) in run.pause_reasons:
            run = quarantine.accepted(run, index)
        run = stage_changed(run, index, control=accepted(stage, at_work.control, run.pause_reasons))
        if hold_of(stage.name) in run.pause_reasons:
            run = stage_changed(run, index, ramp=ramping.accepted(stage, at_work))
    return _going(run, event.at, Note(kind="resumed", text=event.reason, by=event.by))


def _readmit(run: Run, event: Readmitted) -> Outcome:
    if run.state is not RunState.RUNNING or event.model not in quarantine.names(run):
        return run, ()
    note = Note(kind="readmitted", text=f"{quarantine.said(event.model)}: {event.reason}", by=event.by)
    return quarantine.readmitted(run, event.model), (note,)


def _answer(plan: Plan, run: Run, event: Answered) -> Outcome:
    """Take in what a check was answered; who was waited for has come, so a hold for want of data is over."""
    stage, at_work = plan.pipeline.stages[event.stage], run.stages[event.stage]
    check, before = checking.find(stage, event.check), at_work.checks.get(event.check)
    if run.state is not RunState.RUNNING or at_work.state.is_verdict or check is None or before is None:
        return run, ()
    now = run.clock.run_time(event.at)
    if event.is_decision:
        after = checks.decided(check, before, event.answer, now=now)
    else:
        after = checks.answered(check, before, event.answer, now=now, sequence=event.sequence)
    run = stage_changed(run, event.stage, checks=checking.with_check(at_work, check.name, after))
    notes = () if event.sequence is not None else (_told(stage, event),)
    if after.heard_at == before.heard_at and not after.is_settled:
        return run, notes
    lifted = Lifted(at=event.at, reason=checking.no_data_of(stage.name, check.name), by=event.by)
    going, effects = _lift(run, lifted)
    return going, (*notes, *effects)


def _lose_sight(plan: Plan, run: Run, event: TelemetryLost) -> Outcome:
    """Hold a run until a person has looked; what nobody could see was no soak, which begins anew."""
    held, effects = paused(run, telemetry_of(plan.pipeline.stages[event.stage].name), event.at, evidence=event.evidence)
    if held.stages[event.stage].state is StageState.SOAKING:
        held = stage_changed(held, event.stage, soak_at=held.clock.run_time(event.at), is_soaked=False)
    return held, effects


def _told(stage: Stage, event: Answered) -> Note:
    text = f"{event.check}: {event.answer.kind.value}"
    return Note(kind="check_answered", stage=stage.name, text=text, by=event.by, evidence=event.answer.evidence)


def _lift(run: Run, event: Lifted) -> Outcome:
    if run.state is not RunState.RUNNING or event.reason not in run.pause_reasons:
        return run, ()
    left = tuple(reason for reason in run.pause_reasons if reason != event.reason)
    if left:
        return run_changed(run, pause_reasons=left), (Note(kind="lifted", text=event.reason, by=event.by),)
    return _going(run, event.at, Note(kind="resumed", by=event.by))


def _going(run: Run, at: Instant, note: Note) -> Outcome:
    going = run_changed(run, pause_reasons=(), epoch=run.epoch + 1, clock=run.clock.started(at))
    return going, (Go(), note)


def _terminate(run: Run, event: Terminated) -> Outcome:
    """End a run; one that a failed stage would have had rolled back is not: somebody has decided otherwise."""
    if run.state is not RunState.RUNNING:
        return run, ()
    ending = run_changed(
        run,
        state=RunState.TERMINATING,
        epoch=run.epoch + 1,
        reason=event.reason,
        pause_reasons=(),
        clock=run.clock.started(event.at),
        rollback=None,
    )
    return ending, (Note(kind="terminating", text=event.reason, by=event.by),)


def _approve(plan: Plan, run: Run, event: Approved) -> Outcome:
    at_work = run.stages[event.stage]
    is_open = at_work.state in {StageState.BLOCKED, StageState.AWAITING_PROMOTION}
    is_known = event.by in {one.by for one in at_work.approvals}
    if run.state is not RunState.RUNNING or not is_open or is_known or approval.is_barred(plan, event.by):
        return run, ()
    given = Approval(
        by=event.by,
        at=event.at,
        revision=plan.revision,
        version=plan.operation.version,
        salt=plan.salt,
        reason=event.reason,
    )
    name = plan.pipeline.stages[event.stage].name
    note = Note(kind="approved", stage=name, text=event.reason, by=event.by)
    return stage_changed(run, event.stage, approvals=(*at_work.approvals, given)), (note,)


def _roll_back(run: Run, event: RollbackAsked) -> Outcome:
    if run.state not in {RunState.RUNNING, RunState.TERMINATING} or run.rollback is not None:
        return run, ()
    ending, effects = _terminate(run, Terminated(at=event.at, reason=event.reason, by=event.by))
    order = RollbackOrder(reason=event.reason, by=event.by, version=event.version)
    return run_changed(ending, rollback=order), (*effects, Note(kind="rolling_back", text=event.reason, by=event.by))


def _promote(plan: Plan, run: Run, event: Promoted) -> Outcome:
    if run.state is not RunState.RUNNING or run.stages[event.stage].state is not StageState.AWAITING_PROMOTION:
        return run, ()
    if approval.missing(plan, run, event.stage):
        return run, ()
    name = plan.pipeline.stages[event.stage].name
    return stage_changed(run, event.stage, is_promoted=True), (Note(kind="promoted", stage=name, by=event.by),)


def _skip(plan: Plan, run: Run, event: Skipped) -> Outcome:
    """Note what an operator wants; a breach of that stage's gate then holds the run no more."""
    if run.state is not RunState.RUNNING or run.stages[event.stage].state.is_verdict:
        return run, ()
    name = plan.pipeline.stages[event.stage].name
    skipped = stage_changed(run, event.stage, skipped=event.reason)
    told: tuple[Effect, ...] = (Note(kind="skipping", stage=name, text=event.reason, by=event.by),)
    stage = plan.pipeline.stages[event.stage]
    of_others = (*holds_of(stage), *checking.holds_of(stage))
    for reason in (breach_of(name), hold_of(name), telemetry_of(name), *of_others):
        skipped, effects = _lift(skipped, Lifted(at=event.at, reason=reason, by=event.by))
        told = (*told, *effects)
    return skipped, told
