"""Pipelines: every edit makes a new revision, and the same definition again makes none."""

from controller.app import audit
from controller.app.access import Actor, Permission
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import InvalidDefinition, NotFound
from controller.app.records import PipelineRecord
from controller.app.repositories import Transaction
from controller.app.views import PipelineView
from controller.domain.pipeline import Pipeline, validate


async def apply(controller: Controller, actor: Actor, *, definition: Pipeline) -> PipelineView:
    """Store a definition as the newest revision of its pipeline, unless it is that already.

    Raises:
        InvalidDefinition: with every fault, when it may not run.
    """
    actor.require(Permission.EDIT_PIPELINES)
    check(definition)

    def work(tx: Transaction, _after: Consequences) -> PipelineRecord:
        newest = tx.catalog.pipeline(definition.name)
        if newest is not None and newest.definition == definition:
            return newest
        now = controller.clock.now()
        record = tx.catalog.add_revision(definition.name, definition, author=actor.name, at=now)
        audit.record(tx, actor, "pipeline.apply", f"{record.name}@{record.revision}", at=now)
        return record

    return _view(await controller.write(work))


async def list_pipelines(controller: Controller, actor: Actor) -> tuple[PipelineView, ...]:
    """Return the newest revision of every pipeline, by name."""
    actor.require(Permission.READ)
    records = await controller.read(lambda tx: tx.catalog.pipelines())
    return tuple(_view(record) for record in records)


async def get(controller: Controller, actor: Actor, *, name: str, revision: int | None = None) -> PipelineView:
    """Return a revision of a pipeline, the newest by default.

    Raises:
        NotFound: when there is none.
    """
    actor.require(Permission.READ)
    record = await controller.read(lambda tx: tx.catalog.pipeline(name, revision))
    if record is None:
        which = f"pipeline {name!r}" if revision is None else f"revision {revision} of pipeline {name!r}"
        raise NotFound(f"there is no {which}")
    return _view(record)


def check(definition: Pipeline) -> None:
    """Go on only with a definition that may run.

    Raises:
        InvalidDefinition: with every fault.
    """
    faults = validate(definition)
    if faults:
        lines = "; ".join(f"{fault.place}: {fault.message}" for fault in faults)
        raise InvalidDefinition(f"pipeline {definition.name!r} is not valid: {lines}", faults)


def _view(record: PipelineRecord) -> PipelineView:
    return PipelineView(
        name=record.name,
        revision=record.revision,
        definition=record.definition,
        author=record.author,
        created_at=record.created_at,
    )
