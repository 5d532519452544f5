"""Invariants 2 and 7: a model of which too many devices failed is kept out of its run, until a person lets it in."""

from collections.abc import Iterator

from controller.app.records import RunRecord, TargetRecord
from controller.domain.model import ModelRun, StageRun
from simulator.virtual.laws.law import Asked, Complaints, Law
from simulator.virtual.laws.limits import Wishes, is_refuted, numbers, turns
from simulator.virtual.laws.models import OTHERS, is_kept_out, is_tested, name_of, part_of_one
from simulator.virtual.picture import Commit, Picture

_OPEN = frozenset({"rolling_out", "soaking", "passed"})
"""States in which the tests of a stage are looked at; one that has passed may have a tail."""


class QuarantinedStayOut(Law):
    """After the transaction that quarantines a model, no device of it joins, begins or waits in that run.

    Nor does it get another command for an attempt that it has begun. What is at work may end.
    """

    number = 2

    def committed(self, commit: Commit) -> Complaints:
        """Judge whoever joined, began, and came back to the queue."""
        old = {run.id: before for before, run in reversed(commit.runs)}
        commanded = {command.target_id for command in commit.commands} - {None}
        for before, row in commit.targets:
            run = self.picture.runs[row.run_id]
            was = old.get(run.id, run)
            if row.model is None or was is None or not self._is_out(was, run, row):
                continue
            if before is None:
                yield f"{row.name} joins run {run.uid}, and its model {row.model} is quarantined there"
            elif row.target.attempt > before.target.attempt:
                yield f"{row.name} begins in run {run.uid}, and its model {row.model} is quarantined there"
            elif row.id in commanded and row.target.command != before.target.command:
                yield f"{row.name} is commanded anew in run {run.uid}, and its model {row.model} is quarantined there"
        for run_id in sorted({row.run_id for _, row in commit.targets} | {run.id for _, run in commit.runs}):
            yield from self._waiting(self.picture.runs[run_id])

    def _is_out(self, was: RunRecord, run: RunRecord, row: TargetRecord) -> bool:
        """Say whether the model of a device was kept out before a transaction, and is so still."""
        return row.model is not None and is_kept_out(was, row.model) and is_kept_out(run, row.model)

    def _waiting(self, run: RunRecord) -> Iterator[str]:
        if not any(one.breach is not None for stage in run.run.stages for one in stage.models.values()):
            return
        for index in range(len(run.run.stages)):
            for row in self.picture.rows[run.id, index].values():
                if row.target.state == "queued" and row.model is not None and is_kept_out(run, row.model):
                    yield f"{row.name} waits in run {run.uid} for ever: its model {row.model} is quarantined there"


