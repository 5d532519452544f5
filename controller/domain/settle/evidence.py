"""What the gate of an open stage makes of the failures there are: of each model, of all together, of a ramp."""

from controller.domain import dry_runs, quarantine, ramping
from controller.domain.course import is_beginning, is_turn, seen
from controller.domain.events import Keep, Note
from controller.domain.gates import judgement
from controller.domain.model import Breach
from controller.domain.pipeline import OnBreach
from controller.domain.settle.decision import Decision
from controller.domain.settle.reasons import breach_of, hold_of
from controller.domain.settle.releases import OPEN
from controller.domain.states import StageState
from controller.domain.wording import counted


def models(decision: Decision, index: int) -> None:
    """Quarantine models of an open stage that fail too often, and call off whom a quarantine leaves queued."""
    at_work = decision.run.stages[index]
    if decision.run.is_stopped or at_work.state not in OPEN or not at_work.is_frozen:
        return
    for model in quarantine.refuted(decision.plan, decision.run, index):
        _quarantine(decision, index, model)
    if decision.out.stages and not decision.run.stages[index].is_recalled:
        decision.call_off(index, quarantine.waiting(decision.run.stages[index], decision.out))


def _quarantine(decision: Decision, index: int, model: str) -> None:
    """Keep a model out of the run from now on; what its devices have not accepted is called back, in all stages."""
    decision.run = quarantine.quarantined(decision.plan, decision.run, index, model=model, now=decision.now)
    decision.out = quarantine.barred(decision.run)
    stage, at_work = decision.stage(index)
    latched = at_work.models[model].breach
    assert latched is not None
    text, evidence = quarantine.said(model), latched.evidence
    decision.effects.append(Note(kind="quarantined", stage=stage.name, text=text, evidence=evidence))
    for other, at_work in enumerate(decision.run.stages):
        if at_work.is_frozen and not at_work.is_over:
            decision.call_off(other, quarantine.kept_out(at_work, decision.out, model))


def is_breached(decision: Decision, index: int) -> bool:
    """Say whether failures are too many; a breach that is only told is told once."""
    _look(decision, index)
    stage, at_work = decision.stage(index)
    if stage.gate.on_breach is OnBreach.ALERT and at_work.breach is not None:
        return False
    return judgement.is_breached(
        decision.plan.pipeline, index, at_work.tally, accepted=at_work.accepted, excepted=decision.excepted(index)
    )


def _look(decision: Decision, index: int) -> None:
    """Keep what the gate of a stage sees, if it turns anything; twice in one settling is once."""
    at_work, before = decision.run.stages[index], decision.unseen.pop(index, None)
    is_other = decision.out != decision.was_out and at_work.tally.blamed > 0
    if before is not None and (is_other or is_beginning(before, at_work.tally) or is_turn(before, at_work.tally)):
        moment = seen(at_work.tally, decision.excepted(index), at=decision.now, accepted=at_work.accepted)
        decision.effects.append(Keep(stage=index, moment=moment))
        decision.run, notes = dry_runs.look(decision.plan.pipeline, decision.run, index, moment)
        decision.effects += notes


def breach(decision: Decision, index: int, *, is_tail: bool = False) -> None:
    """Keep what the gate knows, and do what it says; a stage that has its verdict can only hold the run."""
    stage, at_work = decision.stage(index)
    pipeline, excepted = decision.plan.pipeline, decision.excepted(index)
    reading = judgement.read(pipeline, index, at_work.tally, excepted, accepted=at_work.accepted)
    evidence = str(reading)
    latched = Breach(at=decision.now, failed=reading.failed, exposed=reading.exposed, evidence=evidence)
    if breach_of(stage.name) not in decision.run.pause_reasons:
        decision.change(index, breach=latched)
    if stage.gate.on_breach is OnBreach.ALERT:
        decision.effects.append(Note(kind="breached", stage=stage.name, evidence=evidence))
    elif stage.gate.on_breach is OnBreach.PAUSE or is_tail:
        decision.pause(breach_of(stage.name), evidence=evidence)
    else:
        started = counted(reading.exposed, "started device")
        others = f", and {reading.excepted} of quarantined models" if reading.is_stopped_by_others else ""
        decision.verdict(index, StageState.FAILED, f"{reading.failed} of {started} failed{others}")


def ramp(decision: Decision, index: int) -> None:
    """Begin the next round of a stage that ramps once the last one is over, or hold the run for a person."""
    stage, at_work = decision.stage(index)
    is_held = decision.run.is_paused or decision.run.is_stopped or at_work.is_recalled
    if is_held or not ramping.is_done(at_work):
        return
    at_work = decision.change(index, ramp=ramping.done(at_work, decision.now))
    if decision.now < ramping.due(stage, at_work):
        return
    following = ramping.next_round(stage, at_work)
    if following is None:
        decision.pause(hold_of(stage.name), evidence=ramping.said(stage, at_work))
    else:
        decision.change(index, ramp=following)
