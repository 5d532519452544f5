"""Child processes that end with their parent, however that one ends.

The rules this module keeps:

1. Every child is a process group of its own, so that Ctrl-C reaches us alone and we end the rest in order.
2. A child is told to end when its parent dies without a word (``PR_SET_PDEATHSIG``, prctl(2)).
3. What a child started and left behind is found by its working folder, which lies in ours, and ended too: by us, or
   by a keeper where we were killed (`simulator.keeper`).
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from agent.ports import free_port

SETTINGS: Final = "TIDEGATE_"
STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_PR_SET_PDEATHSIG: Final = 1
_TAIL_BYTES: Final = 2_000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class ProcessFailed(Exception):
    """A child ended although it was needed; the message says what it said last and where its log is."""


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def clean_environment() -> dict[str, str]:
    """Return our environment without settings of Tidegate, which are meant for another installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}


class Child:
    """One process with its log."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        """Take what it is called, the process, and the file that it writes to."""
        self.name = name
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""
        return self.process.pid

    def check(self) -> None:
        """Do nothing while the process runs.

        Raises:
            ProcessFailed: when it has ended.
        """
        code = self.process.poll()
        if code is not None:
            raise ProcessFailed(f"{self.name} ended with code {code}; its log is {self.log}\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace").strip()

    def kill(self) -> None:
        """End it at once, as a power cut would (SIGKILL), its group included."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, *, seconds: float = STOP_SECONDS) -> int:
        """Ask it to end (SIGTERM), insist after *seconds* (SIGKILL), and return its code."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.kill()
        return self.process.returncode


class Processes:
    """All children of one undertaking; leaving the block ends them, the last one first."""

    def __init__(self, folder: Path) -> None:
        """Take the folder in which they run and log."""
        self.folder = folder.resolve()
        self.logs = self.folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._children: list[Child] = []
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, stdout: Path | None = None
    ) -> Child:
        """Start *command* in our folder, its output in ``logs/<name>.log``.

        Args:
            name: what it is called.
            command: program and arguments.
            env: added to `clean_environment`.
            stdout: a file of its own for what it prints, where that is wanted apart from its log.
        """
        self._keep()
        log = self.logs / f"{name}.log"
        with log.open("ab") as output, contextlib.ExitStack() as stack:
            printed = stack.enter_context(stdout.open("wb")) if stdout else output
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**clean_environment(), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=output,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - a single call of prctl(2), which takes no lock
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def _keep(self) -> None:
        """See to it that a keeper is there."""
        if self._keeper is None:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "simulator.keeper", str(self.folder)],
                cwd="/",
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _dismiss(self) -> None:
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait()
            self._keeper = None

    def check(self) -> None:
        """Do nothing while all children run.

        Raises:
            ProcessFailed: when one has ended that nobody stopped.
        """
        for child in self._children:
            child.check()

    def forget(self, child: Child) -> None:
        """Drop a child that was stopped or killed on purpose."""
        self._children.remove(child)

    def stop_all(self) -> None:
        """End every child, the last one first, and what they left behind."""
        for child in self._children:
            if child.process.poll() is None and child is not self._children[0]:
                child.process.terminate()
        for child in reversed(self._children):
            child.stop()
        self._children.clear()
        for pid in left_behind(self.folder):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._dismiss()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()


def left_behind(folder: Path) -> list[int]:
    """Return the processes, ours excepted, whose working folder is *folder* or lies in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
    return found


def wait_gone(folder: Path, *, seconds: float) -> list[int]:
    """Return what still runs in *folder* after at most *seconds*."""
    until = time.monotonic() + seconds
    while (left := left_behind(folder)) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    return left


def free_ports(count: int) -> list[int]:
    """Return *count* different ports of loopback that are free now."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)
