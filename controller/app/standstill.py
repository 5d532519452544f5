"""Stopping everything at once: one hold of every run there is and of every run to come, until it is lifted.

Stopping asks nothing, needs no more than a reason, and done twice is done once. Lifting needs a permission of its own.
"""

from typing import Final

from controller.app import audit
from controller.app.access import Actor, Permission
from controller.app.advance import Advance, let_happen
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidRequest
from controller.app.once import once
from controller.app.records import RunRecord, StandstillRecord
from controller.app.repositories import Transaction
from controller.app.views import StandstillView
from controller.domain import settle
from controller.domain.events import Lifted, Paused

STOP_EVERYTHING: Final = settle.STOP_EVERYTHING
EVERYTHING: Final = "everything"
REASON_LENGTH_MAX: Final = 500


async def stop(controller: Controller, actor: Actor, *, reason: str) -> StandstillView:
    """Hold every run: once this returns, no command of any is handed to a transport. Idempotent: the first counts.

    Raises:
        InvalidRequest: when no reason is given.
    """
    actor.require(Permission.STOP_EVERYTHING)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> StandstillView:
        advance = Advance(controller, tx, after)
        if tx.tenant.standstill() is None:
            tx.tenant.stand_still(StandstillRecord(at=advance.at, actor=actor.name, reason=reason))
        held = Paused(at=advance.at, reason=STOP_EVERYTHING, by=actor.name)
        let_happen(advance, {record.id: held for record in _going(advance)})
        audit.record(tx, actor, "everything.stop", EVERYTHING, at=advance.at, reason=reason)
        advance.finish()
        return _view(tx.tenant.standstill())

    return await once(controller, actor, work, kind=StandstillView)


async def lift(controller: Controller, actor: Actor, *, reason: str) -> StandstillView:
    """Let every run go on that nothing else holds. Lifting twice is lifting once.

    Raises:
        InvalidRequest: when no reason is given.
    """
    actor.require(Permission.LIFT_STANDSTILL)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> StandstillView:
        advance = Advance(controller, tx, after)
        if tx.tenant.standstill() is not None:
            tx.tenant.lift_standstill()
        lifted = Lifted(at=advance.at, reason=STOP_EVERYTHING, by=actor.name)
        let_happen(advance, dict.fromkeys(tx.runs.active_ids(), lifted))
        audit.record(tx, actor, "everything.lift", EVERYTHING, at=advance.at, reason=reason)
        advance.finish()
        return _view(None)

    return await once(controller, actor, work, kind=StandstillView)


async def get(controller: Controller, actor: Actor) -> StandstillView:
    """Say whether everything is stopped, since when, by whom and why."""
    actor.require(Permission.READ)
    return _view(await controller.read(lambda tx: tx.tenant.standstill()))


def require_lifted(record: RunRecord) -> None:
    """Go on only while everything is not stopped: nobody resumes a run from under a standstill.

    Raises:
        Conflict: when it is.
    """
    if STOP_EVERYTHING in record.run.pause_reasons:
        raise Conflict("everything is stopped: lift that first (`tidegate stop-everything --lift`)")


def require_reason(reason: str) -> None:
    """Go on only with a reason, which is kept in the audit log.

    Raises:
        InvalidRequest: when it is empty or too long.
    """
    if not 1 <= len(reason.strip()) <= REASON_LENGTH_MAX:
        raise InvalidRequest(f"expected a reason of 1 to {REASON_LENGTH_MAX} characters; it is kept in the audit log")


def _going(advance: Advance) -> list[RunRecord]:
    """Return the runs that a pause can hold; one that is stopped for good only waits for devices called back."""
    records = [advance.record(run_id) for run_id in advance.tx.runs.active_ids()]
    return [record for record in records if not record.run.is_stopped]


def _view(record: StandstillRecord | None) -> StandstillView:
    if record is None:
        return StandstillView(stopped=False, since=None, by="", reason="")
    return StandstillView(stopped=True, since=record.at, by=record.actor, reason=record.reason)
