"""Invariant 9: states change along the tables, ends absorb, a job has one active run. The tables are our own copy."""

from collections.abc import Iterator, Mapping
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit

_RUN_ENDS: Final = {"succeeded", "failed", "terminated", "timed_out"}
_RUN: Final[Mapping[str, set[str]]] = {
    "pending": {"running"},
    "running": {"terminating", "succeeded", "failed", "timed_out"},
    "terminating": {"terminated"},
}
_STAGE: Final[Mapping[str, set[str]]] = {
    "blocked": {"awaiting_promotion", "rolling_out", "skipped", "cancelled", "timed_out"},
    "awaiting_promotion": {"rolling_out", "skipped", "cancelled", "timed_out"},
    "rolling_out": {"soaking", "passed", "skipped", "failed", "cancelled", "timed_out"},
    "soaking": {"passed", "skipped", "failed", "cancelled", "timed_out"},
}
_TARGET: Final[Mapping[str, set[str]]] = {
    "queued": {"in_progress", "failed", "cancelled", "timed_out", "removed"},
    "in_progress": {"queued", "succeeded", "failed", "rejected", "timed_out", "cancelled", "removed"},
}


class StatesFollowTables(Law):
    """No state is skipped, and none is left once it is an end."""

    number = 9

    def committed(self, commit: Commit) -> Complaints:
        """Judge every change of state."""
        for before, row in commit.targets:
            if before is not None:
                yield from self._target(before, row)
        for run_before, run in commit.runs:
            if run_before is not None:
                yield from self._run(run_before, run)
        for _, run in commit.runs:
            yield from self._sole(run)

    def _target(self, before: TargetRecord, row: TargetRecord) -> Iterator[str]:
        old, new = before.target.state, row.target.state
        if before.target.is_control and not row.target.is_control:
            return  # who was held back begins anew, which is a law of its own
        if before.target.is_control and new == "removed":
            return  # it would have been updated after its end
        if old is not new and new not in _TARGET.get(old, ()):
            yield f"{row.name} goes from {old} to {new}"
        if old not in _TARGET and (before.target.reason, before.target.left) != (row.target.reason, row.target.left):
            yield f"{row.name} had ended as {old}, and its end was written again"

    def _run(self, before: RunRecord, run: RunRecord) -> Iterator[str]:
        old, new = before.run.state, run.run.state
        if old is not new and not _leads(_RUN, old, new):
            yield f"run {run.uid} goes from {old} to {new}"
        for index, (was, now) in enumerate(zip(before.run.stages, run.run.stages, strict=True)):
            if was.state is not now.state and not _leads(_STAGE, was.state, now.state):
                yield f"stage {index} of run {run.uid} goes from {was.state} to {now.state}"

    def _sole(self, run: RunRecord) -> Iterator[str]:
        active = [
            other.uid
            for other in self.picture.runs.values()
            if other.job_id == run.job_id and other.run.state not in _RUN_ENDS
        ]
        if len(active) > 1:
            yield f"job {run.job} has {len(active)} active runs: {', '.join(active)}"


def _leads(table: Mapping[str, set[str]], old: str, new: str) -> bool:
    """Say whether *new* can be reached from *old*: one transaction may take several steps."""
    seen, reached = {old}, set(table.get(old, ()))
    while not reached <= seen:
        seen |= reached
        reached = {after for state in reached for after in table.get(state, ())}
    return new in seen
