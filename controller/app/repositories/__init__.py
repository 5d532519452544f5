"""What the use cases ask of the database. The SQL store implements it; the simulation has one in memory.

All methods are synchronous and run inside one transaction: a `Transaction` writes, a `Snapshot` only reads. Nothing
here commits; `Store.write` does, once, when the work returned, and rolls everything back when it raised.
"""

from controller.app.repositories.catalog import Catalog as Catalog
from controller.app.repositories.devices import Devices as Devices
from controller.app.repositories.devices import Groups as Groups
from controller.app.repositories.log import Log as Log
from controller.app.repositories.log import ReportKey as ReportKey
from controller.app.repositories.restraints import RestraintsKept as RestraintsKept
from controller.app.repositories.rollouts import Commands as Commands
from controller.app.repositories.rollouts import Runs as Runs
from controller.app.repositories.rollouts import Targets as Targets
from controller.app.repositories.store import Store as Store
from controller.app.repositories.store import Transaction as Transaction
from controller.app.repositories.tenant import Credentials as Credentials
from controller.app.repositories.tenant import Tenant as Tenant
from controller.app.repositories.watches import Watches as Watches
