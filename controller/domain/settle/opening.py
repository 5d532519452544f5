"""Opening a stage: once what it needs is met, its delay is over, and whoever promotes it has."""

from controller.domain import condition as conditions
from controller.domain.events import Freeze, Note
from controller.domain.pipeline import OnFailure, Trigger
from controller.domain.settle.decision import Decision
from controller.domain.settle.reasons import NOBODY_LEFT
from controller.domain.states import STOPS, StageState
from protocol.ids import StageName


def blocked(decision: Decision, index: int) -> None:
    """Open a stage that waits for others once they are met, or say that they no longer can be."""
    stage, at_work = decision.stage(index)
    if decision.run.is_paused:
        return
    needs = [_need(decision, name) for name in stage.needs]
    if False in needs:
        decision.verdict(index, StageState.CANCELLED, "what it needs was not met")
    elif None not in needs and decision.plan.is_without_devices(stage.name):
        decision.verdict(index, StageState.SKIPPED, NOBODY_LEFT)
    elif None not in needs:
        met_at = decision.now if at_work.met_at is None else at_work.met_at
        decision.change(index, met_at=met_at)
        if decision.now >= met_at + stage.delay_ms and decision.may_open:
            _trigger(decision, index)


def promoted(decision: Decision, index: int) -> None:
    """Open a stage that waits for people once they have promoted it."""
    if decision.run.stages[index].is_promoted and decision.may_open:
        _open(decision, index)


def _need(decision: Decision, name: StageName) -> bool | None:
    """Say whether a needed stage is met, can no longer be, or (None) is not decided."""
    index = decision.index_of[name]
    state = decision.run.stages[index].state
    goes_on = decision.plan.pipeline.stages[index].on_failure is OnFailure.CONTINUE
    if state in {StageState.PASSED, StageState.SKIPPED} or (state is StageState.FAILED and goes_on):
        return True
    return False if state in STOPS else None


def _trigger(decision: Decision, index: int) -> None:
    stage = decision.plan.pipeline.stages[index]
    if stage.trigger is Trigger.AUTOMATIC:
        _open(decision, index)
        return
    decision.effects.append(Note(kind="awaiting_promotion", stage=stage.name))
    decision.change(index, state=StageState.AWAITING_PROMOTION)


def _open(decision: Decision, index: int) -> None:
    """Open a stage, unless its condition does not hold."""
    stage = decision.plan.pipeline.stages[index]
    if stage.when:
        counts = {name: _counts(decision, name) for name in stage.needs}
        told = {name: decision.run.stages[decision.index_of[name]].outputs for name in stage.needs}
        judgement = conditions.judge(stage.when, counts, told)
        if not judgement.holds:
            decision.verdict(index, StageState.SKIPPED, f"condition: {judgement.numbers}")
            return
    opened = {"state": StageState.ROLLING_OUT, "opened_at": decision.now, "frozen_ms": decision.run.frozen_ms}
    decision.change(index, **opened)
    decision.effects += [Note(kind="opened", stage=stage.name), Freeze(stage=index)]


def _counts(decision: Decision, name: StageName) -> conditions.Counts:
    tally = decision.run.stages[decision.index_of[name]].tally
    return {state: getattr(tally, state) for state in conditions.STATES}
