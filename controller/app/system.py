"""The controller itself: is it ready, what was refused, who did what."""

from collections.abc import Sequence

from controller.app import heartbeat
from controller.app.access import Actor, Permission
from controller.app.controller import Controller
from controller.app.errors import StorageUnavailable
from controller.app.repositories import Transaction
from controller.app.views import AuditView, Health, SecurityEventView
from protocol.units import SECOND


async def health(controller: Controller, *, transport_faults: Sequence[str] = ()) -> Health:
    """Say whether the controller can do its work.

    The database can be read, and was written a short while ago; and the transport says nothing of faults.
    """

    def work(tx: Transaction) -> tuple[int, int]:
        return tx.commands.unsent_count(), heartbeat.gap_ms(tx, controller.clock.now())

    online = controller.transport.session_count
    try:
        unsent, gap = await controller.read(work)
    except StorageUnavailable as error:
        return Health(ready=False, faults=(str(error), *transport_faults), online=online, unsent=0)
    unwritten = (f"nothing could be written for {gap // SECOND} s: see the log for why",) if gap > 0 else ()
    faults = (*unwritten, *transport_faults)
    return Health(ready=not faults, faults=faults, online=online, unsent=unsent)


async def security_events(
    controller: Controller, actor: Actor, *, after: int = 0, limit: int = 200
) -> tuple[SecurityEventView, ...]:
    """Return security events, oldest first."""
    actor.require(Permission.READ)
    records = await controller.read(lambda tx: tx.log.security(after=after, limit=limit))
    return tuple(
        SecurityEventView(id=r.id, at=r.at, device=r.name, code=r.code, digest=r.digest, detail=r.detail)
        for r in records
    )


async def audit(controller: Controller, actor: Actor, *, after: int = 0, limit: int = 200) -> tuple[AuditView, ...]:
    """Return audit entries, oldest first."""
    actor.require(Permission.READ)
    records = await controller.read(lambda tx: tx.log.audit(after=after, limit=limit))
    return tuple(
        AuditView(id=r.id, at=r.at, actor=r.actor, verb=r.verb, subject=r.subject, reason=r.reason, hash=r.hash)
        for r in records
    )
