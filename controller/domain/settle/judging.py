"""The verdict on a stage, from how many of its devices succeeded and how long it has been open."""

from typing import Final

from controller.domain import checking, waves
from controller.domain.counters import Tally
from controller.domain.events import Note
from controller.domain.gates import judgement
from controller.domain.model import StageRun
from controller.domain.pipeline import Gate
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
    if _is_success(stage.gate, at_work, rest, is_late=is_settled or may_leave_tail):
        _succeed(decision, index)
    elif is_settled and rest.targets == 0 and not any(one.breach for one in at_work.models.values()):
        decision.verdict(index, StageState.SKIPPED, ALL_QUARANTINED)
    elif is_settled:
        decision.verdict(index, StageState.FAILED, _shortfall(stage.gate, at_work, rest))
    elif is_overdue:
        decision.verdict(index, StageState.TIMED_OUT, "the stage's time was over")


def _is_success(gate: Gate, at_work: StageRun, rest: Tally, *, is_late: bool) -> bool:
    """Say whether enough is known to pass: a proof at any time, or, where it *is_late* enough, the share."""
    if gate.proof is not None:
        return waves.is_proved(waves.shown(gate.proof, at_work.waves, rest), gate.proof)
    return is_late and judgement.is_success(gate, rest)


def _shortfall(gate: Gate, at_work: StageRun, rest: Tally) -> str:
    if gate.proof is not None:
        said = waves.said(waves.shown(gate.proof, at_work.waves, rest), gate.proof)
        return f"not proved: {said}"
    return _share(rest, gate)


def _share(tally: Tally, gate: Gate) -> str:
    """Return how many devices succeeded, and how many should have.

    >>> _share(Tally(succeeded=9, failed=1), Gate(success_percent=95)), _share(Tally(succeeded=9, unwell=2), Gate())
    ('9 of 10 succeeded, 95 % needed', '7 of 9 succeeded and stayed well, 90 % needed')
    """
    words = "succeeded and stayed well" if tally.unwell else "succeeded"
    return f"{tally.well} of {tally.counted} {words}, {gate.success_percent:g} % needed"


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
    """Pass a stage whose soak is over once all its checks do; they may take as long as the stage itself.

    The success that began the soak must hold without the devices that are unwell, or quarantined since. Those whom a
    person has readmitted since, and who were called off, take no success away.
    """
    stage, at_work = decision.stage(index)
    rest = decision.excepted(index).rest(at_work.tally)
    over_for = decision.now - (at_work.soak_at or 0) - stage.gate.soak_ms
    if over_for < 0:
        return
    if (rest.unwell or not rest.counted) and not _is_success(stage.gate, at_work, rest, is_late=True):
        decision.verdict(index, StageState.FAILED, _shortfall(stage.gate, at_work, rest))
    elif checking.has_passed(stage, at_work, decision.now):
        decision.verdict(index, StageState.PASSED, "")
    elif over_for >= stage.timeouts.stage_ms:
        decision.verdict(index, StageState.TIMED_OUT, "its checks had not passed in time")
    else:
        decision.change(index, is_soaked=True)
