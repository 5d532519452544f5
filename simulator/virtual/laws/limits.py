"""What laws know of gates: who counts, what a test makes of it by our own arithmetic, and who has let a run go on.

Nothing of it is asked of the code that it judges.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import floor
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Denominator, FailureLimit
from controller.domain.target import Target
from simulator.virtual.laws.law import Asked
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
    """Say whether the devices of a stage have failed beyond what its gate allows, and a person has accepted."""
    blamed = sum(row.target.is_blamed for row in rows)
    if blamed <= accepted:
        return False
    exposed = sum(is_exposed(row.target) for row in rows)
    limit = run.plan.pipeline.stages[index].gate.failures
    is_over = limit is not None and _is_over(limit, blamed, rows)
    return is_over or _is_refuted(run, index, blamed, exposed)


def _is_over(limit: FailureLimit, blamed: int, rows: Sequence[TargetRecord]) -> bool:
    if limit.count is not None:
        return blamed > limit.count
    assert limit.percent is not None
    counted = [row for row in rows if is_counted(row.target)]
    sample = max(_of(limit.of, counted), min(limit.min_sample, len(counted)))
    return blamed > floor(limit.percent * sample / 100 + ROUNDING)


def _is_refuted(run: RunRecord, index: int, blamed: int, exposed: int) -> bool:
    """Say whether the mean of the likelihood ratios is at the inverse of the stage's part of alpha."""
    test = run.plan.pipeline.stages[index].gate.sequential
    if test is None:
        return False
    rate = test.above / 100
    ratios = [odds**blamed / (1 + (odds - 1) * rate) ** exposed for odds in _ODDS]
    return sum(ratios) / len(ratios) * _alpha(run, index) >= 1 - ROUNDING


def _alpha(run: RunRecord, index: int) -> float:
    tests = [stage.gate.sequential for stage in run.plan.pipeline.stages if stage.gate.sequential is not None]
    named = [test.alpha_percent for test in tests if test.alpha_percent is not None]
    own = run.plan.pipeline.stages[index].gate.sequential
    assert own is not None
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


class Overrides:
    """Who has asked to let which run go on over what its own rules hold."""

    def __init__(self) -> None:
        self._open: dict[int, str] = {}
        self._runs: set[str] = set()

    def asked(self, asked: Asked) -> None:
        """Take note of what somebody asks for."""
        if asked.is_override:
            self._open[asked.number] = asked.subject
            self._runs.add(asked.subject)

    def answered(self, asked: Asked) -> None:
        """Take note that nothing more will come of it."""
        self._open.pop(asked.number, None)

    def held(self, run: str) -> None:
        """Forget those who asked before a run was held, but for those whose act may be under way."""
        if run not in self._open.values():
            self._runs.discard(run)

    def of(self, run: str) -> bool:
        """Say whether somebody has asked since."""
        return run in self._runs
