"""One transaction: all repositories on one connection."""

from typing import Final

import sqlalchemy as sa

from controller.store.catalog import SqlCatalog
from controller.store.commands import SqlCommands
from controller.store.credentials import SqlCredentials
from controller.store.devices import SqlDevices
from controller.store.groups import SqlGroups
from controller.store.log import SqlLog
from controller.store.restraints import SqlRestraints
from controller.store.runs import PlanCache, SqlRuns
from controller.store.targets import SqlTargets
from controller.store.tenant import SqlTenant
from controller.store.watches import SqlWatches


class SqlTransaction:
    """Everything, within one transaction."""

    def __init__(self, connection: sa.Connection, plans: PlanCache) -> None:
        self.devices: Final = SqlDevices(connection)
        self.groups: Final = SqlGroups(connection)
        self.restraints: Final = SqlRestraints(connection)
        self.runs: Final = SqlRuns(connection, plans)
        self.targets: Final = SqlTargets(connection)
        self.watches: Final = SqlWatches(connection)
        self.commands: Final = SqlCommands(connection)
        self.catalog: Final = SqlCatalog(connection)
        self.tenant: Final = SqlTenant(connection)
        self.credentials: Final = SqlCredentials(connection)
        self.log: Final = SqlLog(connection)
