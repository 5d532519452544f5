"""`controller.app.repositories.Tenant` in memory."""

from controller.app.records import StandstillRecord
from simulator.memory.journal import Journal

_TENANT = "tenant"


class MemoryTenant:
    """What holds for everything at once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._standstill: dict[str, StandstillRecord] = {}

    def standstill(self) -> StandstillRecord | None:
        return self._standstill.get(_TENANT)

    def stand_still(self, record: StandstillRecord) -> None:
        assert not self._standstill, "everything is stopped already"
        self._journal.put(self._standstill, _TENANT, record)

    def lift_standstill(self) -> None:
        self._journal.drop(self._standstill, _TENANT)
