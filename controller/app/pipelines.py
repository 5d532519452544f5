"""Pipelines: every edit makes a new revision, and the same definition again makes none.

An archived pipeline is in no list and can be run by no job; its revisions stay. Applying its name brings it back.
"""

from itertools import zip_longest

from controller.app import audit, cursors
from controller.app.access import Actor, Permission
from controller.app.conditions import ANYTHING, Expected, pipeline_tag
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidDefinition, NotFound
from controller.app.records import PipelineRecord
from controller.app.repositories import Transaction
from controller.app.views import Page, PipelineView, RevisionView
from controller.domain.pipeline import NAMES_SHOWN_MAX, Pipeline
from controller.domain.validation import validate


async def apply(
    controller: Controller, actor: Actor, *, definition: Pipeline, expected: Expected = ANYTHING
) -> PipelineView:
    """Store a definition as the newest revision of its pipeline, unless it is that already.

    Raises:
        InvalidDefinition: with every fault, when it may not run.
        PreconditionFailed: when it would change something, and the pipeline is not as *expected*.
    """
    actor.require(Permission.EDIT_PIPELINES)
    check(definition)

    def work(tx: Transaction, _after: Consequences) -> PipelineRecord:
        newest = tx.catalog.pipeline(definition.name)
        if newest is not None and newest.definition == definition:
            return newest
        tag = None if newest is None else pipeline_tag(_view(newest))
        expected.require(tag, what=f"pipeline {definition.name!r}")
        now = controller.clock.now()
        record = tx.catalog.add_revision(definition.name, definition, author=actor.name, at=now)
        audit.record(tx, actor, "pipeline.apply", f"{record.name}@{record.revision}", at=now)
        return record

    return _view(await controller.write(work))


async def archive(controller: Controller, actor: Actor, *, name: str, expected: Expected = ANYTHING) -> None:
    """Take a pipeline away that no job uses.

    Raises:
        NotFound: when there is none of that name.
        Conflict: when a job uses it.
        PreconditionFailed: when it is not as *expected*.
    """
    actor.require(Permission.EDIT_PIPELINES)

    def work(tx: Transaction, _after: Consequences) -> None:
        newest = tx.catalog.pipeline(name)
        if newest is None:
            raise NotFound(f"there is no pipeline {name!r}")
        expected.require(pipeline_tag(_view(newest)), what=f"pipeline {name!r}")
        users = [job.name for job in tx.catalog.jobs() if job.pipeline == name]
        if users:
            more = ", …" if len(users) > NAMES_SHOWN_MAX else ""
            named = ", ".join(users[:NAMES_SHOWN_MAX])
            raise Conflict(f"pipeline {name!r} is used by {named}{more}: delete or change these jobs first")
        now = controller.clock.now()
        tx.catalog.archive_pipeline(name, at=now)
        audit.record(tx, actor, "pipeline.archive", f"{name}@{newest.revision}", at=now)

    await controller.write(work)


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


async def history(
    controller: Controller, actor: Actor, *, name: str, cursor: str | None = None, limit: int = 50
) -> Page[RevisionView]:
    """Return revisions of a pipeline, the newest first; those of an archived one too.

    Raises:
        NotFound: when there was never one of that name.
    """
    actor.require(Permission.READ)
    before = None if cursor is None else cursors.decode_int(cursor)
    records = await controller.read(lambda tx: tx.catalog.revisions(name, before=before, limit=limit + 1))
    if not records and before is None:
        raise NotFound(f"there is no pipeline {name!r}")
    views = [_revision_view(record, previous) for record, previous in zip_longest(records, records[1:])]
    next_cursor = cursors.encode(records[limit - 1].revision) if len(records) > limit else None
    return Page(items=tuple(views[:limit]), cursor=next_cursor)


def check(definition: Pipeline) -> None:
    """Go on only with a definition that may run.

    Raises:
        InvalidDefinition: with every fault.
    """
    faults = validate(definition)
    if faults:
        lines = "; ".join(f"{fault.place}: {fault.message}" for fault in faults)
        raise InvalidDefinition(f"pipeline {definition.name!r} is not valid: {lines}", faults)


def _revision_view(record: PipelineRecord, previous: PipelineRecord | None) -> RevisionView:
    return RevisionView(
        revision=record.revision,
        definition=record.definition,
        previous=None if previous is None else previous.definition,
        author=record.author,
        created_at=record.created_at,
        archived_at=record.archived_at,
    )


def _view(record: PipelineRecord) -> PipelineView:
    return PipelineView(
        name=record.name,
        revision=record.revision,
        definition=record.definition,
        author=record.author,
        created_at=record.created_at,
    )
