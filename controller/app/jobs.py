"""Jobs: an operation bound to a pipeline. A job may have many runs, one of them active."""

import msgspec

from controller.app import audit, channels, schedules
from controller.app.access import Actor, Permission
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import InvalidRequest, NotFound
from controller.app.once import once
from controller.app.records import JobRecord
from controller.app.repositories import Transaction
from controller.app.views import JobView
from controller.domain.pipeline import PRIORITY_MAX, Operation
from controller.domain.trigger import ACTOR_PREFIX, TRIGGERS_MAX, JobTrigger, OnRelease, OnSchedule, told
from protocol.errors import InvalidName
from protocol.ids import parse_part


async def create(
    controller: Controller,
    actor: Actor,
    *,
    name: str,
    pipeline: str,
    operation: Operation,
    priority: int = 0,
    triggers: tuple[JobTrigger, ...] = (),
) -> JobView:
    """Bind an operation to a pipeline under a name.

    Args:
        controller: the controller.
        actor: who asks.
        name: the job's name.
        pipeline: what its runs go through.
        operation: what they do.
        triggers: what starts its runs by itself.
        priority: which of several runs gets a device first, from -`PRIORITY_MAX` to `PRIORITY_MAX`; higher goes first.

    Raises:
        InvalidRequest: when the name breaks the rule for names, the priority is out of range, or a trigger is none.
        NotFound: when there is no such pipeline.
        Conflict: when the name is taken.
    """
    actor.require(Permission.EDIT_PIPELINES)
    try:
        parse_part(name, what="job")
    except InvalidName as error:
        raise InvalidRequest(str(error)) from error
    if abs(priority) > PRIORITY_MAX:
        raise InvalidRequest(f"priority {priority}: expected -{PRIORITY_MAX} to {PRIORITY_MAX}")
    _check(triggers)

    def work(tx: Transaction, _after: Consequences) -> JobView:
        if tx.catalog.pipeline(pipeline) is None:
            raise NotFound(f"there is no pipeline {pipeline!r}: apply it first")
        now = controller.clock.now()
        job = JobRecord(
            name=name,
            pipeline=pipeline,
            operation=operation,
            priority=priority,
            triggers=triggers,
            next_at=schedules.next_of(triggers, now),
            created_at=now,
        )
        saved = tx.catalog.add_job(job)
        audit.record(tx, actor, "job.create", name, at=now)
        return _view(saved)

    return await once(controller, actor, work, kind=JobView)


async def set_triggers(controller: Controller, actor: Actor, *, name: str, triggers: tuple[JobTrigger, ...]) -> JobView:
    """Replace what starts runs of a job by itself; a run that waits for the end of the active one is forgotten.

    Raises:
        InvalidRequest: when a trigger is none.
        NotFound: when there is no such job.
    """
    actor.require(Permission.EDIT_PIPELINES)
    _check(triggers)

    def work(tx: Transaction, _after: Consequences) -> JobView:
        job = find(tx, name)
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
        active_run=record.active_run,
        created_at=record.created_at,
        triggers=record.triggers,
        next_at=record.next_at,
        waiting=record.waiting,
        has_hook=record.hook is not None,
    )
