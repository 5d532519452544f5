"""What a stage makes of its control group: updated devices that crash more stop it, and who was held back is released.

A comparison ends as its stage passes: then nobody is left to compare with.
"""

from controller.domain import control
from controller.domain.events import Discharge, Note
from controller.domain.gates import judgement
from controller.domain.pipeline import OnBreach
from controller.domain.settle.decision import Decision
from controller.domain.settle.reasons import crashes_of
from controller.domain.states import StageState


def judge(decision: Decision, index: int) -> None:
    """Do what the gate of an open stage says if its updated devices crash more than those that are held back."""
    stage, at_work = decision.stage(index)
    group, reason = at_work.control, crashes_of(stage.name)
    if group is None or at_work.state.is_verdict or reason in decision.run.pause_reasons:
        return
    alpha = judgement.control_alpha_of(decision.plan.pipeline, index)
    is_told = stage.gate.on_breach is OnBreach.ALERT and group.breach is not None
    if is_told or not control.is_breached(group, alpha=alpha):
        return
    decision.change(index, control=control.breached(group, alpha=alpha, now=decision.now))
    found = control.said(group, alpha=alpha)
    if stage.gate.on_breach is OnBreach.ALERT:
        decision.effects.append(Note(kind="crashes", stage=stage.name, evidence=found))
    elif stage.gate.on_breach is OnBreach.PAUSE:
        decision.pause(reason, evidence=found)
    else:
        decision.verdict(index, StageState.FAILED, found)


def discharge(decision: Decision, index: int) -> bool:
    """Let the control devices of a stage that has passed join its tail, those at work once that has ended.

    Say whether any does: then nothing else is said of the tail before it has them.
    """
    if decision.run.is_stopped or not decision.run.stages[index].may_discharge:
        return False
    decision.effects.append(Discharge(stage=index))
    return True
