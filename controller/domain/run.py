"""A run: the stage graph at work. Counters, not devices, so an event costs the same in a fleet of any size.

The rules this module and `controller.domain.settle` keep:

1. `step` is total, and decides from the level, not from the edge: after any event the whole state is looked at, and
   doing it twice changes nothing.
2. States change along the tables of `controller.domain.states` and nowhere else; a verdict absorbs.
3. A stage opens only when all it needs has a verdict that meets it (`passed`, `skipped`, `failed` with `continue`).
4. While a run is paused, is ending or has ended, no device is released.
5. Whatever pauses or stops a run raises its epoch, which fences commands that are on their way.
6. A release that was cut short is due again at once, because the state says so: it goes on after any restart.
"""

from collections.abc import Iterator
from typing import assert_never

from controller.domain import gate as gates
from controller.domain.counters import Tally, folded
from controller.domain.events import (
    Effect,
    Event,
    Folded,
    Frozen,
    Go,
    Issued,
    Lifted,
    Note,
    Order,
    Paused,
    Promoted,
    Recovered,
    Resumed,
    Skipped,
    Started,
    Terminated,
    Woken,
)
from controller.domain.model import Plan, Run, StageRun, run_changed, stage_changed
from controller.domain.pipeline import Stage
from controller.domain.settle import breach_of, paused, room, settle, waits_until
from controller.domain.states import RunState, StageState
from protocol.units import Instant

Outcome = tuple[Run, tuple[Effect, ...]]


def step(plan: Plan, run: Run, event: Event) -> Outcome:
    """Return the run after *event* and the effects to be carried out in the same transaction."""
    if run.state.is_terminal and not isinstance(event, Folded | Issued):
        return run, ()
    changed, effects = _apply(plan, run, event)
    settled, more = settle(plan, changed, event.at)
    return settled, (*effects, *more)


def next_deadline(plan: Plan, run: Run) -> Instant | None:
    """Return the wall time at which the run must be woken, or None while nothing is due by itself."""
    if run.state is not RunState.RUNNING or run.is_paused:
        return None
    dues = [] if run.is_stopped else [plan.pipeline.timeout_ms]
    for stage, at_work in zip(plan.pipeline.stages, run.stages, strict=True):
        dues += _dues(stage, at_work)
    return run.clock.wall(min(dues)) if dues else None


def _dues(stage: Stage, at_work: StageRun) -> Iterator[int]:
    if at_work.is_cut and room(stage, at_work):
        assert at_work.opened_at is not None
        yield at_work.opened_at
    until = waits_until(stage, at_work)
    if until is not None:
        yield until
    match at_work.state:
        case StageState.BLOCKED if at_work.met_at is not None:
            yield at_work.met_at + stage.delay_ms
        case StageState.ROLLING_OUT:
            assert at_work.opened_at is not None
            yield at_work.opened_at + stage.timeouts.stage_ms
            straggler = stage.gate.straggler_after_ms
            if straggler is not None and gates.is_success(stage.gate, at_work.tally):
                yield at_work.opened_at + straggler
        case StageState.SOAKING:
            assert at_work.soak_at is not None
            yield at_work.soak_at + stage.gate.soak_ms
        case StageState.PASSED if not at_work.is_recalled and not at_work.tally.is_settled:
            assert at_work.opened_at is not None
            yield at_work.opened_at + stage.timeouts.stage_ms
        case _:
            return


def _apply(plan: Plan, run: Run, event: Event) -> Outcome:
    match event:
        case Started():
            return _start(plan, run, event)
        case Frozen():
            return _freeze(run, event), ()
        case Folded():
            return _fold(run, event), ()
        case Issued():
            return _issue(run, event), ()
        case Recovered():
            return run_changed(run, clock=run.clock.skipped(event.gap_ms)), ()
        case Woken():
            return run, ()
        case _:
            return _obey(plan, run, event)


def _obey(plan: Plan, run: Run, order: Order) -> Outcome:
    match order:
        case Paused():
            return paused(run, order.reason, order.at, by=order.by)
        case Resumed():
            return _resume(run, order)
        case Lifted():
            return _lift(run, order)
        case Terminated():
            return _terminate(run, order)
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


def _freeze(run: Run, event: Frozen) -> Run:
    if run.stages[event.stage].is_frozen:
        return run
    return stage_changed(run, event.stage, is_frozen=True, tally=Tally(queued=event.targets))


def _issue(run: Run, event: Issued) -> Run:
    for index in event.deltas:
        run = stage_changed(run, index, is_cut=index in event.cut)
    return _fold(run, event)


def _fold(run: Run, event: Folded | Issued) -> Run:
    for index, deltas in event.deltas.items():
        run = stage_changed(run, index, tally=folded(run.stages[index].tally, deltas))
    return run


def _resume(run: Run, event: Resumed) -> Outcome:
    if run.state is not RunState.RUNNING or not run.is_paused:
        return run, ()
    for index, stage in enumerate(run.stages):
        run = stage_changed(run, index, accepted=stage.tally.blamed)
    return _going(run, event.at, Note(kind="resumed", text=event.reason, by=event.by))


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
    if run.state is not RunState.RUNNING:
        return run, ()
    ending = run_changed(
        run,
        state=RunState.TERMINATING,
        epoch=run.epoch + 1,
        reason=event.reason,
        pause_reasons=(),
        clock=run.clock.started(event.at),
    )
    return ending, (Note(kind="terminating", text=event.reason, by=event.by),)


def _promote(plan: Plan, run: Run, event: Promoted) -> Outcome:
    if run.state is not RunState.RUNNING or run.stages[event.stage].state is not StageState.AWAITING_PROMOTION:
        return run, ()
    name = plan.pipeline.stages[event.stage].name
    return stage_changed(run, event.stage, is_promoted=True), (Note(kind="promoted", stage=name, by=event.by),)


def _skip(plan: Plan, run: Run, event: Skipped) -> Outcome:
    """Note what an operator wants; a breach of that stage's gate then holds the run no more."""
    if run.state is not RunState.RUNNING or run.stages[event.stage].state.is_verdict:
        return run, ()
    name = plan.pipeline.stages[event.stage].name
    skipped = stage_changed(run, event.stage, skipped=event.reason)
    lifted, effects = _lift(skipped, Lifted(at=event.at, reason=breach_of(name), by=event.by))
    return lifted, (Note(kind="skipping", stage=name, text=event.reason, by=event.by), *effects)
