"""One transaction: all repositories on one journal."""

from typing import Final

from simulator.memory.catalog import MemoryCatalog
from simulator.memory.commands import MemoryCommands
from simulator.memory.credentials import MemoryCredentials
from simulator.memory.devices import MemoryDevices
from simulator.memory.groups import MemoryGroups
from simulator.memory.journal import Journal
from simulator.memory.log import MemoryLog
from simulator.memory.restraints import MemoryRestraints
from simulator.memory.runs import MemoryRuns
from simulator.memory.targets import MemoryTargets
from simulator.memory.tenant import MemoryTenant
from simulator.memory.watches import MemoryWatches


class MemoryTransaction:
    """Everything, within one transaction."""

    def __init__(self, journal: Journal) -> None:
        job_ids: dict[int, str] = {}
        self.devices: Final = MemoryDevices(journal)
        self.groups: Final = MemoryGroups(journal, self.devices)
        self.restraints: Final = MemoryRestraints(journal)
        self.runs: Final = MemoryRuns(journal, job_ids)
        self.targets: Final = MemoryTargets(journal, self.devices, self.runs)
        self.watches: Final = MemoryWatches(self.devices, self.runs, self.targets)
        self.commands: Final = MemoryCommands(journal, self.runs)
        self.catalog: Final = MemoryCatalog(journal, job_ids, self.runs)
        self.tenant: Final = MemoryTenant(journal)
        self.credentials: Final = MemoryCredentials(journal)
        self.log: Final = MemoryLog(journal, self.runs)
