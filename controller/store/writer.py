"""The one thread that writes, and the queue before it.

The rules this module keeps:

1. Works run one after the other, each alone in its transaction: by `Priority`, then in order of arrival.
2. A result is given out once the commit is on the disk, and not if the file is no longer the one opened.
3. After a fault of the disk the connection is dropped, and the next work opens another: recovery needs no
   restart.
"""

import itertools
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from queue import PriorityQueue
from threading import Lock, Thread
from typing import Any, Final, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy import exc

from controller.app.errors import Overloaded, StorageUnavailable
from controller.app.ports import Priority
from controller.app.repositories import Transaction
from controller.store.engine import FileDatabase
from controller.store.faults import translated
from controller.store.runs import PlanCache
from controller.store.transaction import SqlTransaction

T = TypeVar("T")
Work = Callable[[Transaction], Any]

WAITING_MAX: Final = 2_000
"""The most works that may wait; beyond it, taking on more would only make all of them late."""

log = structlog.get_logger()

_Entry = tuple[int, int, Work | None, "Future[Any]"]


class Writer:
    """Runs works on the writing connection, in the order of their priority."""

    def __init__(self, database: FileDatabase, plans: PlanCache) -> None:
        """Start the thread; the database is opened by the first work."""
        self._session: Final = _Session(database, plans)
        self._queue: PriorityQueue[_Entry] = PriorityQueue()
        self._order: Final = itertools.count()
        self._lock: Final = Lock()
        self._is_closed = False
        self._thread: Final = Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> str | None:
        """Why the last work could not be stored, or None where it was."""
        return self._session.fault

    @property
    def waiting_count(self) -> int:
        """The works that wait."""
        return self._queue.qsize()

    def submit(self, work: Callable[[Transaction], T], priority: Priority) -> "Future[T]":
        """Queue *work*; a future that is cancelled before its turn is never run.

        Raises:
            Overloaded: when `WAITING_MAX` works wait.
            StorageUnavailable: after `close`.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._is_closed:
                raise StorageUnavailable("the database is closed: the controller is shutting down")
            if self._queue.qsize() >= WAITING_MAX:
                raise Overloaded(f"{WAITING_MAX} writes wait for the database: try again later")
            self._queue.put((priority, next(self._order), work, future))
        return future

    def close(self) -> None:
        """Carry out what waits, then end the thread; the second time, do nothing."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put((max(Priority) + 1, next(self._order), None, Future()))
        self._thread.join()

    def _run(self) -> None:
        while True:
            _, _, work, future = self._queue.get()
            if work is None:
                self._session.close()
                return
            if future.set_running_or_notify_cancel():
                self._settle(work, future)

    def _settle(self, work: Work, future: "Future[Any]") -> None:
        try:
            result = self._session.transact(work)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
            future.set_exception(error)
        else:
            future.set_result(result)


class _Session:
    """The writing connection: opened when needed, dropped when it failed."""

    def __init__(self, database: FileDatabase, plans: PlanCache) -> None:
        self._database = database
        self._plans = plans
        self._engine = database.write_engine()
        self._connection: sa.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self.fault: str | None = None

    def transact(self, work: Work) -> Any:
        """Return what *work* returns, once that is on the disk."""
        try:
            with translated():
                result = self._commit(work)
        except StorageUnavailable as error:
            self._lose(error)
            raise
        if self.fault is not None:
            log.info("storage_back", fault=self.fault)
        self.fault = None
        return result

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self._drop()
        self._engine.dispose()

    def _commit(self, work: Work) -> Any:
        connection = self._connected()
        with connection.begin():
            result = work(SqlTransaction(connection, self._plans))
            # SQLite rolls back by itself when the disk fails; the commit would then do nothing, silently.
            if not _driver(connection).in_transaction:
                raise StorageUnavailable("the database gave the transaction up: the disk is full or failing")
        if self._database.identity() != self._identity:
            raise StorageUnavailable(f"the database file {self._database.path} is gone, or was replaced")
        return result

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._identity = self._database.identity()
            self._connection = self._engine.connect()
        return self._connection

    def _lose(self, error: StorageUnavailable) -> None:
        if self.fault is None:
            log.error("storage_lost", fault=str(error))
        self.fault = str(error)
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.invalidate()
            connection.close()
        except (exc.SQLAlchemyError, sqlite3.Error) as error:
            log.warning("connection_not_closed", error=str(error))


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
