"""Who is online: a device is, while its newest hello came in this life of the transport and its session lasts."""

from controller.app.controller import Controller
from controller.app.records import DeviceRecord
from controller.app.repositories import Transaction
from protocol.ids import Name
from protocol.messages import Gone

OFFLINE = 0


def gone(controller: Controller, tx: Transaction, device: DeviceRecord, will: Gone) -> None:
    """Note that a connection is gone; a stale will, of an older connection, changes nothing."""
    if tx.devices.save_gone(device.id, connection=will.connection, at=controller.clock.now()):
        tx.targets.set_ready([device.id], OFFLINE)


def went(controller: Controller, tx: Transaction, name: Name) -> None:
    """Note that a device has no session any more, unless it has come back in the meantime."""
    device = tx.devices.by_names([name]).get(name)
    if device is not None and controller.transport.session(name) == OFFLINE:
        gone(controller, tx, device, Gone(connection=device.connection))
