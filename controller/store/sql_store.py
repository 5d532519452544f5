"""The store: the one way to the database.

>>> import asyncio, tempfile
>>> from controller.app.ports import Priority
>>> async def example(folder):
...     store = SqlStore.open(f"sqlite:///{folder}/tidegate.db")
...     store.migrate()
...     await store.write(lambda tx: tx.log.beat(1_000), priority=Priority.HOUSEKEEPING)
...     said = await store.read(lambda tx: tx.log.heartbeat())
...     store.close()
...     return said
>>> with tempfile.TemporaryDirectory() as folder:
...     asyncio.run(example(folder))
1000
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from controller.app.ports import Priority
from controller.app.repositories import Transaction
from controller.store import schema
from controller.store.engine import FileDatabase
from controller.store.readers import Readers
from controller.store.runs import PlanCache
from controller.store.writer import Writer

T = TypeVar("T")


class SqlStore:
    """A database in a file of SQLite: one thread writes, a few read. `migrate` comes before anything else."""

    def __init__(self, database: FileDatabase) -> None:
        """Start the threads; nothing is opened before the first work."""
        plans = PlanCache()
        self._database: Final = database
        self._writer: Final = Writer(database, plans)
        self._readers: Final = Readers(database, plans)

    @classmethod
    def open(cls, url: str) -> "SqlStore":
        """Return the store at a URL such as ``sqlite:////var/lib/tidegate/tidegate.db``.

        Raises:
            ValueError: when *url* is not that of a file of SQLite.
        """
        return cls(FileDatabase(url))

    def migrate(self) -> None:
        """Bring the database to the schema of this version; make it where there is none.

        Raises:
            controller.app.errors.StorageUnavailable: when the database cannot be written.
        """
        schema.upgrade(self._database)

    @property
    def fault(self) -> str | None:
        """Why the last write could not be stored, or None where it was."""
        return self._writer.fault

    @property
    def waiting_count(self) -> int:
        """The writes that wait."""
        return self._writer.waiting_count

    async def write(self, work: Callable[[Transaction], T], *, priority: Priority) -> T:
        """Run *work* in one transaction, alone, and commit durably before returning.

        A caller that is cancelled meanwhile cannot tell whether the work was done, unless it had not begun.

        Raises:
            controller.app.errors.StorageUnavailable: when the database cannot be written; nothing
                of *work* stays.
            controller.app.errors.Overloaded: when too many writes wait.
        """
        return await asyncio.wrap_future(self._writer.submit(work, priority))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run *work*, which only reads, on one consistent snapshot beside the writer.

        Raises:
            controller.app.errors.StorageUnavailable: when the database cannot be read, or *work* writes.
        """
        return await asyncio.wrap_future(self._readers.submit(work))

    def close(self) -> None:
        """Carry out what waits, then close the database."""
        self._writer.close()
        self._readers.close()
