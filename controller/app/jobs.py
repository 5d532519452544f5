"""Jobs: an operation bound to a pipeline. A job may have many runs, one of them active."""

from controller.app import audit
from controller.app.access import Actor, Permission
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import InvalidRequest, NotFound
from controller.app.once import once
from controller.app.records import JobRecord
from controller.app.repositories import Transaction
from controller.app.views import JobView
from controller.domain.pipeline import PRIORITY_MAX, Operation
from protocol.errors import InvalidName
from protocol.ids import parse_part


async def create(
    controller: Controller, actor: Actor, *, name: str, pipeline: str, operation: Operation, priority: int = 0
) -> JobView:
    """Bind an operation to a pipeline under a name.

    Args:
        controller: the controller.
        actor: who asks.
        name: the job's name.
        pipeline: what its runs go through.
        operation: what they do.
        priority: which of several runs gets a device first, from -`PRIORITY_MAX` to `PRIORITY_MAX`; higher goes first.

    Raises:
        InvalidRequest: when the name breaks the rule for names, or the priority is out of range.
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

    def work(tx: Transaction, _after: Consequences) -> JobView:
        if tx.catalog.pipeline(pipeline) is None:
            raise NotFound(f"there is no pipeline {pipeline!r}: apply it first")
        now = controller.clock.now()
        job = JobRecord(name=name, pipeline=pipeline, operation=operation, priority=priority, created_at=now)
        saved = tx.catalog.add_job(job)
        audit.record(tx, actor, "job.create", name, at=now)
        return _view(saved)

    return await once(controller, actor, work, kind=JobView)


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
    record = await controller.read(lambda tx: tx.catalog.job(name))
    if record is None:
        raise NotFound(f"there is no job {name!r}")
    return _view(record)


def _view(record: JobRecord) -> JobView:
    return JobView(
        name=record.name,
        pipeline=record.pipeline,
        operation=record.operation,
        priority=record.priority,
        active_run=record.active_run,
        created_at=record.created_at,
    )
