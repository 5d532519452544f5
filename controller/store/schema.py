"""Bringing a database to the schema of this version, and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from controller.store.engine import FileDatabase
from controller.store.faults import translated

MIGRATIONS: Final = Path(__file__).parent / "migrations"
NOTHING: Final = "base"
NEWEST: Final = "head"


def upgrade(database: FileDatabase, revision: str = NEWEST) -> None:
    """Migrate up to *revision*, all of it or nothing; make the file where there is none.

    Raises:
        controller.app.errors.StorageUnavailable: when the database cannot be written.
    """
    with translated():
        database.create()
        _with_connection(database, lambda connection: command.upgrade(_config(connection), revision))


def downgrade(database: FileDatabase, revision: str = NOTHING) -> None:
    """Migrate down to *revision*, all of it or nothing.

    Raises:
        controller.app.errors.StorageUnavailable: when the database cannot be written.
    """
    with translated():
        _with_connection(database, lambda connection: command.downgrade(_config(connection), revision))


def newest_revision() -> str | None:
    """Return the revision that this version of the program needs."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def revision_of(connection: sa.Connection) -> str | None:
    """Return the revision that a database has, or None where it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _with_connection(database: FileDatabase, act: Callable[[sa.Connection], None]) -> None:
    engine = database.migration_engine()
    try:
        with engine.connect() as connection:
            act(connection)
    finally:
        engine.dispose()
