"""A stage that ramps, at work: which round it is in, and how many devices may still begin in it.

What a round may hold is said by `controller.domain.gates.ramp`. A round is over once all its commands were given, no
device of the stage is at work, and the ramp's soak has gone by since. A device of which it is not known how it went
counts as failed by then; one that ended without a word on the build, such as one that could not download it, proves
nothing and counts neither way. Every attempt costs one, retries too, so that never more devices begin than a round
allows.
"""

import msgspec

from controller.domain.gates.ramp import next_batch, risk_of
from controller.domain.model import RampRun, StageRun
from controller.domain.pipeline import Ramp, Stage
from controller.domain.wording import are, counted


def begun(stage: Stage, *, targets: int) -> RampRun | None:
    """Return the first round of a stage with so many devices, or None where it does not ramp."""
    ramp = stage.pace.ramp
    if ramp is None:
        return None
    risk = risk_of(targets) if ramp.risk is None else ramp.risk
    return RampRun(round=1, left=_batch(stage, ramp, exposed=0, failed=0, left=targets, risk=risk), risk=risk)


def issued(ramp: RampRun | None, *, count: int) -> RampRun | None:
    """Return the ramp after so many commands."""
    if ramp is None or not count:
        return ramp
    return msgspec.structs.replace(ramp, left=max(0, ramp.left - count), done_at=None)


def is_done(at_work: StageRun) -> bool:
    """Say whether a round is over, but for its soak, and devices are left for another one."""
    is_spent = at_work.ramp is not None and at_work.ramp.left == 0
    return is_spent and at_work.tally.in_progress == 0 and at_work.tally.queued > 0


def done(at_work: StageRun, now: int) -> RampRun:
    """Return the ramp of a round that is over at run time *now*, or has been for a while."""
    assert at_work.ramp is not None
    return at_work.ramp if at_work.ramp.done_at is not None else msgspec.structs.replace(at_work.ramp, done_at=now)


def due(stage: Stage, at_work: StageRun) -> int:
    """Return the run time at which the round after one that is over may begin."""
    assert stage.pace.ramp is not None
    assert at_work.ramp is not None
    assert at_work.ramp.done_at is not None
    return at_work.ramp.done_at + stage.pace.ramp.soak_ms


def next_round(stage: Stage, at_work: StageRun) -> RampRun | None:
    """Return the round after one that is over, or None where nothing of the risk is left: a person decides."""
    ramp, at = stage.pace.ramp, at_work.ramp
    assert ramp is not None
    assert at is not None
    exposed, failed = _since(at, at_work)
    known = {"exposed": exposed, "failed": failed, "left": at_work.tally.queued}
    left = _batch(stage, ramp, **known, risk=at.risk, spent=at.round)
    return msgspec.structs.replace(at, round=at.round + 1, left=left, done_at=None) if left else None


def accepted(stage: Stage, at_work: StageRun) -> RampRun | None:
    """Return the ramp that a person lets go on: it begins anew, with a risk as large as before.

    What has become of devices is accepted. Those that wait for another attempt belong to the ramp that begins.
    """
    at, ramp = at_work.ramp, stage.pace.ramp
    if at is None or ramp is None:
        return None
    tally = at_work.tally
    return msgspec.structs.replace(
        at,
        round=1,
        left=_batch(stage, ramp, exposed=0, failed=0, left=tally.queued, risk=at.risk),
        done_at=None,
        accepted_exposed=tally.exposed - tally.spared - tally.waiting,
        accepted_failed=tally.blamed + tally.unresolved - tally.waiting,
    )


def said(stage: Stage, at_work: StageRun) -> str:
    """Return where a ramp stands, in words; nothing where the stage does not ramp.

    >>> from controller.domain.counters import Tally
    >>> from controller.domain.pipeline import Pace
    >>> stage = Stage(name="all", pace=Pace(ramp=Ramp()))
    >>> said(stage, StageRun(ramp=RampRun(round=2, left=5, risk=10), tally=Tally(in_progress=12, queued=90)))
    'round 2 of 15: 5 more may begin, 12 are at work; at most 10 failures above 2 % are risked'
    """
    at, ramp, test = at_work.ramp, stage.pace.ramp, stage.gate.sequential
    if at is None or ramp is None or test is None:
        return ""
    going = f"{at.left} more may begin, {at_work.tally.in_progress} {are(at_work.tally.in_progress)} at work"
    risked = f"at most {counted(at.risk, 'failure')} above {test.above:g} % {are(at.risk)} risked"
    return f"round {at.round} of {ramp.rounds}: {going}; {risked}"


def _since(at: RampRun, at_work: StageRun) -> tuple[int, int]:
    """Return how many devices have begun, and how many of them count as failed, since the ramp began."""
    tally = at_work.tally
    exposed = tally.exposed - tally.spared - at.accepted_exposed
    return exposed, min(exposed, max(0, tally.blamed + tally.unresolved - at.accepted_failed))


def _batch(stage: Stage, ramp: Ramp, *, exposed: int, failed: int, left: int, risk: int, spent: int = 0) -> int:
    assert stage.gate.sequential is not None, "validate() demands a sequential test"
    return next_batch(
        exposed,
        failed,
        left=left,
        risk=risk,
        above=stage.gate.sequential.above / 100,
        delta=ramp.delta_percent / 100,
        rounds=ramp.rounds,
        spent=spent,
    )
