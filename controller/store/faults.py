"""What the database says when it fails, in the controller's own words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import exc

from controller.app.errors import StorageUnavailable

_ENVIRONMENT: Final = frozenset(
    {
        exc.OperationalError,
        exc.DatabaseError,
        exc.InternalError,
        sqlite3.OperationalError,
        sqlite3.DatabaseError,
    }
)
"""Exactly these: their subclasses (a broken constraint, a wrong statement) are faults of ours."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the machine is to blame for as `StorageUnavailable`, and a broken constraint as a bug."""
    try:
        yield
    except (exc.IntegrityError, sqlite3.IntegrityError) as error:
        raise AssertionError(f"a write breaks a rule of the database: {error}") from error
    except (exc.DBAPIError, sqlite3.Error) as error:
        if type(error) not in _ENVIRONMENT:
            raise
        raise StorageUnavailable(f"the database cannot be used now: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    return str(error.orig) if isinstance(error, exc.DBAPIError) else str(error)
