"""The store of the simulation: the same repositories on a database in memory, and no threads."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from controller.app.ports import Priority
from controller.app.repositories import Transaction
from controller.store.engine import memory_engine
from controller.store.faults import translated
from controller.store.runs import PlanCache
from controller.store.tables import metadata
from controller.store.transaction import SqlTransaction

T = TypeVar("T")


class InlineStore:
    """A database in memory; a work runs where it is asked for, without any await."""

    def __init__(self) -> None:
        """Make an empty database with the newest schema."""
        self._engine: Final = memory_engine()
        self._connection: Final = self._engine.connect()
        self._plans: Final = PlanCache()
        with self._connection.begin():
            for statement in _ddl():
                self._connection.exec_driver_sql(statement)

    async def write(self, work: Callable[[Transaction], T], *, priority: Priority) -> T:  # noqa: ARG002
        """Run *work* in one transaction and commit."""
        with translated(), self._connection.begin():
            return work(SqlTransaction(self._connection, self._plans))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run *work*, which only reads."""
        self._query_only(is_on=True)
        try:
            with translated(), self._connection.begin():
                return work(SqlTransaction(self._connection, self._plans))
        finally:
            self._query_only(is_on=False)

    def close(self) -> None:
        """Forget the database."""
        self._connection.close()
        self._engine.dispose()

    def _query_only(self, *, is_on: bool) -> None:
        driver = self._connection.connection.driver_connection
        assert driver is not None
        driver.execute(f"PRAGMA query_only={'ON' if is_on else 'OFF'}")


@cache
def _ddl() -> Sequence[str]:
    """Return the statements that make every table and index; rendering them takes longest."""
    dialect = sa.create_engine("sqlite://").dialect
    tables = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    indexes = [index for table in metadata.sorted_tables for index in table.indexes]
    return [*tables, *(str(CreateIndex(index).compile(dialect=dialect)) for index in indexes)]
