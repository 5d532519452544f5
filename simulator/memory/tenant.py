"""`controller.app.repositories.Tenant` in memory."""

from controller.app.records import FreezeRecord, StandstillRecord
from simulator.memory.journal import Journal

_TENANT = "tenant"


class MemoryTenant:
    """What holds for everything at once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._standstill: dict[str, StandstillRecord] = {}
        self._freezes: dict[str, FreezeRecord] = {}

    def standstill(self) -> StandstillRecord | None:
        return self._standstill.get(_TENANT)

    def stand_still(self, record: StandstillRecord) -> None:
        assert not self._standstill, "everything is stopped already"
        self._journal.put(self._standstill, _TENANT, record)

    def lift_standstill(self) -> None:
        self._journal.drop(self._standstill, _TENANT)

    def freezes(self) -> list[FreezeRecord]:
        return sorted(self._freezes.values(), key=lambda record: (record.freeze.starts_at, record.name))

    def add_freeze(self, record: FreezeRecord) -> None:
        assert record.name not in self._freezes, f"there is a freeze {record.name} already"
        self._journal.put(self._freezes, record.name, record)

    def drop_freeze(self, name: str) -> None:
        self._journal.drop(self._freezes, name)
