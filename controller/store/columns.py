"""Column types, and how keys and JSON become SQL."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""An integer primary key. SQLite clusters a table by a column of exactly the type INTEGER only."""


class Json(sa.TypeDecorator[Any]):
    """JSON text that holds one type; what does not fit it, in either direction, is an error."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        """Take the type, or a union of types, that the column holds."""
        super().__init__()
        self.kind = kind
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the text that is stored."""
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return the value that was stored."""
        return None if value is None else self._decoder.decode(value)


class Bulk:
    """One statement for many rows, each a tuple of values as the driver takes them: no `Json`, no enums.

    It is rendered once. Run through `Connection.execute`, every value of every row would be bound by its name
    again, which takes longer than SQLite does.
    """

    def __init__(self, statement: sa.Insert | sa.Update | sa.Delete, names: Sequence[str] | None = None) -> None:
        """Take an update with its values, a delete, or an insert and the *names* of its columns."""
        self._sql: Final = str(statement.compile(dialect=sqlite.dialect(), column_keys=names))

    @classmethod
    def insert(cls, table: sa.Table, *names: str) -> "Bulk":
        """Return the insert of rows ``(*values of names,)``."""
        ordered = [column.name for column in table.c if column.name in names]
        assert ordered == list(names), f"names in another order than the table's: expected {ordered}"
        return cls(sa.insert(table), names)

    @classmethod
    def update(cls, table: sa.Table, *names: str) -> "Bulk":
        """Return the update of rows by ``(*values of names, id)``; an index on no column of *names* is left alone."""
        values: list[tuple[Any, Any]] = [(table.c[name], sa.bindparam(f"b_{name}")) for name in names]
        return cls(sa.update(table).where(table.c.id == sa.bindparam("b_id")).ordered_values(*values))

    def run(self, connection: sa.Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Run the statement for every row; do nothing where there is none."""
        if rows:
            connection.exec_driver_sql(self._sql, list(rows))


def one_of(column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that *column* is in the list bound as *name*, of any length.

    The list is one value, JSON: a statement with a parameter for each element would be rendered anew each time.
    """
    listed = sa.func.json_each(sa.bindparam(name, type_=Json(list))).table_valued("value").alias()
    return column.in_(sa.select(listed.c.value))


def is_exactly(column: sa.Column[Any], *values: str) -> sa.ColumnElement[bool]:
    """Return the condition that *column* is one of our own constants, written into the statement.

    A planner uses a partial index only where the query repeats the index's condition literally.
    """
    literals: list[sa.ColumnElement[Any]] = [sa.literal_column(f"'{value}'") for value in values]
    return column == literals[0] if len(literals) == 1 else column.in_(literals)
