"""The verdict on a stage, from how many of its devices succeeded and how long it has been open."""

from typing import Final

from controller.domain import checking
from controller.domain.events import Note
from controller.domain.gates import judgement
from controller.domain.rerun import Unfit
from controller.domain.settle import checks
from controller.domain.settle.decision import Decision
from controller.domain.settle.reasons import NOBODY_LEFT
from controller.domain.states import StageState

ALL_QUARANTINED: Final = "its devices are of models that are quarantined in this run"


def judge(decision: Decision, index: int) -> None:
    """Give an open stage that nothing holds the verdict that it has come to, if any."""
    at_work = decision.run.stages[index]
    if at_work.tally.targets == 0:
        _empty(decision, index)
    elif at_work.state is StageState.ROLLING_OUT:
        _rolling_out(decision, index)
    else:
        _soaking(decision, index)


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
    stage, at_work = decision.stage(index)
    if stage.gate.soak_ms == 0 and checking.has_passed(stage, at_work, decision.now):
        decision.verdict(index, StageState.PASSED, "")
        return
    decision.effects.append(Note(kind="soaking", stage=stage.name))
    decision.change(index, state=StageState.SOAKING, soak_at=decision.now)
    checks.look(decision, index)
    _soaking(decision, index)


def _soaking(decision: Decision, index: int) -> None:
    """Pass a stage whose soak is over once all its checks do; they may take as long as the stage itself."""
    stage, at_work = decision.stage(index)
    over_for = decision.now - (at_work.soak_at or 0) - stage.gate.soak_ms
    if over_for < 0:
        return
    if checking.has_passed(stage, at_work, decision.now):
        decision.verdict(index, StageState.PASSED, "")
    elif over_for >= stage.timeouts.stage_ms:
        decision.verdict(index, StageState.TIMED_OUT, "its checks had not passed in time")
    else:
        decision.change(index, is_soaked=True)
