"""Taking a device out of the fleet for good: nothing of it is believed, counted or waited for any more."""

from controller.app import audit, devices, silence
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.giving_up import end_at_once
from controller.app.once import once
from controller.app.records import DeviceRecord
from controller.app.repositories import Transaction
from controller.app.standstill import require_reason
from controller.app.views import DeviceView
from controller.domain.target import Removed


async def remove(controller: Controller, actor: Actor, *, device: str, reason: str) -> DeviceView:
    """Remove a device from the fleet, its groups and every active run; twice is once.

    A device at work is called back. Enrolling it anew brings it back, with its labels.

    Raises:
        NotFound: when it is not enrolled.
        InvalidRequest: when no reason is given.
    """
    actor.require(Permission.EDIT_DEVICES)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> DeviceView:
        advance = Advance(controller, tx, after)
        found = devices.find(controller, tx, device)
        if found.removed_at is None:
            _remove(advance, found, reason)
        audit.record(tx, actor, "device.remove", device, at=advance.at, reason=reason)
        advance.finish()
        return devices.view_of(controller, tx, devices.find(controller, tx, device))

    view = await once(controller, actor, work, kind=DeviceView)
    controller.transport.close(devices.named(controller, device), reason="removed")
    return view


def _remove(advance: Advance, device: DeviceRecord, reason: str) -> None:
    tx = advance.tx
    tx.devices.set_removed(device.device, at=advance.at)
    tx.devices.set_gone([device.id])  # the end of its session may go unnoted, and its will is not believed any more
    silence.shut_out(advance, device.id)
    for path in tx.groups.groups_of(device.id):
        tx.groups.drop_members(path, [device.id])
    for row in tx.targets.of_device(device.id):
        if not row.target.state.is_terminal or row.target.is_control:
            record = advance.record(row.run_id)
            end_at_once(advance, record, row, Removed(at=record.run.clock.run_time(advance.at), detail=reason))
