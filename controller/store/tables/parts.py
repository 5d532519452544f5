"""What all tables share: the metadata, and short words for columns and partial indexes."""

from typing import Any, Final

import sqlalchemy as sa

from controller.app.records import CommandState
from controller.domain.target import TargetState

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

OPEN_COMMANDS: Final = (CommandState.UNSENT.value, CommandState.SENT.value)
BAD_ENDS: Final = tuple(
    state.value
    for state in (
        TargetState.FAILED,
        TargetState.REJECTED,
        TargetState.TIMED_OUT,
        TargetState.CANCELLED,
        TargetState.REMOVED,
    )
)


def partial(name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool], unique: bool = False) -> None:
    """Add an index over the rows for which *where* holds."""
    sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def text(name: str, default: str | None = None) -> sa.Column[str]:
    """Return a column of text."""
    return sa.Column(name, sa.Text, nullable=False, default=default)


def integer(name: str, *, nullable: bool = False) -> sa.Column[int]:
    """Return a column of whole numbers."""
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def flag(name: str) -> sa.Column[bool]:
    """Return a column of yes and no."""
    return sa.Column(name, sa.Boolean, nullable=False)
