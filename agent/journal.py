"""The journal: the durable state and the outbox, changed together or not at all.

The rules this module keeps:

1. One `commit` is one transaction: the state after a step, the reports it added, and those it dropped.
2. A commit that returned is on the disk (SQLite, WAL, ``synchronous=FULL``: with NORMAL a power cut loses
   acknowledged rows). One that raised changed nothing that counts, and may be tried again: a revision
   number finds out whether the first try was stored after all.
3. The incarnation is born with the journal: a lost journal is a new incarnation, and the controller notices.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from agent.core.model import Durable
from agent.errors import JournalCorrupt, StorageError, StorageFull

VERSION: Final = 1
"""Of the stored form of `Durable`; fields may be added with defaults without raising it."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL,
    revision INTEGER NOT NULL, durable BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS outbox (report_seq INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT;
"""
_UPSERT: Final = """
INSERT INTO state (id, version, revision, durable) VALUES (1, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET version = excluded.version, revision = excluded.revision, durable =
excluded.durable
"""


class Row(msgspec.Struct, frozen=True):
    """A report in the outbox: its number and the exact bytes of its envelope."""

    report_seq: int
    raw: bytes


class Journal(Protocol):
    """What survives; the simulator has it in memory."""

    def load(self) -> tuple[Durable | None, list[Row]]:
        """Return the stored state, None in a new journal, and the outbox in the order of its numbers."""

    def commit(self, durable: Durable, *, add: Sequence[Row] = (), drop: Sequence[int] = ()) -> None:
        """Store the state and change the outbox, in one transaction.

        Raises:
            StorageError: when it cannot be stored now; nothing has changed.
        """


class MemoryJournal:
    """A journal that lives as long as this object: hand it to the next runtime to play a restart."""

    __slots__ = ("_durable", "_rows", "commit_count")

    def __init__(self) -> None:
        self._durable: Durable | None = None
        self._rows: dict[int, Row] = {}
        self.commit_count = 0

    def load(self) -> tuple[Durable | None, list[Row]]:
        """Return what was committed last."""
        return self._durable, list(self._rows.values())

    def commit(self, durable: Durable, *, add: Sequence[Row] = (), drop: Sequence[int] = ()) -> None:
        """Store the state and change the outbox."""
        self.commit_count += 1
        self._durable = durable
        for row in add:
            self._rows[row.report_seq] = row
        for report_seq in drop:
            self._rows.pop(report_seq, None)


class SqliteJournal:
    """A journal in one SQLite file; used by one thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the journal at *path*.

        Raises:
            JournalCorrupt: when the file is there but no journal of ours.
            StorageError: when it cannot be opened or made.
        """
        self._path = path
        self._revision = 0
        self._encoder = msgspec.json.Encoder()
        self._connection: sqlite3.Connection | None = None
        self._open()

    def load(self) -> tuple[Durable | None, list[Row]]:
        """Return the stored state and the outbox.

        Raises:
            JournalCorrupt: when they cannot be read.
        """
        connection = self._open()
        try:
            found = connection.execute("SELECT version, revision, durable FROM state").fetchone()
            rows = connection.execute("SELECT report_seq, raw FROM outbox ORDER BY report_seq").fetchall()
        except sqlite3.DatabaseError as error:
            raise self._corrupt(error) from error
        return self._read(found), [Row(report_seq, raw) for report_seq, raw in rows]

    def _read(self, found: tuple[int, int, bytes] | None) -> Durable | None:
        if found is None:
            return None
        version, self._revision, blob = found
        if version != VERSION:
            raise self._corrupt(f"its form is version {version}, this agent reads {VERSION}")
        try:
            return msgspec.json.decode(blob, type=Durable)
        except msgspec.MsgspecError as error:
            raise self._corrupt(error) from error

    def commit(self, durable: Durable, *, add: Sequence[Row] = (), drop: Sequence[int] = ()) -> None:
        """Store the state and change the outbox, in one transaction.

        Raises:
            StorageFull: when no space is left.
            StorageError: when it cannot be stored for another reason.
        """
        blob = self._encoder.encode(durable)
        try:
            self._write(blob, add, drop)
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._unwritable(error) from error
        self._revision += 1

    def _write(self, blob: bytes, add: Sequence[Row], drop: Sequence[int]) -> None:
        connection = self._open()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if self._is_stored(connection, blob):
                return
            connection.execute(_UPSERT, (VERSION, self._revision + 1, blob))
            connection.executemany(
                "INSERT OR REPLACE INTO outbox (report_seq, raw) VALUES (?, ?)",
                [(row.report_seq, row.raw) for row in add],
            )
            connection.executemany("DELETE FROM outbox WHERE report_seq = ?", [(seq,) for seq in drop])

    def _is_stored(self, connection: sqlite3.Connection, blob: bytes) -> bool:
        """Say whether this very commit was stored by a try that seemed to fail."""
        found = connection.execute("SELECT revision, durable FROM state").fetchone()
        revision = 0 if found is None else found[0]
        if revision == self._revision:
            return False
        if revision == self._revision + 1 and found[1] == blob:
            return True
        raise sqlite3.DatabaseError(f"revision {revision}, expected {self._revision}: another agent writes here")

    def _open(self) -> sqlite3.Connection:
        """Return the connection, anew after a fault."""
        if self._connection is None:
            try:
                self._connection = self._connect()
            except sqlite3.OperationalError as error:
                raise self._unwritable(error) from error
            except sqlite3.DatabaseError as error:
                raise self._corrupt(error) from error
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=5, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        self._path.chmod(0o600)
        return connection

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _unwritable(self, error: sqlite3.Error) -> StorageError:
        text = f"journal {self._path}: {error}"
        is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        return StorageFull(f"{text}; free some space") if is_full else StorageError(text)

    def _corrupt(self, why: object) -> JournalCorrupt:
        advice = "move the file away and enrol the device again; its memory of what it may not go back to is lost"
        return JournalCorrupt(f"journal {self._path} cannot be read ({why}): {advice}")
