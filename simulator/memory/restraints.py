"""`controller.app.repositories.RestraintsKept` in memory."""

from collections.abc import Collection

import msgspec

from controller.domain.admission import Hold, Pin, Restraints, UpgradePath
from simulator.memory.journal import Journal


class MemoryRestraints:
    """Holds and pins of devices, and the upgrade paths of releases."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ordered: dict[int, Restraints] = {}
        self._paths: dict[tuple[str, str], UpgradePath] = {}

    def of(self, device_ids: Collection[int]) -> dict[int, Restraints]:
        return {id_: self._ordered[id_] for id_ in sorted(set(device_ids)) if id_ in self._ordered}

    def hold(self, device_id: int, hold: Hold) -> None:
        self._put(device_id, msgspec.structs.replace(self._get(device_id), hold=hold))

    def unhold(self, device_id: int) -> bool:
        before = self._get(device_id)
        self._put(device_id, msgspec.structs.replace(before, hold=None))
        return before.hold is not None

    def pin(self, device_id: int, pin: Pin) -> None:
        self.unpin(device_id, pin.app)
        before = self._get(device_id)
        pins = sorted((*before.pins, pin), key=lambda one: one.app)
        self._put(device_id, msgspec.structs.replace(before, pins=tuple(pins)))

    def unpin(self, device_id: int, app: str) -> bool:
        before = self._get(device_id)
        left = tuple(pin for pin in before.pins if pin.app != app)
        self._put(device_id, msgspec.structs.replace(before, pins=left))
        return left != before.pins

    def path(self, app: str, version: str) -> UpgradePath | None:
        return self._paths.get((app, version))

    def set_path(self, app: str, version: str, path: UpgradePath | None) -> None:
        if path is not None:
            self._journal.put(self._paths, (app, version), path)
        elif (app, version) in self._paths:
            self._journal.drop(self._paths, (app, version))

    def _get(self, device_id: int) -> Restraints:
        return self._ordered.get(device_id, Restraints())

    def _put(self, device_id: int, restraints: Restraints) -> None:
        if restraints != Restraints():
            self._journal.put(self._ordered, device_id, restraints)
        elif device_id in self._ordered:
            self._journal.drop(self._ordered, device_id)
