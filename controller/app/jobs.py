"""Jobs: an operation bound to a pipeline, with what starts its runs. A job may have many runs, one of them active."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from controller.app import audit, channels, schedules
from controller.app.access import Actor, Permission
from controller.app.conditions import ANYTHING, Expected, job_tag
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidRequest, NotFound
from controller.app.once import once
from controller.app.records import JobRecord
from controller.app.repositories import Transaction
from controller.app.views import JobView
from controller.domain.parameters import Given, Need, Value
from controller.domain.pipeline import PRIORITY_MAX, Operation
from controller.domain.trigger import ACTOR_PREFIX, TRIGGERS_MAX, JobTrigger, OnRelease, OnSchedule, told
from protocol.errors import InvalidName
from protocol.ids import parse_part

NO_VALUES: Final[Mapping[str, Value]] = MappingProxyType({})


async def create(
    controller: Controller,
    actor: Actor,
    *,
    name: str,
    pipeline: str,
    operation: Operation,
    priority: int = 0,
    parameters: Mapping[str, Value] = NO_VALUES,
    triggers: tuple[JobTrigger, ...] = (),
) -> JobView:
    """Bind an operation to a pipeline under a name.

    Args:
        controller: the controller.
        actor: who asks.
        name: the job's name.
        pipeline: what its runs go through.
        operation: what they do.
        priority: which of several runs gets a device first, from -`PRIORITY_MAX` to `PRIORITY_MAX`; higher goes first.
        parameters: values for the pipeline's parameters; a run may give others.
        triggers: what starts its runs by itself.

    Raises:
        InvalidRequest: when the name breaks the rule for names, the priority is out of range, or a trigger is none.
        InvalidDefinition: when the pipeline cannot be run with this.
        NotFound: when there is no such pipeline.
        Conflict: when the name is taken.
    """
    actor.require(Permission.EDIT_PIPELINES)
    wanted = _wanted(
        controller,
        name=name,
        pipeline=pipeline,
        operation=operation,
        priority=priority,
        parameters=parameters,
        triggers=triggers,
    )

    def work(tx: Transaction, _after: Consequences) -> JobView:
        return _view(_add(controller, tx, actor, wanted))

    return await once(controller, actor, work, kind=JobView)


async def apply(
    controller: Controller,
    actor: Actor,
    *,
    name: str,
    pipeline: str,
    operation: Operation,
    priority: int = 0,
    parameters: Mapping[str, Value] = NO_VALUES,
    triggers: tuple[JobTrigger, ...] = (),
    expected: Expected = ANYTHING,
) -> JobView:
    """Create a job, or change what is written in it. A run that exists goes on with what it was started with.

    Its triggers are part of what is written: they are replaced, and where none are given it has none any more. With
    other triggers or another app, a run that waits for the end of the active one is forgotten. Its hook stays.

    Raises:
        InvalidRequest: when the name breaks the rule for names, the priority is out of range, or a trigger is none.
        InvalidDefinition: when the pipeline cannot be run with this.
        NotFound: when there is no such pipeline.
        PreconditionFailed: when it would change something, and the job is not as *expected*.
    """
    actor.require(Permission.EDIT_PIPELINES)
    wanted = _wanted(
        controller,
        name=name,
        pipeline=pipeline,
        operation=operation,
        priority=priority,
        parameters=parameters,
        triggers=triggers,
    )

    def work(tx: Transaction, _after: Consequences) -> JobRecord:
        known = tx.catalog.job(name)
        if known is not None and job_tag(_view(known)) == job_tag(_view(wanted)):
            return known
        expected.require(None if known is None else job_tag(_view(known)), what=f"job {name!r}")
        return _add(controller, tx, actor, wanted) if known is None else _change(controller, tx, actor, known, wanted)

    return _view(await controller.write(work))


async def archive(controller: Controller, actor: Actor, *, name: str, expected: Expected = ANYTHING) -> None:
    """Take a job away that has no active run. Its runs stay; a new job of its name goes on with their list.

    Raises:
        NotFound: when there is none of that name.
        Conflict: when it has an active run.
        PreconditionFailed: when it is not as *expected*.
    """
    actor.require(Permission.EDIT_PIPELINES)

    def work(tx: Transaction, _after: Consequences) -> None:
        known = find(tx, name)
        expected.require(job_tag(_view(known)), what=f"job {name!r}")
        if known.active_run is not None:
            raise Conflict(f"job {name!r} has an active run, {known.active_run}: wait for its end, or terminate it")
        now = controller.clock.now()
        tx.catalog.archive_job(name, at=now)
        audit.record(tx, actor, "job.archive", name, at=now)

    await controller.write(work)


def _wanted(
    controller: Controller,
    *,
    name: str,
    pipeline: str,
    operation: Operation,
    priority: int,
    parameters: Mapping[str, Value],
    triggers: tuple[JobTrigger, ...],
) -> JobRecord:
    try:
        parse_part(name, what="job")
    except InvalidName as error:
        raise InvalidRequest(str(error)) from error
    if abs(priority) > PRIORITY_MAX:
        raise InvalidRequest(f"priority {priority}: expected -{PRIORITY_MAX} to {PRIORITY_MAX}")
    _check(triggers)
    now = controller.clock.now()
    return JobRecord(
        name=name,
        pipeline=pipeline,
        operation=operation,
        priority=priority,
        parameters=dict(parameters),
        triggers=triggers,
        next_at=schedules.next_of(triggers, now),
        created_at=now,
    )


def _add(controller: Controller, tx: Transaction, actor: Actor, wanted: JobRecord) -> JobRecord:
    _require_fit(controller, tx, wanted)
    added = tx.catalog.add_job(wanted)
    audit.record(tx, actor, "job.create", wanted.name, at=wanted.created_at)
    return added


def _change(controller: Controller, tx: Transaction, actor: Actor, known: JobRecord, wanted: JobRecord) -> JobRecord:
    _require_fit(controller, tx, wanted)
    changed = _changed(known, wanted)
    tx.catalog.save_job(changed)
    audit.record(tx, actor, "job.change", wanted.name, at=wanted.created_at)
    return changed


def _changed(known: JobRecord, wanted: JobRecord) -> JobRecord:
    """Return a job with what is written anew; what is due stays due unless what made it so is another one now."""
    starts_alike = known.triggers == wanted.triggers
    is_same_app = known.operation.app == wanted.operation.app
    return msgspec.structs.replace(
        known,
        pipeline=wanted.pipeline,
        operation=wanted.operation,
        priority=wanted.priority,
        parameters=wanted.parameters,
        triggers=wanted.triggers,
        next_at=known.next_at if starts_alike else wanted.next_at,
        waiting=known.waiting if starts_alike and is_same_app else None,
    )


def _require_fit(controller: Controller, tx: Transaction, wanted: JobRecord) -> None:
    pipeline = tx.catalog.pipeline(wanted.pipeline)
    if pipeline is None:
        raise NotFound(f"there is no pipeline {wanted.pipeline!r}: apply it first")
    controller.resolve(pipeline.definition, wanted.operation, Given(parameters=wanted.parameters), Need.NOTHING)


async def set_triggers(
    controller: Controller,
    actor: Actor,
    *,
    name: str,
    triggers: tuple[JobTrigger, ...],
    expected: Expected = ANYTHING,
) -> JobView:
    """Replace what starts runs of a job by itself; a run that waits for the end of the active one is forgotten.

    Raises:
        InvalidRequest: when a trigger is none.
        NotFound: when there is no such job.
        PreconditionFailed: when it would have other triggers, and is not as *expected*.
    """
    actor.require(Permission.EDIT_PIPELINES)
    _check(triggers)

    def work(tx: Transaction, _after: Consequences) -> JobView:
        job = find(tx, name)
        if triggers != job.triggers:
            expected.require(job_tag(_view(job)), what=f"job {name!r}")
        now = controller.clock.now()
        next_at = schedules.next_of(triggers, now)
        changed = msgspec.structs.replace(job, triggers=triggers, next_at=next_at, waiting=None)
        tx.catalog.save_job(changed)
        said = ", ".join(told(trigger).removeprefix(ACTOR_PREFIX) for trigger in triggers) or "none"
        audit.record(tx, actor, "job.triggers", name, at=now, reason=said)
        return _view(changed)

    return await controller.write(work)


def find(tx: Transaction, name: str) -> JobRecord:
    """Return a job.

    Raises:
        NotFound: when there is none of that name.
    """
    job = tx.catalog.job(name)
    if job is None:
        raise NotFound(f"there is no job {name!r}")
    return job


def _check(triggers: tuple[JobTrigger, ...]) -> None:
    if len(triggers) > TRIGGERS_MAX:
        raise InvalidRequest(f"{len(triggers)} triggers: expected at most {TRIGGERS_MAX}")
    for trigger in triggers:
        match trigger:
            case OnRelease():
                channels.parse(trigger.channel)
            case OnSchedule():
                schedules.check(trigger)


async def list_jobs(controller: Controller, actor: Actor) -> tuple[JobView, ...]:
    """Return all jobs, by name."""
    actor.require(Permission.READ)
    records = await controller.read(lambda tx: tx.catalog.jobs())
    return tuple(_view(record) for record in records)


async def get(controller: Controller, actor: Actor, *, name: str) -> JobView:
    """Return a job.

    Raises:
        NotFound: when there is none of that name.
    """
    actor.require(Permission.READ)
    return _view(await controller.read(lambda tx: find(tx, name)))


def _view(record: JobRecord) -> JobView:
    return JobView(
        name=record.name,
        pipeline=record.pipeline,
        operation=record.operation,
        priority=record.priority,
        parameters=record.parameters,
        active_run=record.active_run,
        created_at=record.created_at,
        triggers=record.triggers,
        next_at=record.next_at,
        waiting=record.waiting,
        has_hook=record.hook is not None,
    )
