"""Invariant 3, in spirit: in a freeze that was answered, nothing of a run in its scope begins, and nothing is sent."""

from collections.abc import Iterator

from controller.domain.freeze import Freeze
from controller.domain.target import TargetState
from protocol.ids import Name
from protocol.messages import Op
from protocol.units import Instant
from simulator.virtual.laws.law import Asked, Complaints, Handed, Law
from simulator.virtual.picture import Commit, Picture


class FreezesHold(Law):
    """From the answer to a freeze until its end, or until somebody asks to remove it."""

    number = 3

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._answered_at: dict[str, Instant] = {}
        self._unwanted: set[str] = set()

    def asked(self, asked: Asked) -> Complaints:
        """Judge a freeze no more that somebody wants to remove."""
        if asked.act == "thaw":
            self._unwanted.add(asked.subject)
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Judge a freeze from now on."""
        if asked.act == "freeze" and is_done:
            self._answered_at[asked.subject] = self.picture.wall_now()
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every attempt that begins, and every stage that opens."""
        for before, row in commit.targets:
            is_begun = before is not None and before.target.state is TargetState.QUEUED
            if is_begun and row.target.state is TargetState.IN_PROGRESS:
                yield from (f"{row.name} was released in freeze {one.name}" for one in self._holding(row.run_id))
        for run_before, run in commit.runs:
            stages = run.run.stages if run_before is None else run_before.run.stages
            was_open = [run_before is not None and stage.opened_at is not None for stage in stages]
            if any(now.opened_at is not None and not was for now, was in zip(run.run.stages, was_open, strict=True)):
                yield from (
                    f"a stage of run {run.uid} was opened in freeze {one.name}" for one in self._holding(run.id)
                )

    def handed(self, handed: Handed) -> Complaints:
        """Judge a command of a run in scope, unless it was on its way when a freeze began by itself."""
        command, now = handed.command, self.picture.wall_now()
        if command is None or command.op not in {Op.INSTALL, Op.WATCH} or command.created_at > now:
            return
        for freeze in self._holding(command.run_id):
            answered_at = self._answered_at[freeze.name]
            if freeze.starts_at <= answered_at or command.created_at >= answered_at:
                yield self._sent(command.name, freeze)

    def _sent(self, name: Name, freeze: Freeze) -> str:
        return f"work for {name} was handed over in freeze {freeze.name}"

    def _holding(self, run_id: int) -> Iterator[Freeze]:
        now, pipeline = self.picture.wall_now(), self.picture.runs[run_id].plan.pipeline.name
        for name, freeze in self.picture.calendar.items():
            is_judged = name in self._answered_at and name not in self._unwanted
            is_in_scope = not freeze.pipelines or pipeline in freeze.pipelines
            if is_judged and is_in_scope and freeze.starts_at <= now < freeze.ends_at:
                yield freeze
