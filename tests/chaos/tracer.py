"""Faults at an exact system call: strace kills a program, or makes a call fail, at the n-th one of a thread.

strace joins a program that runs already, since to start one beneath it takes ten times as long. It counts for each
thread, from when it joined. (Its option ``--seccomp-bpf`` would be quicker still, and injects nothing.)
"""

import contextlib
import functools
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FULL: Final = "all"
ENVIRONMENT: Final = "CHAOS_POINTS"
JOIN_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.005


@functools.cache
def is_available() -> bool:
    """Say whether strace is there and may join a process of ours."""
    if shutil.which("strace") is None:
        return False
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            with traced(sleeper.pid, killed_at("fdatasync", 1)):
                return True
        except AssertionError:
            return False
        finally:
            sleeper.kill()


def killed_at(syscall: str, number: int) -> list[str]:
    """Return the command of a tracer that kills a program at the *number*-th *syscall* that one thread makes."""
    return [*_strace(syscall), "-e", f"inject={syscall}:signal=KILL:when={number}"]


def failing(syscall: str, error: str) -> list[str]:
    """Return the command of a tracer that lets every *syscall* fail with *error* for as long as it is joined."""
    return [*_strace(syscall), "-e", f"inject={syscall}:error={error}"]


def _strace(syscall: str) -> list[str]:
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}"]


@contextmanager
def traced(pid: int, command: Sequence[str]) -> Iterator[None]:
    """Have a tracer joined to every thread of the process *pid* while inside."""
    with subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.DEVNULL) as tracer:
        try:
            until = time.monotonic() + JOIN_SECONDS
            while not _is_traced(pid):
                assert tracer.poll() is None, f"strace may not join process {pid}"
                assert time.monotonic() < until, f"strace has not joined process {pid}"
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            tracer.terminate()


def _is_traced(pid: int) -> bool:
    """Say whether every thread of a process has a tracer."""
    statuses = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            statuses.append((thread / "status").read_text())
    return all("\nTracerPid:\t0\n" not in status for status in statuses)


def points(what: str, *, last: int, sample: int, seed: int) -> Sequence[int]:
    """Return at which calls to fail: a seeded sample of 1 to *last*, or what the environment asks for.

    ``CHAOS_POINTS=all`` means each of them, ``CHAOS_POINTS=fdatasync:3,9`` these of *what* and none of another.
    """
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted == FULL:
        return range(1, last + 1)
    name, colon, numbers = wanted.partition(":")
    if colon:
        return [int(number) for number in numbers.split(",")] if name == what else []
    return sorted(random.Random(f"{seed}/{what}").sample(range(1, last + 1), sample))


def repeating(what: str, numbers: Sequence[int], *, test: str) -> str:
    """Return the command that repeats a test up to the last of *numbers*."""
    return f"{ENVIRONMENT}={what}:{','.join(map(str, numbers))} .venv/bin/pytest -n0 {test}"
