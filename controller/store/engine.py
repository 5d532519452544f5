"""Connections to SQLite: one way to write, one way to read.

The rules this module keeps:

1. A writing transaction begins with ``BEGIN IMMEDIATE``. With sqlite3's own defaults transactions that read,
   think and write lose each other's updates without an error.
2. A commit is on the disk when it returns: WAL with ``synchronous=FULL``. NORMAL loses commits in a power cut.
3. Readers begin deferred and cannot write: they never wait for the writer, nor it for them.
4. Only `FileDatabase.create` makes a file. A database that is gone is an error, never an empty one.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool, StaticPool

BUSY_MS: Final = 5_000
"""How long to wait for a lock that another process holds: a backup, or a second controller."""
CHECKPOINT_PAGES: Final = 10_000
CACHE_KIB: Final = 65_536
READERS: Final = 4

WRITE_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    "foreign_keys=ON",
    f"cache_size=-{CACHE_KIB}",
)
READ_PRAGMAS: Final = ("query_only=ON", "foreign_keys=ON")
MIGRATION_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL")
MEMORY_PRAGMAS: Final = ("foreign_keys=ON",)


class FileDatabase:
    """A SQLite database in a file."""

    def __init__(self, url: str) -> None:
        """Take a URL such as ``sqlite:////var/lib/tidegate/tidegate.db``.

        Raises:
            ValueError: when *url* is not that of a file of SQLite.
        """
        self.path: Final = _path(make_url(url))

    def create(self) -> None:
        """Make the file where there is none."""
        self._connect("rwc").close()

    def write_engine(self) -> sa.Engine:
        """Return an engine of one connection whose transactions are immediate and durable."""
        return _engine(lambda: self._connect("rw"), WRITE_PRAGMAS, begin="BEGIN IMMEDIATE", size=1)

    def migration_engine(self) -> sa.Engine:
        """Return an engine that writes, but without foreign keys, so that tables can be rebuilt."""
        return _engine(lambda: self._connect("rw"), MIGRATION_PRAGMAS, begin="BEGIN IMMEDIATE", size=1)

    def read_engine(self) -> sa.Engine:
        """Return an engine of a few connections that read a snapshot each."""
        return _engine(lambda: self._connect("rw"), READ_PRAGMAS, begin="BEGIN", size=READERS)

    def identity(self) -> tuple[int, int] | None:
        """Return what tells the file from another one put in its place, or None where there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(str(self.path))}?mode={mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_MS / 1_000, check_same_thread=False)


def memory_engine() -> sa.Engine:
    """Return an engine of one connection to a database in memory."""
    engine = sa.create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"isolation_level": None, "check_same_thread": False}
    )
    _listen(engine, MEMORY_PRAGMAS, "BEGIN")
    return engine


def _path(url: URL) -> Path:
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        raise ValueError(f"database {url.render_as_string()!r}: expected sqlite:///path/to/file.db")
    return Path(url.database)


def _engine(connect: Callable[[], sqlite3.Connection], pragmas: tuple[str, ...], *, begin: str, size: int) -> sa.Engine:
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=size, max_overflow=0)
    _listen(engine, pragmas, begin)
    return engine


def _listen(engine: sa.Engine, pragmas: tuple[str, ...], begin: str) -> None:
    def on_connect(connection: Any, _record: object) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", on_connect)
    sa.event.listen(engine, "begin", on_begin)
