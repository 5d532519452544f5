"""Invariants 6 and 7: a stage opens, passes and stops as the plan says. The rules are our own, and read the rows."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.model import StageRun
from controller.domain.pipeline import Denominator, Gate, OnFailure, Stage, Trigger
from simulator.virtual.laws.law import Asked, Complaints, Law
from simulator.virtual.picture import Commit, Picture

_SHUT: Final = frozenset({"blocked", "cancelled", "timed_out"})
_OPEN: Final = frozenset({"rolling_out", "soaking"})
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
        if goes_on and self._is_breached(gate, now, rows):
            yield f"stage {index} of run {run.uid} goes on beyond its limit of failures"

    def _is_breached(self, gate: Gate, now: StageRun, rows: list[TargetRecord]) -> bool:
        blamed = sum(row.target.is_blamed for row in rows)
        if gate.failures.count is not None:
            return blamed > max(gate.failures.count, now.accepted)
        assert gate.failures.percent is not None
        counted = [row for row in rows if row.target.state not in _UNCOUNTED]
        sample = max(_of(gate.failures.of, counted), min(gate.failures.min_sample, len(counted)))
        return blamed > now.accepted and blamed * 100 > gate.failures.percent * sample + 1e-6


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
