"""Invariant 10: the eight counters of a stage, and what its gate counts, are what the rows say."""

from collections import defaultdict

from controller.app.records import RunRecord, TargetRecord
from controller.domain.target import TargetState
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.laws.limits import is_exposed, is_known, is_proof, numbers
from simulator.virtual.laws.models import name_of
from simulator.virtual.picture import Commit, Picture


class CountersAddUp(Law):
    """A stage's counters are the numbers of its rows in each state, and none that failed is forgiven.

    Its gate counts the rows of devices that have begun, and those of which it is known how it went; of each model, too.
    """

    number = 10

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._blamed: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._exposed: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._known: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._spared: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._waiting: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._unwell: dict[tuple[int, int], set[int]] = defaultdict(set)

    def committed(self, commit: Commit) -> Complaints:
        """Compare the counters of every run that the commit touched with the rows."""
        touched = {row.run_id for _, row in commit.targets} | {run.id for _, run in commit.runs}
        for before, row in commit.updated:
            if before is not None and before.target.is_blamed and not row.target.is_blamed:
                yield f"{row.name} was a failure of the build, and is forgiven"
            place = (row.run_id, row.stage)
            self._blamed[place].update({row.id} if row.target.is_blamed else ())
            (self._exposed[place].add if is_exposed(row.target) else self._exposed[place].discard)(row.id)
            (self._known[place].add if is_known(row.target) else self._known[place].discard)(row.id)
            is_spared = is_exposed(row.target) and not is_proof(row.target)
            (self._spared[place].add if is_spared else self._spared[place].discard)(row.id)
            is_waiting = is_exposed(row.target) and row.target.state is TargetState.QUEUED
            (self._waiting[place].add if is_waiting else self._waiting[place].discard)(row.id)
            is_harmed = (row.target.is_unwell and not row.target.is_compared) or row.target.is_silent
            is_unwell = row.target.state is TargetState.SUCCEEDED and is_harmed
            (self._unwell[place].add if is_unwell else self._unwell[place].discard)(row.id)
        for run_id in sorted(touched):
            yield from self._judge(self.picture.runs[run_id])

    def _judge(self, run: RunRecord) -> Complaints:
        for index, stage in enumerate(run.run.stages):
            rows = self.picture.counts[run.id, index]
            for state in TargetState:
                shown = getattr(stage.tally, state.value)
                if shown != rows[state]:
                    yield f"stage {index} of run {run.uid} counts {shown} {state}, and {rows[state]} rows are"
            counted = {
                "blamed": self._blamed,
                "exposed": self._exposed,
                "resolved": self._known,
                "spared": self._spared,
                "waiting": self._waiting,
                "unwell": self._unwell,
            }
            yield from self._models(run, index)
            for name, found in counted.items():
                shown, rows_are = getattr(stage.tally, name), len(found[run.id, index])
                if shown != rows_are:
                    yield f"stage {index} of run {run.uid} counts {shown} {name}, and {rows_are} rows are"

    def _models(self, run: RunRecord, index: int) -> Complaints:
        """Compare the counters of each model of a stage with the rows of its devices."""
        models = run.run.stages[index].models
        if not models:
            return
        by_name: dict[str, list[TargetRecord]] = {name: [] for name in models}
        for row in self.picture.rows[run.id, index].values():
            by_name[name_of(models, row.model)].append(row)
        for name, rows in by_name.items():
            tally = models[name].tally
            shown = (tally.targets, tally.queued, tally.blamed, tally.exposed)
            queued = sum(row.target.state is TargetState.QUEUED for row in rows)
            rows_are = (len(rows), queued, *numbers(rows))
            if shown != rows_are:
                yield f"stage {index} of run {run.uid} counts {shown} of model {name!r}, and rows are {rows_are}"
