"""The threads that read, each on a snapshot of its own beside the writer."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from controller.app.errors import StorageUnavailable
from controller.app.repositories import Transaction
from controller.store.engine import READERS, FileDatabase
from controller.store.faults import translated
from controller.store.runs import PlanCache
from controller.store.transaction import SqlTransaction

T = TypeVar("T")


class Readers:
    """Runs works that only read, `READERS` at a time."""

    def __init__(self, database: FileDatabase, plans: PlanCache) -> None:
        """Open nothing yet."""
        self._database = database
        self._plans = plans
        self._engine = database.read_engine()
        self._identity = database.identity()
        self._threads: Final = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")

    def submit(self, work: Callable[[Transaction], T]) -> "Future[T]":
        """Queue *work*.

        Raises:
            StorageUnavailable: after `close`.
        """
        try:
            return self._threads.submit(self._read, work)
        except RuntimeError as error:
            raise StorageUnavailable("the database is closed: the controller is shutting down") from error

    def close(self) -> None:
        """Carry out what waits, then end the threads."""
        self._threads.shutdown()
        self._engine.dispose()

    def _read(self, work: Callable[[Transaction], T]) -> T:
        self._check_file()
        try:
            with translated(), self._engine.begin() as connection:
                return work(SqlTransaction(connection, self._plans))
        except StorageUnavailable:
            self._engine.dispose()
            raise

    def _check_file(self) -> None:
        """Let go of connections to a file that is no longer the one at the path."""
        identity = self._database.identity()
        if identity != self._identity:
            self._engine.dispose()
            self._identity = identity
