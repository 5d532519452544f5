"""The verdict on a stage, from how many of its devices succeeded and how long it has been open."""

from typing import Final

from controller.domain.events import Note
from controller.domain.gates import judgement
from controller.domain.rerun import Unfit
from controller.domain.settle.decision import Decision
from controller.domain.settle.reasons import NOBODY_LEFT
from controller.domain.states import StageState

ALL_QUARANTINED: Final = "its devices are of models that are quarantined in this run"


def judge(decision: Decision, index: int) -> None:
    """Give an open stage that nothing holds the verdict that it has come to, if any."""
    stage, at_work = decision.stage(index)
    if at_work.tally.targets == 0:
        _empty(decision, index)
    elif at_work.state is StageState.ROLLING_OUT:
        _rolling_out(decision, index)
    elif decision.now >= (at_work.soak_at or 0) + stage.gate.soak_ms:
        decision.verdict(index, StageState.PASSED, "")


def _empty(decision: Decision, index: int) -> None:
    """Judge a stage that no device belongs to; over an earlier run nobody need be left to belong to it."""
    stage, at_work = decision.stage(index)
    if decision.plan.source is not None:
        decision.verdict(index, StageState.SKIPPED, NOBODY_LEFT)
    elif any(one.reason is Unfit.QUARANTINED for one in at_work.left_out):
        decision.verdict(index, StageState.SKIPPED, ALL_QUARANTINED)
    else:
        verdict = StageState.SKIPPED if stage.allow_empty else StageState.FAILED
        decision.verdict(index, verdict, "no device matched")


def _rolling_out(decision: Decision, index: int) -> None:
    stage, at_work = decision.stage(index)
    open_for = decision.run.open_for(index, decision.now)
    is_overdue = open_for >= stage.timeouts.stage_ms
    straggler = stage.gate.straggler_after_ms
    may_leave_tail = is_overdue or (straggler is not None and open_for >= straggler)
    is_settled, rest = at_work.tally.is_settled, decision.excepted(index).rest(at_work.tally)
    if judgement.is_success(stage.gate, rest) and (is_settled or may_leave_tail):
        _succeed(decision, index)
    elif is_settled and rest.targets == 0 and not any(one.breach for one in at_work.models.values()):
        decision.verdict(index, StageState.SKIPPED, ALL_QUARANTINED)
    elif is_settled:
        share = f"{rest.succeeded} of {rest.counted} succeeded"
        decision.verdict(index, StageState.FAILED, f"{share}, {stage.gate.success_percent:g} % needed")
    elif is_overdue:
        decision.verdict(index, StageState.TIMED_OUT, "the stage's time was over")


def _succeed(decision: Decision, index: int) -> None:
    stage = decision.plan.pipeline.stages[index]
    if stage.gate.soak_ms == 0:
        decision.verdict(index, StageState.PASSED, "")
        return
    decision.effects.append(Note(kind="soaking", stage=stage.name))
    decision.change(index, state=StageState.SOAKING, soak_at=decision.now)