class QuarantinesAreDeserved(Law):
    """A model is quarantined as soon as its own evidence is enough, and not before; only a person lets it in again.

    Each model of a stage is tested with an equal part of half the alpha of the stage, by the devices that joined at the
    beginning; what joins later and is of none of these models is tested together.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._readmissions = Wishes()
        self._resumptions = Wishes()

    def asked(self, asked: Asked) -> Complaints:
        """Take note of who lets a model begin again, or a run go on."""
        if asked.act == "readmit":
            self._readmissions.asked(asked)
        if asked.act in {"readmit", "resume"}:
            self._resumptions.asked(asked)
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Take note that nothing more comes of it."""
        del is_done
        self._readmissions.answered(asked)
        self._resumptions.answered(asked)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every quarantine that begins or ends, and every one that is missing."""
        for before, run in commit.runs:
            for index, now in enumerate(run.run.stages):
                was = StageRun() if before is None else before.run.stages[index]
                if now.models != was.models:
                    yield from self._changed(commit, run, index, was)
            yield from self._told(commit, before, run)
        places = {(row.run_id, row.stage) for _, row in commit.updated}
        places |= {(run.id, index) for _, run in commit.runs for index in range(len(run.run.stages))}
        for run_id, index in sorted(places):
            yield from self._missing(self.picture.runs[run_id], index)

    def _changed(self, commit: Commit, run: RunRecord, index: int, was: StageRun) -> Iterator[str]:
        now, place = run.run.stages[index], f"stage {index} of run {run.uid}"
        if was.is_frozen and now.models.keys() != was.models.keys():
            yield f"{place} tests {sorted(now.models)}, and tested {sorted(was.models)} when it began"
        if now.is_frozen and not was.is_frozen:
            yield from self._begun(commit, run, index)
        for name in now.models:
            yield from self._judge(commit, run, index, name=name, was=was.models.get(name, ModelRun()))

    def _begun(self, commit: Commit, run: RunRecord, index: int) -> Iterator[str]:
        joined = [
            row for before, row in commit.targets if before is None and (row.run_id, row.stage) == (run.id, index)
        ]
        others = {OTHERS} if run.plan.pipeline.stages[index].targets.include_new else set()
        expected, shown = {str(row.model) for row in joined} | others, set(run.run.stages[index].models)
        if shown != expected:
            yield f"stage {index} of run {run.uid} tests {sorted(shown)}, and has {sorted(expected)}"
        for row in joined:
            turns = commit.described.get(row.device_id) or [self.picture.described[row.device_id]]
            if row.model not in {turn.model for turn in turns}:
                yield f"{row.name} joins as one of {row.model}, and is one of {turns[-1].model}"

    def _judge(self, commit: Commit, run: RunRecord, index: int, *, name: str, was: ModelRun) -> Iterator[str]:
        now, place = run.run.stages[index].models[name], f"model {name!r} in stage {index} of run {run.uid}"
        subject = f"{run.uid}/{name}"
        if now.accepted != was.accepted and not self._is_resumed(run):
            yield f"{now.accepted} failures of {place} are accepted, and nobody has resumed it or readmitted a model"
        if now.breach == was.breach:
            return
        if was.breach is None:
            self._readmissions.held(subject)
            yield from self._justified(commit, run, index, name=name, was=was)
        elif now.breach is not None:
            yield f"what was known of {place} when it was quarantined has become {now.breach}"
        elif not self._readmissions.of(subject) or not any(one.verb == "run.readmit" for one in commit.audit):
            yield f"{place} is quarantined no more, and nobody has readmitted it"

    def _is_resumed(self, run: RunRecord) -> bool:
        names = {name for stage in run.run.stages for name in stage.models}
        return any(self._resumptions.of(subject) for subject in (run.uid, *(f"{run.uid}/{name}" for name in names)))

    def _justified(self, commit: Commit, run: RunRecord, index: int, *, name: str, was: ModelRun) -> Iterator[str]:
        """Look whether the numbers of a quarantine were there at any time of its transaction, and are enough."""
        at_work = run.run.stages[index]
        breach = at_work.models[name].breach
        assert breach is not None
        moves = [(before, row) for before, row in commit.updated if (row.run_id, row.stage) == (run.id, index)]
        for stand in turns(self.picture.rows[run.id, index], moves):
            rows = [row for row in stand if name_of(at_work.models, row.model) == name]
            if numbers(rows) == (breach.failed, breach.exposed) and self._is_enough(run, index, rows, was.accepted):
                return
        known = f"{breach.failed} of {breach.exposed}"
        yield f"model {name!r} in stage {index} of run {run.uid} is quarantined by {known}, which is not enough"

    def _is_enough(self, run: RunRecord, index: int, rows: list[TargetRecord], accepted: int) -> bool:
        is_new = numbers(rows)[0] > accepted
        return is_new and is_tested(run, index) and is_refuted(run, index, rows, part=part_of_one(run, index))

    def _missing(self, run: RunRecord, index: int) -> Iterator[str]:
        at_work = run.run.stages[index]
        is_looked_at = at_work.state in _OPEN and run.run.state == "running" and not run.run.reason
        if not is_looked_at or not is_tested(run, index):
            return
        for name, one in at_work.models.items():
            rows = [r for r in self.picture.rows[run.id, index].values() if name_of(at_work.models, r.model) == name]
            if one.breach is None and self._is_enough(run, index, rows, one.accepted):
                known = f"{numbers(rows)} failed and began"
                yield f"model {name!r} in stage {index} of run {run.uid} is not quarantined, and {known}"

    def _told(self, commit: Commit, before: RunRecord | None, run: RunRecord) -> Iterator[str]:
        begun = 0 if before is None else len(_names(run) - _names(before))
        told = sum(event.kind == "quarantined" and event.run_id == run.id for event in commit.events)
        if told < begun:
            yield f"{begun} models are quarantined in run {run.uid}, and {told} are told of"


def _names(run: RunRecord) -> set[tuple[int, str]]:
    stages = enumerate(run.run.stages)
    return {(index, name) for index, stage in stages for name, one in stage.models.items() if one.breach is not None}
