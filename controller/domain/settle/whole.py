"""Deciding what should hold now, by looking at the whole run; see the rules in `controller.domain.run`."""

from controller.domain import dry_runs, graph
from controller.domain.events import Conclude, Continue, Discharge, Effect, Expire, Note, RollBack, Suspend
from controller.domain.freeze import in_force
from controller.domain.model import Plan, Run, run_changed, thawed
from controller.domain.settle import checks, comparison, evidence, judging, opening
from controller.domain.settle.decision import CALLED_BACK, Decision
from controller.domain.settle.releases import queue_limit, releases
from controller.domain.states import RunState, StageState
from protocol.units import Instant


def settle(plan: Plan, run: Run, at: Instant, *, before: Run) -> tuple[Run, tuple[Effect, ...]]:
    """Return *run* as it should stand at wall time *at*, and the effects that bring that about.

    *before* is the run as it was settled last.
    """
    decision = Decision(plan, run, at, before=before)
    _calendar(decision)
    if run.state is RunState.RUNNING:
        _rates(decision)
        _stages(decision)
        _timeout(decision)
    if run.state is RunState.TERMINATING:
        decision.stop("terminated")
    _end(decision)
    return decision.run, (*decision.effects, *releases(plan, decision.run))


def _calendar(decision: Decision) -> None:
    """Let the freeze begin or end that the calendar has; one that only goes over into the next does neither."""
    run = decision.run
    is_going = run.state is RunState.RUNNING and not run.is_stopped
    before, now = run.freeze, in_force(run.freezes, decision.at) if is_going else None
    if before == now:
        return
    if now is None:
        _thaw(decision, is_going=is_going)
        return
    frozen_at = decision.now if run.frozen_at is None else run.frozen_at
    decision.run = run_changed(run, freeze=now, frozen_at=frozen_at)
    decision.effects += [*(() if before else (Suspend(),)), Note(kind="frozen", text=f"{now.name}: {now.reason}")]


def _thaw(decision: Decision, *, is_going: bool) -> None:
    """End the freeze; a pause that holds now gives suspended devices their commands when it is lifted."""
    decision.run = thawed(decision.run, decision.now)
    if is_going:
        decision.effects += [*(() if decision.run.is_paused else (Continue(),)), Note(kind="thawed")]


def _rates(decision: Decision) -> None:
    """Let go on, at their rates, the stages that have waited long enough since they last released devices."""
    for index, at_work in enumerate(decision.run.stages):
        if at_work.paced_until is not None and decision.now >= at_work.paced_until:
            decision.change(index, paced_until=None)


def _stages(decision: Decision) -> None:
    """Settle every stage, each after what it needs, so that one pass reaches the end of a chain.

    Models come first, in all stages: the test of all devices leaves out whom any stage quarantines.
    """
    in_order = graph.in_order({stage.name: stage.needs for stage in decision.plan.pipeline.stages})
    for name in in_order:
        evidence.models(decision, decision.index_of[name])
    for name in in_order:
        _stage(decision, decision.index_of[name])


def _stage(decision: Decision, index: int) -> None:
    at_work = decision.run.stages[index]
    if at_work.skipped and not at_work.state.is_verdict:
        decision.verdict(index, StageState.SKIPPED, at_work.skipped)
    match decision.run.stages[index].state:
        case StageState.BLOCKED:
            opening.blocked(decision, index)
        case StageState.AWAITING_PROMOTION:
            opening.promoted(decision, index)
        case StageState.ROLLING_OUT | StageState.SOAKING:
            _open_stage(decision, index)
        case _:
            pass
    _queue(decision, index)
    at_work = decision.run.stages[index]
    if at_work.state is StageState.PASSED:
        if not comparison.discharge(decision, index):
            _tail(decision, index)
    elif at_work.state in CALLED_BACK and not at_work.is_recalled and not at_work.is_settled:
        decision.recall(index, timed_out=at_work.state is StageState.TIMED_OUT)


def _open_stage(decision: Decision, index: int) -> None:
    if not decision.run.stages[index].is_frozen:
        return
    if evidence.is_breached(decision, index):
        evidence.breach(decision, index)
    comparison.judge(decision, index)
    evidence.ramp(decision, index)
    checks.look(decision, index)
    if not decision.run.is_paused and not decision.run.stages[index].state.is_verdict:
        judging.judge(decision, index)


def _queue(decision: Decision, index: int) -> None:
    """Let devices go without that have waited for too long."""
    limit = queue_limit(*decision.stage(index))
    if limit is not None and decision.may_open and decision.run.tail_for(index, decision.now) >= limit:
        decision.effects.append(Expire(stage=index))


def _tail(decision: Decision, index: int) -> None:
    """Watch the tail of a passed stage: what it does acts on the run and never rewrites the verdict."""
    stage, at_work = decision.stage(index)
    if not decision.run.is_stopped and evidence.is_breached(decision, index):
        evidence.breach(decision, index, is_tail=True)
    evidence.ramp(decision, index)
    is_overdue = decision.run.tail_for(index, decision.now) >= stage.timeouts.stage_ms
    if is_overdue and not at_work.is_recalled and not at_work.is_settled:
        decision.recall(index, timed_out=True)


def _timeout(decision: Decision) -> None:
    """Stop a run whose time is over."""
    at_work_for = decision.now - decision.run.frozen_for(decision.now)
    if not decision.run.is_paused and at_work_for >= decision.plan.pipeline.timeout_ms:
        decision.stop("the run's time was over", verdict=StageState.TIMED_OUT)


def _end(decision: Decision) -> None:
    """Conclude a run in which every stage has a verdict and no device is left."""
    run = decision.run
    is_open = run.state in {RunState.RUNNING, RunState.TERMINATING}
    is_awaited = any(isinstance(effect, Discharge) for effect in decision.effects)
    if not is_open or is_awaited or not all(stage.is_over for stage in run.stages):
        return
    decision.run = run = run_changed(thawed(run, decision.now), state=_end_state(run), pause_reasons=())
    decision.effects += dry_runs.summary(decision.plan.pipeline, run)
    decision.effects += [Note(kind=run.state.value, text=run.reason), Conclude()]
    if run.rollback is not None:
        decision.effects.append(RollBack())


def _end_state(run: Run) -> RunState:
    if run.state is RunState.TERMINATING:
        return RunState.TERMINATED
    verdicts = {stage.state for stage in run.stages}
    if StageState.FAILED in verdicts:
        return RunState.FAILED
    return RunState.TIMED_OUT if StageState.TIMED_OUT in verdicts else RunState.SUCCEEDED
