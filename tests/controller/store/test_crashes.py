"""Killed at any instant, or with no room left, the store loses nothing that it acknowledged."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from controller.store import schema
from controller.store.engine import FileDatabase

ROOT = Path(__file__).parents[3]
STRACE = shutil.which("strace")
TRANSACTIONS = 4
CALL = 120
"""More than the calls of one whole run."""

needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that holds an empty database, ``0.db``."""
    schema.upgrade(FileDatabase(f"sqlite:///{tmp_path / '0.db'}"))
    return tmp_path


def program(folder: Path, *arguments: object, count: int = TRANSACTIONS) -> list[str]:
    words = [folder, count, *arguments]
    return [sys.executable, "-m", "tests.controller.store.crash_writer", *(str(word) for word in words)]


def run(command: Sequence[str]) -> list[str]:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=100)
    return done.stdout.decode().splitlines()


def injected(fault: str, command: Sequence[str]) -> list[str]:
    assert STRACE is not None
    syscall = fault.partition(":")[0]
    return [STRACE, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}", "-e", f"inject={fault}", *command]


def acknowledged(lines: Sequence[str]) -> set[int]:
    return {int(line.split()[1]) for line in lines if line.startswith("stored ")}


def refused(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if line.startswith("unavailable ")]


def check(path: Path, acked: set[int]) -> None:
    """Refuse a damaged database, a lost transaction, and half of one."""
    connection = sqlite3.connect(path)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    rows = connection.execute("select report_seq, count(*) from report group by 1").fetchall()
    (beat,) = connection.execute("select at from heartbeat").fetchone() or (0,)
    connection.close()
    assert all(count == 2 for _, count in rows)
    stored = {number for number, _ in rows}
    assert acked <= stored
    assert beat == max(stored, default=0)


@needs_strace
@pytest.mark.parametrize("syscall", ["fdatasync", "pwrite64"])
def test_killed_at_every_write_it_loses_nothing(folder: Path, syscall: str) -> None:
    lines = run(injected(f"{syscall}:signal=KILL:when={CALL}", program(folder, syscall, CALL)))
    codes = [int(line.split()[1]) for line in lines]
    said = [(folder / f"{point}.said").read_text().splitlines() for point in range(1, len(codes) + 1)]
    for point, heard in enumerate(said, 1):
        check(folder / f"{point}.db", acknowledged(heard))
    assert codes[:-1] == [-signal.SIGKILL] * (len(codes) - 1)
    assert codes[-1] == 0, "no writer came to its end"
    assert len(codes) > TRANSACTIONS
    assert acknowledged(said[-1]) == set(range(1, TRANSACTIONS + 1))


def test_killed_at_some_instants_it_loses_nothing(folder: Path) -> None:
    acked: set[int] = set()
    for attempt in range(5):
        (folder / str(attempt)).mkdir()
        path = Path(shutil.copy(folder / "0.db", folder / str(attempt)))
        process = subprocess.Popen(program(path.parent, 0, count=100_000), cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline().decode()
        time.sleep(0.02 + attempt * 0.013)
        process.kill()
        whole_lines = process.stdout.read().decode().split("\n")[:-1]
        process.stdout.close()
        process.wait()
        acked = acknowledged([first, *whole_lines])
        check(path, acked)
    assert len(acked) > 1


@needs_strace
@pytest.mark.parametrize("fault", ["pwrite64:error=ENOSPC:when=12..15", "fdatasync:error=EIO:when=3"])
def test_a_fault_of_the_disk_is_told_and_passes(folder: Path, fault: str) -> None:
    lines = run(injected(fault, program(folder, 20)))
    assert refused(lines)
    assert acknowledged(lines) == set(range(1, TRANSACTIONS + 1))
    check(folder / "0.db", acknowledged(lines))


def test_a_full_disk_refuses_writes_and_recovers_when_there_is_room(folder: Path) -> None:
    """A limit on the size of files (setrlimit(2), RLIMIT_FSIZE) stands for the full disk."""
    lines = run(["sh", "-c", 'ulimit -f 4; exec "$@"', "sh", *program(folder, 2)])
    assert len(refused(lines)) == 3 * TRANSACTIONS
    assert acknowledged(lines) == set()
    check(folder / "0.db", set())
    lines = run(program(folder, 0))
    assert acknowledged(lines) == set(range(1, TRANSACTIONS + 1))
    check(folder / "0.db", acknowledged(lines))
