"""The store of the simulation: nothing but dictionaries, and no await.

The rules this module keeps:

1. Every method means what it means in `controller.store`, to the order of results and the ids given out; what breaks a
   rule of that database is an AssertionError here, too.
2. A transaction that raises, whatever it raises, leaves nothing behind. One that only reads cannot write.
3. No clock, no chance, and no order that depends on the hash of a string: equal calls give equal results.

>>> import asyncio
>>> from controller.app.ports import Priority
>>> async def example():
...     store = MemoryStore()
...     await store.write(lambda tx: tx.log.beat(1_000), priority=Priority.HOUSEKEEPING)
...     return await store.read(lambda tx: tx.log.heartbeat())
>>> asyncio.run(example())
1000
"""

from collections.abc import Callable
from typing import Final, TypeVar

from controller.app.ports import Priority
from controller.app.repositories import Transaction
from simulator.memory.journal import Journal
from simulator.memory.transaction import MemoryTransaction

T = TypeVar("T")


class MemoryStore:
    """A database of records kept as they are; a work runs where it is asked for."""

    def __init__(self) -> None:
        """Make an empty database."""
        self._journal: Final = Journal()
        self._transaction: Final = MemoryTransaction(self._journal)

    async def write(self, work: Callable[[Transaction], T], *, priority: Priority) -> T:  # noqa: ARG002
        """Run *work* in one transaction and keep what it changed, unless it raises."""
        self._transaction.commands.begin()
        return self._journal.run(lambda: work(self._transaction))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run *work*, which only reads.

        Raises:
            AssertionError: when *work* writes.
        """
        return work(self._transaction)

    def close(self) -> None:
        """Do nothing: what nobody refers to is gone."""
