"""Runs, their devices and their timelines, as people see them."""

from controller.app import cursors, run_views
from controller.app.access import Actor, Permission
from controller.app.controller import Controller
from controller.app.errors import InvalidRequest
from controller.app.records import EventRecord
from controller.app.repositories import Transaction
from controller.app.runs.lookup import find, stage_index
from controller.app.views import EventView, Page, RunView, TargetView
from controller.domain.target import TargetState


async def get(controller: Controller, actor: Actor, *, run: str) -> RunView:
    """Return a run.

    Raises:
        NotFound: when there is no such run.
    """
    actor.require(Permission.READ)

    def work(tx: Transaction) -> RunView:
        record = find(tx, run)
        return run_views.run_view(record, tx.targets.blocked_counts(record.id))

    return await controller.read(work)


async def list_runs(
    controller: Controller,
    actor: Actor,
    *,
    job: str | None = None,
    active: bool | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[RunView]:
    """Return runs, newest first."""
    actor.require(Permission.READ)
    before = None if cursor is None else cursors.decode_int(cursor)
    records = await controller.read(lambda tx: tx.runs.page(job=job, active=active, before=before, limit=limit))
    next_cursor = cursors.encode(records[-1].id) if len(records) == limit else None
    return Page(items=tuple(run_views.run_view(record) for record in records), cursor=next_cursor)


async def targets(
    controller: Controller,
    actor: Actor,
    *,
    run: str,
    stage: str | None = None,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[TargetView]:
    """Return a run's devices in dispatch order.

    Raises:
        NotFound: when there is no such run or stage.
        InvalidRequest: when *state* is none of a target's states.
    """
    actor.require(Permission.READ)
    wanted = _target_state(state)
    after = 0 if cursor is None else cursors.decode_int(cursor)

    def work(tx: Transaction) -> Page[TargetView]:
        record = find(tx, run)
        index = None if stage is None else stage_index(record, stage)
        rows = tx.targets.page(record.id, stage=index, state=wanted, after=after, limit=limit)
        next_cursor = cursors.encode(rows[-1].id) if len(rows) == limit else None
        return Page(items=tuple(run_views.target_view(controller, record, row) for row in rows), cursor=next_cursor)

    return await controller.read(work)


async def events(
    controller: Controller, actor: Actor, *, run: str, after: int = 0, limit: int = 200
) -> tuple[EventView, ...]:
    """Return a run's timeline, oldest first.

    Raises:
        NotFound: when there is no such run.
    """
    actor.require(Permission.READ)
    records = await controller.read(lambda tx: tx.log.events(find(tx, run).id, after=after, limit=limit))
    return tuple(event_view(record) for record in records)


def event_view(record: EventRecord) -> EventView:
    """Return an entry of a timeline as people see it."""
    return EventView(id=record.id, at=record.at, kind=record.kind, data=record.data)


def _target_state(text: str | None) -> TargetState | None:
    try:
        return None if text is None else TargetState(text)
    except ValueError as error:
        raise InvalidRequest(f"state {text!r}: expected one of {', '.join(TargetState)}") from error
