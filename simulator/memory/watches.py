"""`controller.app.repositories.Watches` in memory."""

from collections.abc import Collection

from controller.app.records import TargetRecord
from controller.domain.silence import Bystander
from controller.domain.target import Target, TargetState
from protocol.units import Instant
from simulator.memory.devices import MemoryDevices
from simulator.memory.runs import MemoryRuns
from simulator.memory.targets import MemoryTargets, is_reached


def _is_unpaired(target: Target, since: Instant) -> bool:
    is_told = target.measured_at is not None and target.measured_at >= since
    return is_told and target.is_control and not target.is_paired


class MemoryWatches:
    """Devices in runs that are watched after their success."""

    def __init__(self, devices: MemoryDevices, runs: MemoryRuns, targets: MemoryTargets) -> None:
        self._devices = devices
        self._runs = runs
        self._targets = targets

    def of_devices(self, device_ids: Collection[int]) -> list[TargetRecord]:
        rows = [row for id_ in set(device_ids) for row in self._targets.of_device(id_)]
        return sorted((row for row in rows if row.target.watched_until is not None), key=lambda row: row.id)

    def away(self, stage_id: int, *, instance: int, after: int, limit: int) -> list[TargetRecord]:
        rows = self._targets.in_stage(stage_id, TargetState.SUCCEEDED)
        watched = [row for row in rows if row.target.watched_until is not None]
        return [row for row in watched if row.id > after and not self._is_online(row.device_id, instance)][:limit]

    def partners(self, stage_id: int, *, model: str, since: Instant, limit: int) -> list[TargetRecord]:
        rows = self._targets.in_stage(stage_id)
        return [row for row in rows if row.model == model and _is_unpaired(row.target, since)][:limit]

    def bystanders(self, run_id: int, *, instance: int, limit: int) -> list[Bystander]:
        last = self._devices.last_id()
        ids = (place * max(1, -(-last // limit)) + 1 for place in range(limit))
        return [self._bystander(run_id, id_, instance) for id_ in ids if id_ <= last and self._is_fit(id_)]

    def _bystander(self, run_id: int, device_id: int, instance: int) -> Bystander:
        row = self._targets.find(run_id, device_id)
        return Bystander(
            is_online=self._is_online(device_id, instance),
            last_seen_at=self._devices.get(device_id).last_seen_at,
            is_reached=row is not None and is_reached(row.target),
        )

    def _is_fit(self, device_id: int) -> bool:
        device = self._devices.get(device_id)
        return not device.is_blocked and device.removed_at is None

    def _is_online(self, device_id: int, instance: int) -> bool:
        return 0 < self._devices.get(device_id).instance == instance
