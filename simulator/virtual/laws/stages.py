"""Invariants 6 and 7: a stage opens, passes and stops as the plan says. The rules are our own, and read the rows."""

from collections.abc import Iterator, Sequence
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Gate, OnBreach, OnFailure, Stage, Trigger
from controller.domain.target import Target
from simulator.virtual.laws.law import Asked, Complaints, Law
from simulator.virtual.laws.limits import is_counted, is_crossed
from simulator.virtual.laws.models import rest
from simulator.virtual.picture import Commit, Picture

_SHUT: Final = frozenset({"blocked", "cancelled", "timed_out"})
_OPEN: Final = frozenset({"rolling_out", "soaking", "passed"})
"""A stage that has passed may have a tail."""


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

    def committed(self, commit: Commit) -> Complaints:
        """Judge every stage of the runs that were written."""
        for before, run in commit.runs:
            for index, stage in enumerate(run.plan.pipeline.stages):
                was = "blocked" if before is None else before.run.stages[index].state
                if run.run.stages[index].state != was and stage.gate.proof is None:
                    yield from self._decided(commit, before, run, index)
                yield from self._judge(run, index, stage.gate)

    def _decided(self, commit: Commit, before: RunRecord | None, run: RunRecord, index: int) -> Iterator[str]:
        """Judge who has succeeded of those that count; whom a person readmits in a soak counted as none before it.

        What the same commit quarantines may have counted yet, and who joins the tail after the verdict counts not. At
        the end of a soak only harm that was told since can take away what it began with, or that nobody is left.
        """
        late = {row.id for was, row in commit.targets if was is not None and was.target.is_control}
        now = run.run.stages[index]
        rows = [row for row in self.picture.rows[run.id, index].values() if row.id not in late]
        percent = run.plan.pipeline.stages[index].gate.success_percent
        sides = [rest(run, index, rows), rows if before is None else rest(before, index, rows)]
        has_soaked = before is not None and before.run.stages[index].state == "soaking"
        targets = [row.target for side in sides for row in side if is_counted(row.target)]
        is_as_before = has_soaked and targets != [] and not any(map(_is_counted_out, targets))
        is_good = is_as_before or any(_is_enough(side, percent) for side in sides)
        if now.state in {"soaking", "passed"} and not is_good:
            yield f"stage {index} of run {run.uid} is {now.state} without {percent} % of successes"

    def _judge(self, run: RunRecord, index: int, gate: Gate) -> Iterator[str]:
        now, rows = run.run.stages[index], list(self.picture.rows[run.id, index].values())
        goes_on = now.state in _OPEN and run.run.state == "running" and not run.run.reason
        if not goes_on or not is_crossed(run, index, rows, accepted=now.accepted):
            return
        if gate.on_breach is OnBreach.ALERT and now.breach is None:
            yield f"the gate of stage {index} of run {run.uid} is breached, and nobody is told"
        elif gate.on_breach is not OnBreach.ALERT and not run.run.is_paused:
            yield f"stage {index} of run {run.uid} goes on beyond its limit of failures"


def _is_enough(rows: Sequence[TargetRecord], percent: float) -> bool:
    """Say whether so many have succeeded; at 0 % the commit in which it passed may then have called everybody back."""
    counted = [row for row in rows if is_counted(row.target)]
    succeeded = sum(row.target.state == "succeeded" and not _is_counted_out(row.target) for row in counted)
    return succeeded * 100 >= percent * len(counted) and (bool(counted) or percent == 0)


def _is_counted_out(target: Target) -> bool:
    """Say whether a device told of harm that is not only compared, or fell silent."""
    return (target.is_unwell and not target.is_compared) or target.is_silent
