"""What laws know of gates: who counts, what a test makes of it by our own arithmetic, and who has let a run go on.

Nothing of it is asked of the code that it judges.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import floor
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Control, Denominator, FailureLimit, Metric, Sequential
from controller.domain.target import Target
from simulator.virtual.laws.law import Asked
from simulator.virtual.laws.models import accepted_of_rest, part_of_all, rest
from simulator.virtual.picture import Moved

_ODDS: Final = (1.5, 2, 3, 4, 6, 9, 14, 22, 35, 60, 120, 400)
_UNCOUNTED: Final = frozenset({"rejected", "removed", "cancelled"})
ROUNDING: Final = 1e-9


def is_counted(target: Target) -> bool:
    """Say whether shares count a device."""
    return target.state not in _UNCOUNTED


def is_exposed(target: Target) -> bool:
    """Say whether a device has begun, and not turned the work down before anything came of it."""
    return target.is_started and (target.is_blamed or target.state != "rejected")


def is_known(target: Target) -> bool:
    """Say whether it is known how it went with a device that has begun."""
    is_over = target.state not in {"queued", "in_progress"} and target.reason != "lease_ended"
    return is_exposed(target) and (target.is_blamed or is_over)


def is_proof(target: Target) -> bool:
    """Say whether what became of a device, or is not known to have, counts for or against the build."""
    return is_exposed(target) and (target.is_blamed or target.state == "succeeded" or not is_known(target))


def is_crossed(run: RunRecord, index: int, rows: Sequence[TargetRecord], *, accepted: int) -> bool:
    """Say whether the devices of a stage have failed beyond what its gate allows, and a person has accepted.

    A fixed limit counts all of them, a test those whose model is not quarantined in the run.
    """
    blamed = sum(row.target.is_blamed for row in rows)
    if blamed <= accepted:
        return False
    limit = run.plan.pipeline.stages[index].gate.failures
    if limit is not None and _is_over(limit, blamed, rows):
        return True
    counted = rest(run, index, rows)
    is_accepted = sum(row.target.is_blamed for row in counted) <= accepted_of_rest(run, index, accepted)
    return not is_accepted and is_refuted(run, index, counted, part=part_of_all(run, index))


def _is_over(limit: FailureLimit, blamed: int, rows: Sequence[TargetRecord]) -> bool:
    if limit.count is not None:
        return blamed > limit.count
    assert limit.percent is not None
    counted = [row for row in rows if is_counted(row.target)]
    sample = max(_of(limit.of, counted), min(limit.min_sample, len(counted)))
    return blamed > floor(limit.percent * sample / 100 + ROUNDING)


def is_refuted(run: RunRecord, index: int, rows: Sequence[TargetRecord], *, part: float) -> bool:
    """Say whether the mean of the likelihood ratios is at the inverse of a *part* of the stage's alpha."""
    test = run.plan.pipeline.stages[index].gate.sequential
    if test is None:
        return False
    blamed, exposed, rate = *numbers(rows), test.above / 100
    ratios = [odds**blamed / (1 + (odds - 1) * rate) ** exposed for odds in _ODDS]
    return sum(ratios) / len(ratios) * _alpha(run, index) * part >= 1 - ROUNDING


def numbers(rows: Sequence[TargetRecord]) -> tuple[int, int]:
    """Return how many of these devices have failed by the build's fault, and how many have begun."""
    return sum(row.target.is_blamed for row in rows), sum(is_exposed(row.target) for row in rows)


def _alpha(run: RunRecord, index: int) -> float:
    own = run.plan.pipeline.stages[index].gate.sequential
    assert own is not None
    return share_of(run, own)


def share_of(run: RunRecord, own: Sequential | Control | Metric) -> float:
    """Return the part of alpha that one test of a run has: what it names, or as much as each other that names none."""
    gates = [stage.gate for stage in run.plan.pipeline.stages]
    metrics = [metric for gate in gates if gate.control is not None for metric in gate.control.metrics]
    tests = [test for gate in gates for test in (gate.sequential, gate.control) if test is not None] + metrics
    named = [test.alpha_percent for test in tests if test.alpha_percent is not None]
    if own.alpha_percent is not None:
        return own.alpha_percent / 100
    return (run.plan.pipeline.alpha_percent - sum(named)) / (len(tests) - len(named)) / 100


def _of(denominator: Denominator, counted: Sequence[TargetRecord]) -> int:
    match denominator:
        case Denominator.TARGETS:
            return len(counted)
        case Denominator.SENT:
            return sum(row.target.state != "queued" for row in counted)
        case Denominator.STARTED:
            return sum(row.target.is_started for row in counted)
        case Denominator.FINISHED:
            return sum(row.target.state in {"succeeded", "failed", "timed_out"} for row in counted)


def turns(now: Mapping[int, TargetRecord], moves: Sequence[Moved]) -> Iterator[Sequence[TargetRecord]]:
    """Yield the rows of a stage as they were before a transaction, and after each of its *moves* that led to *now*."""
    rows: dict[int, TargetRecord | None] = dict(now)
    for before, row in reversed(moves):
        rows[row.id] = before
    yield [row for row in rows.values() if row is not None]
    for _, row in moves:
        rows[row.id] = row
        yield [row for row in rows.values() if row is not None]


class Wishes:
    """What somebody has asked one act for: runs, or models in them."""

    def __init__(self) -> None:
        self._open: dict[int, str] = {}
        self._subjects: set[str] = set()

    def asked(self, asked: Asked) -> None:
        """Take note of what somebody asks for."""
        self._open[asked.number] = asked.subject
        self._subjects.add(asked.subject)

    def answered(self, asked: Asked) -> None:
        """Take note that nothing more will come of it."""
        self._open.pop(asked.number, None)

    def held(self, subject: str) -> None:
        """Forget those who asked before it was held, but for those whose act may be under way."""
        if subject not in self._open.values():
            self._subjects.discard(subject)

    def of(self, subject: str) -> bool:
        """Say whether somebody has asked since."""
        return subject in self._subjects


class Overrides(Wishes):
    """Who has asked to let which run go on over what its own rules hold."""

    def asked(self, asked: Asked) -> None:
        """Take note of what somebody asks for."""
        if asked.is_override:
            super().asked(asked)
