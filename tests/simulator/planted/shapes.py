"""Bugs in what starts runs, in the order of stages in any graph, and in what conditions are judged by."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from controller.app import hooks, triggers, wakeups
from controller.app.advance import Advance
from controller.app.controller import Controller
from controller.app.ports import Priority
from controller.app.records import JobRecord, RunRecord
from controller.app.repositories import Transaction
from controller.domain import condition, run
from controller.domain.condition.tree import Figure
from controller.domain.settle import opening
from controller.domain.settle.decision import Decision
from controller.domain.target import machine
from protocol.units import MINUTE, Instant
from simulator.virtual.laws.conditions import ConditionsAreObeyed, OutputsAreTheDevices
from simulator.virtual.laws.stages import StagesOpenInOrder
from simulator.virtual.laws.starts import PlansStay, StartsOnce
from tests.simulator.planted.planted import planted, wrap

replace = msgspec.structs.replace

# --- what starts runs -------------------------------------------------------------------------------------------


def _before_recovery(patch: pytest.MonkeyPatch, change: Callable[[Controller, Transaction], None]) -> None:
    """Let each new life of the controller begin with a change of its database."""

    def around(recover: Any) -> Any:
        async def recovered(controller: Controller) -> Any:
            await controller.store.write(lambda tx: change(controller, tx), priority=Priority.HOUSEKEEPING)
            return await recover(controller)

        return recovered

    wrap(patch, wakeups, "recover", around)


@planted(
    "After a death the schedule begins again where it was, and an instant comes twice.", StartsOnce, first_seed=370
)
def schedule_comes_twice_after_a_death(patch: pytest.MonkeyPatch) -> None:
    def put_back(controller: Controller, tx: Transaction) -> None:
        for job in tx.catalog.jobs():
            if job.next_at is not None:
                tx.catalog.save_job(replace(job, next_at=Instant(controller.clock.now() // MINUTE * MINUTE)))

    _before_recovery(patch, put_back)


@planted("A start that waited is not forgotten when it has begun a run.", StartsOnce)
def start_that_waited_begins_again(patch: pytest.MonkeyPatch) -> None:
    def around(begin: Any) -> Any:
        def begun(advance: Advance, job: JobRecord, request: Any) -> Any:
            record = begin(advance, job, request)
            if job.waiting is request:
                advance.tx.catalog.save_job(job)
            return record

        return begun

    wrap(patch, triggers, "_begin", around)


@planted("A delivery that comes again starts another run.", StartsOnce, first_seed=220)
def delivery_counts_twice(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, hooks, "require_new", lambda _: lambda *_given: None)


@planted("A run goes by the newest revision of its pipeline as soon as that has as many stages.", PlansStay)
def run_follows_edits(patch: pytest.MonkeyPatch) -> None:
    def around(record_of: Any) -> Any:
        def found(self: Advance, run_id: int) -> RunRecord:
            record: RunRecord = record_of(self, run_id)
            newest = self.tx.catalog.pipeline(record.plan.pipeline.name)
            assert newest is not None
            paces = [stage.pace for stage in newest.definition.stages]
            stages = record.plan.pipeline.stages
            if len(paces) != len(stages):
                return record
            edited = tuple(replace(stage, pace=pace) for stage, pace in zip(stages, paces, strict=True))
            pipeline = replace(record.plan.pipeline, stages=edited)
            self._records[run_id] = replace(record, plan=replace(record.plan, pipeline=pipeline))
            return self._records[run_id]

        return found

    wrap(patch, Advance, "record", around)


# --- who waits for whom -----------------------------------------------------------------------------------------


@planted("A stage that needs several opens with the first of them.", StagesOpenInOrder)
def fan_in_waits_for_one_need(patch: pytest.MonkeyPatch) -> None:
    def around(blocked: Any) -> Any:
        def judged(self: Decision, index: int) -> None:
            plan, stages = self.plan, list(self.plan.pipeline.stages)
            stages[index] = replace(stages[index], needs=stages[index].needs[:1], when="")
            self.plan = replace(plan, pipeline=replace(plan.pipeline, stages=tuple(stages)))
            blocked(self, index)
            self.plan = plan

        return judged

    wrap(patch, opening, "blocked", around)


# --- conditions -------------------------------------------------------------------------------------------------


@planted("A stage opens whatever its condition.", ConditionsAreObeyed)
def condition_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def around(judge: Any) -> Any:
        return lambda *given: judge(*given)._replace(holds=True)

    wrap(patch, condition, "judge", around)


@planted("A condition is judged by the counters of another stage.", ConditionsAreObeyed)
def condition_counts_another_stage(patch: pytest.MonkeyPatch) -> None:
    def around(counts: Any) -> Any:
        return lambda self, _name: counts(self, self.plan.pipeline.stages[-1].name)

    wrap(patch, opening, "_counts", around)


@planted("A number that no device has told is taken for 0.", ConditionsAreObeyed)
def unknown_number_is_zero(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Figure, "of", lambda of: lambda self, told: of(self, told) or 0.0)


@planted("The average is that of all devices, also of those that told nothing.", ConditionsAreObeyed, first_seed=30)
def average_counts_the_silent(patch: pytest.MonkeyPatch) -> None:
    def around(summed: Any) -> Any:
        def diluted(summaries: Any, told: Any, names: Any) -> Any:
            changed = summed(summaries, told, names)
            return {name: replace(summary, count=summary.count + 1) for name, summary in changed.items()}

        return diluted

    wrap(patch, run, "summed", around)


@planted("Of what a device tells only the text is kept.", OutputsAreTheDevices)
def outputs_are_lost(patch: pytest.MonkeyPatch) -> None:
    def around(ended: Any) -> Any:
        return lambda row, end, policy: ended(row, replace(end, outputs=_without_numbers(end.outputs)), policy)

    wrap(patch, machine, "_ended", around)


def _without_numbers(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if isinstance(value, str)}
