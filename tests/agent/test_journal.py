"""The journal: one transaction a step, whole after a kill at any write, plain errors for what is corrupt or full."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.model import Durable
from agent.errors import JournalCorrupt, StorageError, StorageFull
from agent.journal import MemoryJournal, Row, SqliteJournal
from protocol.ids import Digest, RunId
from protocol.messages import ReleaseRef
from tests.agent.world import INCARNATION, NAME, SHOP_2, command, digest, ready, received, run

ROOT = Path(__file__).parents[2]
OPENED: list[SqliteJournal] = []


def opened(path: Path) -> SqliteJournal:
    """Open a journal that is closed when the test ends."""
    journal = SqliteJournal(path)
    OPENED.append(journal)
    return journal


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


NEW = Durable(name=NAME, incarnation=INCARNATION)


def test_what_is_committed_is_loaded(tmp_path: Path) -> None:
    durable = run(ready(), received(command())).state.durable
    for journal in (MemoryJournal(), opened(tmp_path / "journal.db")):
        assert journal.load() == (None, [])
        journal.commit(NEW, add=[Row(1, b"one"), Row(2, b"two")])
        journal.commit(durable, add=[Row(3, b"three")], drop=[1])
        assert journal.load() == (durable, [Row(2, b"two"), Row(3, b"three")])
    assert durable.work is not None
    again = opened(tmp_path / "journal.db").load()[0]
    assert again is not None
    assert again.work is not None
    assert again.work.refs == (ReleaseRef(path=SHOP_2.path, sha256=SHOP_2.sha256, length=8, counter=20),)
    assert (again.work.run, again.work.digest) == (RunId("run-1"), Digest(digest(command())))
    assert (tmp_path / "journal.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("garbage", [b"not a database at all, but long enough " * 40, b""], ids=["bytes", "none"])
def test_a_file_that_is_no_journal_is_told_plainly(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(garbage)
    if garbage:
        with pytest.raises(JournalCorrupt, match="enrol the device again"):
            opened(path)
    else:
        assert opened(path).load() == (None, [])


@pytest.mark.parametrize("change", ["version = 99", "durable = x'78'", "durable = x'7b7d'"])
def test_a_state_that_cannot_be_read_is_told_plainly(tmp_path: Path, change: str) -> None:
    path = tmp_path / "journal.db"
    opened(path).commit(NEW)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE state SET {change}")
    connection.close()
    with pytest.raises(JournalCorrupt):
        opened(path).load()


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        opened(tmp_path / "missing" / "journal.db")


def test_a_second_writer_is_noticed(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "j.db"), opened(tmp_path / "j.db")
    first.commit(NEW)
    second.load()
    second.commit(Durable(name=NAME, incarnation="f" * 16))
    with pytest.raises(StorageError, match="another agent"):
        first.commit(NEW)


def test_a_commit_that_was_stored_after_all_is_not_stored_twice(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j.db")
    journal.commit(NEW)
    other = opened(tmp_path / "j.db")
    other.load()
    newer = Durable(name=NAME, incarnation=INCARNATION, hello_seq=1)
    other.commit(newer, add=[Row(1, b"one")])
    journal.commit(newer, add=[Row(1, b"one")])
    assert journal.load() == (newer, [Row(1, b"one")])


def test_a_full_disk_is_an_error_of_its_own_and_goes_by(tmp_path: Path) -> None:
    journal = opened(tmp_path / "j.db")
    journal.commit(NEW)
    connection = journal._open()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    big = [Row(n, b"x" * 5_000) for n in range(50)]
    with pytest.raises(StorageFull, match="free some space"):
        journal.commit(NEW, add=big)
    journal.commit(NEW, add=big)  # the next try opens the file anew, where the limit is gone
    assert len(journal.load()[1]) == 50


WRITER = """
import sys
from pathlib import Path
from agent.journal import Row, SqliteJournal
from agent.core.model import Durable
journal = SqliteJournal(Path(sys.argv[1]))
for n in range(1, 9):
    durable = Durable(name="acme:kiosk-17", incarnation="0" * 16, report_seq=n)
    journal.commit(durable, add=[Row(n, b"row %d" % n)], drop=[n - 3])
    print(n, flush=True)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to kill at a system call")
def test_a_kill_at_any_sync_or_write_leaves_what_was_told(tmp_path: Path) -> None:
    killed = 0
    for call in ("fdatasync", "pwrite64"):
        for when in range(1, 40, 4):
            path = tmp_path / f"{call}-{when}.db"
            tracer = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
            inject = ["-e", f"inject={call}:signal=KILL:when={when}"]
            done = subprocess.run(
                [*tracer, *inject, sys.executable, "-c", WRITER, str(path)],
                cwd=ROOT,
                capture_output=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=False,
            )
            killed += done.returncode != 0
            told = len(done.stdout.splitlines())
            durable, rows = opened(path).load()
            seq = 0 if durable is None else durable.report_seq
            assert seq in {told, told + 1}, (call, when)
            assert [row.report_seq for row in rows] == [n for n in range(1, seq + 1) if n > seq - 3]
            if done.returncode == 0:
                break
    assert killed >= 8
