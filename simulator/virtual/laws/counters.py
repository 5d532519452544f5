"""Invariant 10: the eight counters of a stage sum to its targets, and each is what the rows say."""

from controller.app.records import RunRecord
from controller.domain.target import TargetState
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit


class CountersAddUp(Law):
    """A stage's counters are the numbers of its rows in each state."""

    number = 10

    def committed(self, commit: Commit) -> Complaints:
        """Compare the counters of every run that the commit touched with the rows."""
        touched = {row.run_id for _, row in commit.targets} | {run.id for _, run in commit.runs}
        for run_id in sorted(touched):
            yield from self._judge(self.picture.runs[run_id])

    def _judge(self, run: RunRecord) -> Complaints:
        for index, stage in enumerate(run.run.stages):
            rows = self.picture.counts[run.id, index]
            for state in TargetState:
                shown = getattr(stage.tally, state.value)
                if shown != rows[state]:
                    yield f"stage {index} of run {run.uid} counts {shown} {state}, and {rows[state]} rows are"
