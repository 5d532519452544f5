"""`controller.app.repositories.Groups` in memory."""

from collections.abc import Collection, Sequence
from typing import Final

from controller.app.records import GroupRecord
from controller.domain.group import is_within
from protocol.ids import DeviceId
from protocol.units import Instant
from simulator.memory.devices import MemoryDevices
from simulator.memory.journal import Journal


class MemoryGroups:
    """Named sets of devices, in a tree; who belongs to them is kept with the devices, which queries ask about."""

    def __init__(self, journal: Journal, devices: MemoryDevices) -> None:
        self._journal: Final = journal
        self._devices: Final = devices
        self._made: dict[str, Instant] = {}

    def paths(self) -> set[str]:
        return set(self._made)

    def counted(self) -> list[GroupRecord]:
        return [GroupRecord(path, self._made[path], *self._counts(path)) for path in sorted(self._made)]

    def add(self, paths: Sequence[str], *, at: Instant) -> None:
        for path in paths:
            assert path not in self._made, f"there is a group {path!r} already"
            self._journal.put(self._made, path, at)

    def remove(self, path: str) -> None:
        for below in [one for one in self._made if is_within(one, path)]:
            self.drop_members(below, self._devices.members(below))
            self._journal.drop(self._made, below)

    def add_members(self, path: str, ids: Collection[int]) -> int:
        new = set(ids) - self._devices.members(path)
        assert not new or path in self._made, f"there is no group {path!r}"
        for id_ in sorted(new):
            self._devices.set_groups(id_, self._devices.groups_of(id_) | {path})
        return len(new)

    def drop_members(self, path: str, ids: Collection[int]) -> int:
        gone = set(ids) & self._devices.members(path)
        for id_ in sorted(gone):
            self._devices.set_groups(id_, self._devices.groups_of(id_) - {path})
        return len(gone)

    def groups_of(self, device_id: int) -> list[str]:
        return sorted(self._devices.groups_of(device_id))

    def ids_of(self, devices: Collection[DeviceId]) -> dict[DeviceId, int]:
        return self._devices.ids_of(devices)

    def _counts(self, path: str) -> tuple[int, int]:
        below = [self._devices.members(one) for one in self._made if is_within(one, path)]
        return len(self._devices.members(path)), len(set().union(*below))
