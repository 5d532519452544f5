"""Invariants 6 and 7: a stage opens, passes and stops as the plan says. The rules are our own, and read the rows."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Denominator, FailureLimit, Gate, OnBreach, OnFailure, Stage, Trigger
from simulator.virtual.laws.law import Asked, Complaints, Law
from simulator.virtual.picture import Commit, Picture

_SHUT: Final = frozenset({"blocked", "cancelled", "timed_out"})
_OPEN: Final = frozenset({"rolling_out", "soaking"})
_ODDS: Final = (1.5, 2, 3, 4, 6, 9, 14, 22, 35, 60, 120, 400)
_UNCOUNTED: Final = frozenset({"rejected", "removed", "cancelled"})


class StagesOpenInOrder(Law):
    """A stage leaves `blocked` when what it needs is met, and a manual one begins when somebody has promoted it."""

    number = 6

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._promoted: set[str] = set()

    def asked(self, asked: Asked) -> Complaints:
        """Take note of what somebody wants promoted."""
        if asked.act == "promote":
            self._promoted.add(asked.subject)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every stage that was opened."""
        for before, run in commit.runs:
            for index, (stage, now) in enumerate(zip(run.plan.pipeline.stages, run.run.stages, strict=True)):
                was = "blocked" if before is None else before.run.stages[index].state
                is_passed_over = now.state == "skipped" and now.opened_at is None
                if was == "blocked" and now.state not in _SHUT and not is_passed_over:
                    yield from self._unmet(run, stage)
                is_begun = was in {"blocked", "awaiting_promotion"} and now.opened_at is not None
                if is_begun and stage.trigger is Trigger.MANUAL and f"{run.uid}/{stage.name}" not in self._promoted:
                    yield f"stage {stage.name} of run {run.uid} was opened, and nobody has promoted it"

    def _unmet(self, run: RunRecord, stage: Stage) -> Iterator[str]:
        plans = {one.name: (one, state) for one, state in zip(run.plan.pipeline.stages, run.run.stages, strict=True)}
        for need in stage.needs:
            plan, needed = plans[need]
            is_let_off = needed.state == "failed" and plan.on_failure is OnFailure.CONTINUE
            if needed.state not in {"passed", "skipped"} and not is_let_off:
                yield f"stage {stage.name} of run {run.uid} was opened while {need}, which it needs, is {needed.state}"


class GatesHold(Law):
    """A stage passes with enough successes only, and does not go on beyond its limit of failures."""

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._rows: dict[tuple[int, int], dict[int, TargetRecord]] = defaultdict(dict)

    def committed(self, commit: Commit) -> Complaints:
        """Judge every stage of the runs that were written."""
        for _, row in commit.targets:
            self._rows[row.run_id, row.stage][row.id] = row
        for before, run in commit.runs:
            for index, stage in enumerate(run.plan.pipeline.stages):
                was = "blocked" if before is None else before.run.stages[index].state
                yield from self._judge(run, index, stage.gate, was)

    def _judge(self, run: RunRecord, index: int, gate: Gate, was: str) -> Iterator[str]:
        now, rows = run.run.stages[index], list(self._rows[run.id, index].values())
        counted = [row for row in rows if row.target.state not in _UNCOUNTED]
        succeeded = sum(row.target.state == "succeeded" for row in counted)
        is_decided = now.state != was and now.state in {"soaking", "passed"}
        # At 0 % the stage may have passed with devices that this very commit then called back.
        is_empty = not counted and gate.success_percent > 0
        if is_decided and (is_empty or succeeded * 100 < gate.success_percent * len(counted)):
            yield f"stage {index} of run {run.uid} is {now.state} with {succeeded} of {len(counted)} successes"
        goes_on = now.state in _OPEN and run.run.state == "running" and not run.run.is_paused
        is_enforced = gate.on_breach is not OnBreach.ALERT
        if goes_on and is_enforced and self._is_breached(run, index, rows):
            yield f"stage {index} of run {run.uid} goes on beyond its limit of failures"
        if not is_enforced and now.breach is None and self._is_breached(run, index, rows):
            yield f"the gate of stage {index} of run {run.uid} is breached, and nobody is told"

    def _is_breached(self, run: RunRecord, index: int, rows: list[TargetRecord]) -> bool:
        gate, now = run.plan.pipeline.stages[index].gate, run.run.stages[index]
        blamed = sum(row.target.is_blamed for row in rows)
        if blamed <= now.accepted:
            return False
        exposed = sum(
            row.target.is_started and (row.target.is_blamed or row.target.state != "rejected") for row in rows
        )
        is_over = gate.failures is not None and _is_over(gate.failures, blamed, rows)
        return is_over or _is_refuted(run, index, blamed, exposed)


def _is_over(limit: FailureLimit, blamed: int, rows: list[TargetRecord]) -> bool:
    if limit.count is not None:
        return blamed > limit.count
    assert limit.percent is not None
    counted = [row for row in rows if row.target.state not in _UNCOUNTED]
    sample = max(_of(limit.of, counted), min(limit.min_sample, len(counted)))
    return blamed * 100 > limit.percent * sample + 1e-6


def _is_refuted(run: RunRecord, index: int, blamed: int, exposed: int) -> bool:
    """Say whether the mean of the likelihood ratios is at the inverse of the stage's part of alpha."""
    test = run.plan.pipeline.stages[index].gate.sequential
    if test is None:
        return False
    rate = test.above / 100
    ratios = [odds**blamed / (1 + (odds - 1) * rate) ** exposed for odds in _ODDS]
    return sum(ratios) / len(ratios) * _alpha(run, index) >= 1 + 1e-9


def _alpha(run: RunRecord, index: int) -> float:
    tests = [stage.gate.sequential for stage in run.plan.pipeline.stages if stage.gate.sequential is not None]
    named = [test.alpha_percent for test in tests if test.alpha_percent is not None]
    own = run.plan.pipeline.stages[index].gate.sequential
    assert own is not None
    if own.alpha_percent is not None:
        return own.alpha_percent / 100
    return (run.plan.pipeline.alpha_percent - sum(named)) / (len(tests) - len(named)) / 100


def _of(denominator: Denominator, counted: list[TargetRecord]) -> int:
    match denominator:
        case Denominator.TARGETS:
            return len(counted)
        case Denominator.SENT:
            return sum(row.target.state != "queued" for row in counted)
        case Denominator.STARTED:
            return sum(row.target.is_started for row in counted)
        case Denominator.FINISHED:
            return sum(row.target.state in {"succeeded", "failed", "timed_out"} for row in counted)
