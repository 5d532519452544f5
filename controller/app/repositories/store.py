"""The database: one transaction has everything."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from controller.app.ports import Priority
from controller.app.repositories.catalog import Catalog
from controller.app.repositories.devices import Devices, Groups
from controller.app.repositories.log import Log
from controller.app.repositories.restraints import RestraintsKept
from controller.app.repositories.rollouts import Commands, Runs, Targets
from controller.app.repositories.tenant import Credentials, Tenant
from controller.app.repositories.watches import Watches

T = TypeVar("T")


class Transaction(Protocol):
    """Everything, within one transaction."""

    @property
    def devices(self) -> Devices:
        """Enrolled devices."""

    @property
    def groups(self) -> Groups:
        """Groups of devices."""

    @property
    def restraints(self) -> RestraintsKept:
        """Holds, pins and upgrade paths."""

    @property
    def runs(self) -> Runs:
        """Runs and their stages."""

    @property
    def targets(self) -> Targets:
        """Devices in runs."""

    @property
    def watches(self) -> Watches:
        """Devices in runs that are watched after their success."""

    @property
    def commands(self) -> Commands:
        """Commands."""

    @property
    def catalog(self) -> Catalog:
        """Pipelines, jobs and releases."""

    @property
    def tenant(self) -> Tenant:
        """What holds for everything at once."""

    @property
    def credentials(self) -> Credentials:
        """Tokens and claims."""

    @property
    def log(self) -> Log:
        """What is only added to."""


class Store(Protocol):
    """The database."""

    async def write(self, work: Callable[[Transaction], T], *, priority: Priority) -> T:
        """Run *work* in one transaction, alone, and commit durably before returning.

        Raises:
            controller.app.errors.StorageUnavailable: when the database cannot be written; nothing of *work* stays.
        """

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run *work*, which only reads, on one consistent snapshot beside the writer.

        Raises:
            controller.app.errors.StorageUnavailable: when the database cannot be read.
        """
