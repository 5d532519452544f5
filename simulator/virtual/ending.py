"""How a healed world must end: nothing left to do, and everybody of one mind about what is installed where."""

from collections.abc import Iterator, Sequence

from agent.core.model import Durable
from controller.app import audit
from controller.app.records import AuditRecord, CommandState, DeviceRecord, RunRecord
from controller.app.repositories import Transaction
from simulator.virtual.device import Device
from simulator.virtual.installer import HALF, NOTHING
from simulator.virtual.picture import Picture
from simulator.virtual.world import World


class Ending:
    """Compares the devices, the database and what was committed."""

    def __init__(self, world: World, picture: Picture, devices: Sequence[Device]) -> None:
        self._world = world
        self._picture = picture
        self._all = devices

    @property
    def _devices(self) -> list[Device]:
        """The devices of the fleet, but those that share an identity with a clone, and are of two minds by nature."""
        names = [device.name for device in self._all]
        gone = {self._picture.devices[device_id].name for device_id in self._picture.removed}
        return [device for device in self._all if names.count(device.name) == 1 and device.name not in gone]

    def left(self, active: Sequence[RunRecord]) -> Iterator[str]:
        """Yield what is not over yet."""
        for run in active:
            yield f"run {run.uid} is still {run.run.state}"
        for name in self._picture.starting(self._world.draws):
            yield f"job {name} still starts runs by itself"
        for device in self._devices:
            if not device.is_on or device.connection is None:
                yield f"{device.label} is not connected"
            elif device.durable is None or device.durable.work is not None:
                yield f"{device.label} is still at work"
            elif device.unsettled_count:
                yield f"{device.label} has {device.unsettled_count} reports that are not settled"

    def complaints(self, tx: Transaction) -> list[str]:
        """Return what does not agree."""
        return [*self._commands(tx), *self._audit(tx), *self._installed(tx), *self._removed(tx)]

    def _removed(self, tx: Transaction) -> Iterator[str]:
        names = [self._picture.devices[device_id].name for device_id in sorted(self._picture.removed)]
        for name, stored in tx.devices.by_names(names).items():
            if stored.instance == self._picture.instance():
                yield f"{name} was removed, and counts as online"
            if self._picture.session(name) is not None:
                yield f"{name} was removed, and has a session"

    def _commands(self, tx: Transaction) -> Iterator[str]:
        """A recall of a device that was removed waits until it expires: the device may be brought back before."""
        recalls = tx.commands.controls_for(sorted(self._picture.removed))
        count = tx.commands.unsent_count() - sum(command.state is CommandState.UNSENT for command in recalls)
        if count:
            yield f"{count} commands were never sent"

    def _audit(self, tx: Transaction) -> Iterator[str]:
        entries: list[AuditRecord] = []
        while page := tx.log.audit(after=entries[-1].id if entries else 0, limit=200):
            entries += page
        broken = audit.first_break(entries)
        if broken is not None:
            yield f"the audit chain breaks at entry {broken}"

    def _installed(self, tx: Transaction) -> Iterator[str]:
        stored = tx.devices.by_names([device.name for device in self._devices])
        for device in self._devices:
            durable = device.durable
            assert durable is not None
            yield from _judge(device, durable, stored[device.name])


def _judge(device: Device, durable: Durable, stored: DeviceRecord) -> Iterator[str]:
    active = device.installer.active
    listed = {release.app: release.sha256 for release in durable.installed}
    if {release.app: release.sha256 for release in stored.installed} != listed:
        yield f"{device.label} lists {listed}, and the database {stored.installed}"
    is_listed = active in {HALF, *listed.values()} or (active == NOTHING and not listed)
    if not is_listed and not stored.is_broken:
        yield f"{device.label} lists {listed}, and {active[:12]} is active"
    if active == HALF and not stored.is_broken:
        yield f"{device.label} is half-way, and the database does not say that it is broken"
