"""What a run does about the checks of an open stage: their questions, and what their verdicts mean for it."""

from controller.domain import checking
from controller.domain.events import Ask, Note
from controller.domain.gates import checks
from controller.domain.gates.checks import Check, Verdict
from controller.domain.pipeline import OnBreach
from controller.domain.settle.decision import Decision
from controller.domain.states import StageState


def look(decision: Decision, index: int) -> None:
    """Ask the checks of an open stage that are due, and do what has come of the others."""
    stage, at_work = decision.stage(index)
    if not stage.gate.checks or at_work.state.is_verdict or not at_work.tally.targets:
        return
    at_work = decision.change(index, checks=checking.went_on(stage, at_work, decision.now))
    for check, verdict in checking.changed_verdicts(stage, at_work, decision.now):
        decision.change(index, checks=checking.with_told(decision.run.stages[index], check.name, verdict))
        _tell(decision, index, check, verdict)
    _ask(decision, index)


def _tell(decision: Decision, index: int, check: Check, verdict: Verdict) -> None:
    """Do what the new verdict of a check says, and of one on trial only tell it."""
    stage, at_work = decision.stage(index)
    if verdict is Verdict.PASS or (check.dry_run and verdict is not Verdict.WAIT):
        _note(decision, index, check, verdict)
    elif verdict is Verdict.FAIL:
        _breach(decision, index, check)
    elif verdict is Verdict.NO_DATA:
        found = checks.found(check, at_work.checks[check.name])
        decision.pause(checking.no_data_of(stage.name, check.name), evidence=found)


def _breach(decision: Decision, index: int, check: Check) -> None:
    """Keep the failure of a check, and do what the gate says of breaches; answers come one by one."""
    stage, at_work = decision.stage(index)
    found = checks.found(check, at_work.checks[check.name])
    failed = checks.breached(at_work.checks[check.name], found, decision.now)
    decision.change(index, checks=checking.with_check(at_work, check.name, failed))
    if stage.gate.on_breach is OnBreach.ALERT:
        _note(decision, index, check, Verdict.FAIL)
    elif stage.gate.on_breach is OnBreach.PAUSE:
        decision.pause(checking.failure_of(stage.name, check.name), evidence=found)
    else:
        decision.verdict(index, StageState.FAILED, f"check {check.name}: {found}")


def _note(decision: Decision, index: int, check: Check, verdict: Verdict) -> None:
    """Tell a verdict that does nothing else."""
    stage, at_work = decision.stage(index)
    text = f"{check.name} (dry run)" if check.dry_run else check.name
    found = checks.found(check, at_work.checks[check.name])
    decision.effects.append(Note(kind=f"check_{verdict.value}", stage=stage.name, text=text, evidence=found))


def _ask(decision: Decision, index: int) -> None:
    stage, at_work = decision.stage(index)
    if decision.run.is_paused or at_work.state.is_verdict:
        return
    for check in checking.askable(stage, at_work, decision.now):
        asked = checks.asked(check, at_work.checks[check.name], decision.now)
        at_work = decision.change(index, checks=checking.with_check(at_work, check.name, asked))
        decision.effects.append(Ask(stage=index, check=check.name, sequence=asked.sequence))
