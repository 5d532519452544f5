"""Who is online: a device is, while its newest hello came in this life of the transport and its session lasts."""

from collections.abc import Collection

from controller.app.controller import Controller
from controller.app.records import TargetRecord
from controller.app.repositories import Transaction
from protocol.ids import Name
from protocol.messages import Gone

OFFLINE = 0


def gone(controller: Controller, tx: Transaction, device_id: int, will: Gone) -> None:
    """Note that a connection is gone; a stale will, of an older connection, changes nothing."""
    if tx.devices.save_gone(device_id, connection=will.connection, at=controller.clock.now()):
        tx.targets.set_ready([device_id], OFFLINE)


def freed(controller: Controller, tx: Transaction, rows: Collection[TargetRecord]) -> list[int]:
    """Note of devices that are no longer at work whether they are online; return the runs that wait for one that is.

    While a device is at work nobody keeps its row's `ready`, so it says where the device was when it was released.
    """
    instance = controller.transport.instance
    devices = tx.devices.senders({row.name for row in rows})
    online = [device.id for device in devices.values() if device.instance == instance]
    offline = [device.id for device in devices.values() if device.instance != instance]
    tx.targets.set_ready(offline, OFFLINE)
    return tx.targets.set_ready(online, instance)


def went(controller: Controller, tx: Transaction, name: Name) -> None:
    """Note that a device has no session any more, unless it has come back in the meantime."""
    device = tx.devices.by_names([name]).get(name)
    if device is not None and controller.transport.session(name) == OFFLINE:
        gone(controller, tx, device.id, Gone(connection=device.connection))
