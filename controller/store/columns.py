"""Column types, and how keys and JSON become SQL."""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect

T = TypeVar("T")

CHUNK_SIZE: Final = 1_000
"""The most values in one ``IN``; full chunks share one prepared statement."""

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


def chunks(values: Collection[T]) -> Iterator[list[T]]:
    """Yield *values* in lists of at most `CHUNK_SIZE`."""
    rest = iter(values)
    while chunk := list(islice(rest, CHUNK_SIZE)):
        yield chunk


def one_of(column: sa.Column[Any], name: str) -> sa.ColumnElement[bool]:
    """Return the condition that *column* is in the list bound as *name*."""
    return column.in_(sa.bindparam(name, expanding=True))


def is_exactly(column: sa.Column[Any], *values: str) -> sa.ColumnElement[bool]:
    """Return the condition that *column* is one of our own constants, written into the statement.

    A planner uses a partial index only where the query repeats the index's condition literally.
    """
    literals: list[sa.ColumnElement[Any]] = [sa.literal_column(f"'{value}'") for value in values]
    return column == literals[0] if len(literals) == 1 else column.in_(literals)
