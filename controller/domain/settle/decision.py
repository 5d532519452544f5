"""One settling: the run as it changes, the effects in their order, and what a decision does to either."""

from collections.abc import Iterable
from typing import Any, Final

from controller.domain import quarantine
from controller.domain.events import CallOff, Cancel, Effect, Note
from controller.domain.gates.judgement import Excepted
from controller.domain.model import Plan, Run, StageRun, run_changed, stage_changed, thawed
from controller.domain.pipeline import OnFailure, Stage
from controller.domain.rerun import RollbackOrder
from controller.domain.settle.reasons import paused
from controller.domain.states import STOPS, StageState
from protocol.units import Instant

STOPPING: Final = frozenset({OnFailure.STOP_RUN, OnFailure.ROLLBACK})
"""What a stage says whose failure ends the run."""
CALLED_BACK: Final = STOPS | {StageState.SKIPPED}
"""Verdicts after which a stage's devices are called back."""


class Decision:
    """What is decided about a run; nothing of it holds before `run` and `effects` are stored."""

    def __init__(self, plan: Plan, run: Run, at: Instant, *, before: Run) -> None:
        """Take what is run, the run, the wall time, and the run as it was settled last."""
        self.plan = plan
        self.run = run
        self.at = at
        self.unseen = {index: stage.tally for index, stage in enumerate(before.stages)}
        self.was_out = quarantine.barred(before)
        self.effects: list[Effect] = []
        self.out = quarantine.barred(run)
        self.index_of = {stage.name: index for index, stage in enumerate(plan.pipeline.stages)}

    @property
    def now(self) -> int:
        """The run's own time; a pause in the middle of a decision stops it."""
        return self.run.clock.run_time(self.at)

    @property
    def may_open(self) -> bool:
        """Whether nothing keeps a stage from opening."""
        return not self.run.is_paused and self.run.freeze is None

    def stage(self, index: int) -> tuple[Stage, StageRun]:
        """Return how a stage is defined, and how it stands."""
        return self.plan.pipeline.stages[index], self.run.stages[index]

    def excepted(self, index: int) -> Excepted:
        """Return what the gate of a stage leaves out, as its models are quarantined."""
        return quarantine.excepted(*self.stage(index), self.out)

    def change(self, index: int, **fields: Any) -> StageRun:
        """Change some fields of a stage, and return how it stands."""
        self.run = stage_changed(self.run, index, **fields)
        return self.run.stages[index]

    def pause(self, reason: str, *, evidence: str) -> None:
        """Hold the run."""
        self.run, effects = paused(self.run, reason, self.at, evidence=evidence)
        self.effects += effects

    def verdict(self, index: int, verdict: StageState, reason: str) -> None:
        """Give a stage its verdict, and carry out what a bad one means for its devices and for the run."""
        stage = self.plan.pipeline.stages[index]
        at_work = self.change(index, state=verdict, reason=reason, ended_at=self.now)
        self.effects.append(Note(kind=verdict.value, stage=stage.name, text=reason))
        if verdict in CALLED_BACK and not at_work.is_settled:
            self.recall(index, timed_out=verdict is StageState.TIMED_OUT)
        if verdict is StageState.FAILED and stage.on_failure in STOPPING:
            self._fail(stage, f"stage {stage.name} failed: {reason}")

    def _fail(self, stage: Stage, reason: str) -> None:
        """Stop the run for a failed stage, and remember where its devices are to be taken back."""
        if stage.on_failure is OnFailure.ROLLBACK and not self.run.is_stopped:
            self.run = run_changed(self.run, rollback=RollbackOrder(reason=reason))
            self.effects.append(Note(kind="rolling_back", text=reason))
        self.stop(reason)

    def stop(self, reason: str, *, verdict: StageState = StageState.CANCELLED) -> None:
        """Give every stage that has none a verdict, and call back the devices of every stage; once.

        Nothing is left that a pause could hold, and its clock must go on: recalled devices end by their leases.
        """
        for index in range(len(self.run.stages)):
            if not self.run.stages[index].state.is_verdict:
                self.verdict(index, verdict, reason)
            at_work = self.run.stages[index]
            if not at_work.is_recalled and not at_work.is_settled:
                self.recall(index, timed_out=verdict is StageState.TIMED_OUT)
        if not self.run.is_stopped:
            clock = self.run.clock.started(self.at)
            run = thawed(self.run, self.now)
            self.run = run_changed(run, epoch=run.epoch + 1, reason=reason, pause_reasons=(), clock=clock)

    def recall(self, index: int, *, timed_out: bool) -> None:
        """Call back the devices of a stage."""
        self.change(index, is_recalled=True)
        self.effects.append(Cancel(stage=index, timed_out=timed_out))

    def call_off(self, index: int, models: Iterable[str]) -> None:
        """Call devices off, once in a decision; those that come to wait later are found by looking again."""
        wanted = [CallOff(stage=index, model=model) for model in models]
        self.effects += [effect for effect in wanted if effect not in self.effects]
