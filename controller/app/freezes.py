"""The freeze calendar: spans in which no run in scope begins anything new; the rules are in `controller.domain.freeze`.

Whoever changes the calendar tells it to every run there is in the same transaction, and a run that begins takes it with
it. So once an addition is answered that holds already, no command of a run in scope is handed to a transport.
"""

from collections.abc import Sequence
from typing import Final

from controller.app import audit, holds
from controller.app.access import Actor, Permission
from controller.app.advance import Advance, let_happen
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidRequest, NotFound
from controller.app.once import once
from controller.app.records import FreezeRecord
from controller.app.repositories import Transaction
from controller.app.standstill import require_reason
from controller.app.views import FreezeView
from controller.domain.events import CalendarChanged
from controller.domain.freeze import Freeze
from controller.domain.hints import did_you_mean
from protocol.errors import InvalidName
from protocol.ids import parse_part
from protocol.units import Instant

FREEZES_MAX: Final = 64
"""The most freezes that are not over: every run carries those that concern it."""


async def add(
    controller: Controller,
    actor: Actor,
    *,
    name: str,
    starts_at: Instant | None = None,
    ends_at: Instant,
    reason: str,
    pipelines: Sequence[str] = (),
) -> FreezeView:
    """Add a freeze to the calendar. Where it holds already, nothing in scope is sent any more once this returns.

    Args:
        controller: the controller.
        actor: who asks.
        name: what it is called by.
        starts_at: when it begins; now, where that is not said.
        ends_at: when it is over.
        reason: why.
        pipelines: those whose runs it concerns; all where none is given.

    Raises:
        InvalidRequest: when its name or reason is none, or it ends before it starts, or is over.
        NotFound: when it names a pipeline that there is not.
        Conflict: when there is one of its name, or there are too many.
    """
    actor.require(Permission.CONTROL_RUNS)
    require_reason(reason)
    _require_name(name)

    def work(tx: Transaction, after: Consequences) -> FreezeView:
        advance = Advance(controller, tx, after)
        begins_at = advance.at if starts_at is None else starts_at
        freeze = Freeze(
            name=name, starts_at=begins_at, ends_at=ends_at, reason=reason, pipelines=tuple(dict.fromkeys(pipelines))
        )
        _require_span(freeze, advance.at)
        _require_pipelines(tx, freeze.pipelines)
        _make_room(tx, name, advance.at)
        record = FreezeRecord(name=name, freeze=freeze, actor=actor.name, created_at=advance.at)
        tx.tenant.add_freeze(record)
        _tell(advance)
        audit.record(tx, actor, "freeze.add", name, at=advance.at, reason=reason)
        advance.finish()
        return _view(record, advance.at)

    return await once(controller, actor, work, kind=FreezeView)


async def remove(controller: Controller, actor: Actor, *, name: str, reason: str) -> FreezeView:
    """Take a freeze out of the calendar; where nothing else holds them, its runs go on at once.

    Raises:
        InvalidRequest: when no reason is given.
        NotFound: when there is no such freeze.
    """
    actor.require(Permission.CONTROL_RUNS)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> FreezeView:
        advance = Advance(controller, tx, after)
        record = next((one for one in tx.tenant.freezes() if one.name == name), None)
        if record is None:
            raise NotFound(f"there is no freeze {name!r}")
        tx.tenant.drop_freeze(name)
        _tell(advance)
        audit.record(tx, actor, "freeze.remove", name, at=advance.at, reason=reason)
        advance.finish()
        return _view(record, advance.at)

    return await once(controller, actor, work, kind=FreezeView)


async def list_freezes(controller: Controller, actor: Actor) -> tuple[FreezeView, ...]:
    """Return the calendar, the freeze that begins first first; those that are over stay until the next is added."""
    actor.require(Permission.READ)
    now = controller.clock.now()
    return tuple(_view(record, now) for record in await controller.read(lambda tx: tx.tenant.freezes()))


def _tell(advance: Advance) -> None:
    """Tell every run whose part of the calendar has changed; it does at once what follows."""
    changed: dict[int, CalendarChanged] = {}
    for run_id in advance.tx.runs.active_ids():
        record = advance.record(run_id)
        freezes = holds.freezes(advance.tx, record.plan)
        if freezes != record.run.freezes:
            changed[run_id] = CalendarChanged(at=advance.at, freezes=freezes)
    let_happen(advance, changed)


def _require_name(name: str) -> None:
    try:
        parse_part(name, what="freeze")
    except InvalidName as error:
        raise InvalidRequest(str(error)) from error


def _require_span(freeze: Freeze, at: Instant) -> None:
    if freeze.ends_at <= freeze.starts_at:
        raise InvalidRequest("a freeze ends after it starts")
    if freeze.ends_at <= at:
        raise InvalidRequest("the freeze would be over already")


def _require_pipelines(tx: Transaction, names: Sequence[str]) -> None:
    known = {record.name for record in tx.catalog.pipelines()} if names else set()
    for name in names:
        if name not in known:
            raise NotFound(f"there is no pipeline {name!r}; {did_you_mean(name, known)}")


def _make_room(tx: Transaction, name: str, at: Instant) -> None:
    """Forget what is over, and go on only where the calendar has a place for *name*."""
    left = []
    for record in tx.tenant.freezes():
        if record.freeze.ends_at <= at:
            tx.tenant.drop_freeze(record.name)
        else:
            left.append(record.name)
    if name in left:
        raise Conflict(f"there is a freeze {name!r} already: remove that first, or take another name")
    if len(left) >= FREEZES_MAX:
        raise Conflict(f"the calendar has {FREEZES_MAX} freezes, which is the most: remove one first")


def _view(record: FreezeRecord, at: Instant) -> FreezeView:
    freeze = record.freeze
    return FreezeView(
        name=freeze.name,
        starts_at=freeze.starts_at,
        ends_at=freeze.ends_at,
        reason=freeze.reason,
        pipelines=freeze.pipelines,
        by=record.actor,
        created_at=record.created_at,
        is_over=freeze.ends_at <= at,
    )
