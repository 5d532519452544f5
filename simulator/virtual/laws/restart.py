"""Invariant 13: after a kill at any instant the database holds what was committed, and nothing else."""

from controller.app.repositories import Transaction
from simulator.virtual.laws.law import Complaints, Law

ROWS_MAX = 1_000


class RestartsWhereItWas(Law):
    """What a new life finds is what was committed before the death, row by row."""

    number = 13

    def restarted(self, tx: Transaction) -> Complaints:
        """Compare every run and every row with what was seen to be committed."""
        for run in self.picture.runs.values():
            if tx.runs.get(run.id).run != run.run:
                yield f"run {run.uid} is found otherwise than it was committed"
            for row in tx.targets.page(run.id, stage=None, state=None, after=0, limit=ROWS_MAX):
                committed = self.picture.targets.get(row.id)
                if committed is None or committed.target != row.target:
                    yield f"{row.name} is found {row.target.state}, and was committed otherwise"
