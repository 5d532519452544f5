"""Invariant 7, once a limit is crossed: nobody begins beyond it, and what was known then is kept, and told."""

from collections import Counter
from collections.abc import Iterator

from controller.app.records import RunRecord
from controller.domain.model import StageRun
from controller.domain.pipeline import OnBreach
from simulator.virtual.laws.law import Asked, Complaints, Law
from simulator.virtual.laws.limits import Overrides, is_crossed, numbers, turns
from simulator.virtual.laws.models import rest
from simulator.virtual.picture import Commit, Picture

_Place = tuple[int, int]
"""(run id, stage)."""


class NobodyBeginsBeyond(Law):
    """After the transaction in which failures crossed the limit, no device of the stage begins.

    A person who overrides lets it go on.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._overrides = Overrides()
        self._crossed: dict[_Place, int] = {}

    def asked(self, asked: Asked) -> Complaints:
        """Take note of who lets a run go on."""
        self._overrides.asked(asked)
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Take note that nothing more comes of it."""
        del is_done
        self._overrides.answered(asked)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge who begins, and look whose limit is crossed."""
        for _, run in commit.runs:
            self._go_on(run)
        for before, row in commit.updated:
            is_begun = before is not None and row.target.attempt > before.target.attempt
            if is_begun and (row.run_id, row.stage) in self._crossed:
                failed = self._crossed[row.run_id, row.stage]
                yield f"{row.name} begins in stage {row.stage}, which has crossed its limit with {failed} failures"
        for place in {(row.run_id, row.stage): None for _, row in commit.updated}:
            self._look(self.picture.runs[place[0]], place)

    def _go_on(self, run: RunRecord) -> None:
        for index, stage in enumerate(run.run.stages):
            failed = self._crossed.get((run.id, index))
            if failed is not None and stage.accepted >= failed and self._overrides.of(run.uid):
                del self._crossed[run.id, index]

    def _look(self, run: RunRecord, place: _Place) -> None:
        index, rows = place[1], list(self.picture.rows[place].values())
        is_enforced = run.plan.pipeline.stages[index].gate.on_breach is not OnBreach.ALERT
        accepted = run.run.stages[index].accepted
        if is_enforced and place not in self._crossed and is_crossed(run, index, rows, accepted=accepted):
            self._crossed[place] = sum(row.target.is_blamed for row in rows)
            self._overrides.held(run.uid)


class BreachesAreKept(Law):
    """A gate is breached only beyond its limit; what it knew then stays until a newer breach, and an alert is one.

    A newer one follows only failures that a person has accepted, and has more. Failures of a stage are accepted only by
    going on over its breach, or by readmitting a model.

    A breach names the failures of models that are not quarantined, and a fixed limit counts all. So a newer one may
    name fewer than the one before; what has failed in all is told by the rows.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._told: Counter[tuple[int, str]] = Counter()
        self._failed: dict[_Place, int] = {}
        """How many devices of a stage, of any model, had failed at its newest breach."""

    def committed(self, commit: Commit) -> Complaints:
        """Judge every breach that is new, and what was told of it."""
        for event in commit.events:
            if event.kind == "breached":
                self._told[event.run_id, str(event.data["stage"])] += 1
        for before, run in commit.runs:
            for index, now in enumerate(run.run.stages):
                was = StageRun() if before is None else before.run.stages[index]
                if now.accepted != was.accepted and not _may_accept(commit, before, run, index):
                    yield f"{now.accepted} failures of stage {index} of run {run.uid} are accepted, and none held it"
                if now.breach != was.breach:
                    yield from self._newer(run, index, was)
                    yield from self._justified(commit, run, index, was)
                yield from self._alerted(run, index, now)

    def _newer(self, run: RunRecord, index: int, was: StageRun) -> Iterator[str]:
        """Look whether a breach may be followed by another; `_justified` looks whether that one has more."""
        now, place = run.run.stages[index], f"stage {index} of run {run.uid}"
        if was.breach is None:
            return
        is_alert = run.plan.pipeline.stages[index].gate.on_breach is OnBreach.ALERT
        is_accepted = self._failed[run.id, index] <= now.accepted
        if is_alert or now.breach is None or not is_accepted:
            yield f"what {place} knew at its breach, {was.breach.evidence!r}, has become {now.breach}"

    def _justified(self, commit: Commit, run: RunRecord, index: int, was: StageRun) -> Iterator[str]:
        """Look whether the numbers of a breach were there at any time of its transaction, and cross the limit."""
        breach, place = run.run.stages[index].breach, (run.id, index)
        if breach is None:
            return
        moves = [(before, row) for before, row in commit.updated if (row.run_id, row.stage) == place]
        accepted = run.run.stages[index].accepted if was.breach else was.accepted
        stands = [
            rows
            for rows in turns(self.picture.rows[place], moves)
            if numbers(rest(run, index, rows)) == (breach.failed, breach.exposed)
            and is_crossed(run, index, rows, accepted=accepted)
        ]
        in_all = (sum(row.target.is_blamed for row in rows) for rows in stands)
        self._failed[place] = min(in_all, default=breach.failed)
        if not stands:
            yield f"stage {index} of run {run.uid} is breached by {breach.failed} of {breach.exposed}, within its limit"

    def _alerted(self, run: RunRecord, index: int, now: StageRun) -> Iterator[str]:
        stage = run.plan.pipeline.stages[index]
        is_alert = stage.gate.on_breach is OnBreach.ALERT
        told, expected = self._told[run.id, stage.name], int(is_alert and now.breach is not None)
        if told != expected:
            yield f"the breach of stage {index} of run {run.uid} is told {told} times, not {expected}"
        if is_alert and f"breach:{stage.name}" in run.run.pause_reasons:
            yield f"run {run.uid} is held by a gate that should only tell of its breach, that of stage {index}"


def _may_accept(commit: Commit, before: RunRecord | None, run: RunRecord, index: int) -> bool:
    """Say whether the gate of a stage held its run until now, or somebody readmits a model."""
    held = () if before is None else before.run.pause_reasons
    is_readmitted = any(one.verb == "run.readmit" and one.subject == run.uid for one in commit.audit)
    return f"breach:{run.plan.pipeline.stages[index].name}" in held or is_readmitted
