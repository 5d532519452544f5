"""Holding devices back, and pinning them to versions.

A hold takes nothing back from a device that has accepted its command: it has begun. What it has not accepted is called
back, and the device waits in the queue of its run until the hold ends.
"""

from collections.abc import Callable

from controller.app import audit
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.changes import notice
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.devices import find_present, view_of
from controller.app.errors import InvalidRequest
from controller.app.once import once
from controller.app.records import DeviceRecord
from controller.app.repositories import Transaction
from controller.app.standstill import require_reason
from controller.app.views import DeviceView
from controller.domain.admission import BlockReason, Hold, Pin
from controller.domain.ranges import InvalidRange, parse_range
from protocol.errors import InvalidName
from protocol.ids import parse_part
from protocol.units import Instant

Order = Callable[[Advance, DeviceRecord], None]


async def hold(
    controller: Controller, actor: Actor, *, device: str, reason: str, until: Instant | None = None
) -> DeviceView:
    """Give a device no work, for ever or until an instant; a second hold takes the place of the first.

    Raises:
        NotFound: when it is not enrolled.
        InvalidRequest: when no reason is given, or the instant has passed.
    """

    def order(advance: Advance, found: DeviceRecord) -> None:
        if until is not None and until <= advance.at:
            raise InvalidRequest("the hold would have ended already: expected a later time")
        kept = Hold(by=actor.name, reason=reason, at=advance.at, until=until)
        advance.tx.restraints.hold(found.id, kept)
        _call_back(advance, found)

    return await _restrain(controller, actor, device, reason, verb="device.hold", order=order)


async def unhold(controller: Controller, actor: Actor, *, device: str, reason: str) -> DeviceView:
    """Let a device get work again. Lifting a hold that there is not changes nothing.

    Raises:
        NotFound: when it is not enrolled.
        InvalidRequest: when no reason is given.
    """

    def order(advance: Advance, found: DeviceRecord) -> None:
        advance.tx.restraints.unhold(found.id)

    return await _restrain(controller, actor, device, reason, verb="device.unhold", order=order)


async def pin(controller: Controller, actor: Actor, *, device: str, app: str, versions: str, reason: str) -> DeviceView:
    """Give a device no version of an app outside a range; a second pin of the app takes the place of the first.

    Raises:
        NotFound: when it is not enrolled.
        InvalidRequest: when no reason is given, or *versions* is no range.
    """
    _check(app, versions)

    def order(advance: Advance, found: DeviceRecord) -> None:
        kept = Pin(app=app, versions=versions, by=actor.name, reason=reason, at=advance.at)
        advance.tx.restraints.pin(found.id, kept)
        _call_back(advance, found)

    said = f"{app} {versions}: {reason}"
    return await _restrain(controller, actor, device, reason, verb="device.pin", order=order, said=said)


async def unpin(controller: Controller, actor: Actor, *, device: str, app: str, reason: str) -> DeviceView:
    """Let a device get any version of an app again. Taking away a pin that there is not changes nothing.

    Raises:
        NotFound: when it is not enrolled.
        InvalidRequest: when no reason is given.
    """

    def order(advance: Advance, found: DeviceRecord) -> None:
        advance.tx.restraints.unpin(found.id, app)

    said = f"{app}: {reason}"
    return await _restrain(controller, actor, device, reason, verb="device.unpin", order=order, said=said)


async def _restrain(
    controller: Controller, actor: Actor, device: str, reason: str, *, verb: str, order: Order, said: str = ""
) -> DeviceView:
    actor.require(Permission.EDIT_DEVICES)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> DeviceView:
        advance = Advance(controller, tx, after)
        found = find_present(controller, tx, device)
        order(advance, found)
        notice(advance, [found.id])
        audit.record(tx, actor, verb, device, at=advance.at, reason=said or reason)
        advance.finish()
        return view_of(controller, tx, found)

    return await once(controller, actor, work, kind=DeviceView)


def _call_back(advance: Advance, device: DeviceRecord) -> None:
    """Call back what a device has not accepted and would not be given any more."""
    row = advance.tx.targets.at_work(device.id)
    if row is None:
        return
    record = advance.record(row.run_id)
    if advance.releasing.refusal(record, row) in {BlockReason.HELD, BlockReason.PINNED}:
        advance.releasing.recall(record, [row])


def _check(app: str, versions: str) -> None:
    try:
        parse_part(app, what="app")
        parse_range(versions)
    except (InvalidName, InvalidRange) as error:
        raise InvalidRequest(str(error)) from error
