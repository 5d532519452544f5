"""Run the services of installed apps: start, stop, adopt, start again after a crash.

The rules this module keeps:

1. At most one service of an app runs: a record names it by process id *and* start time, so that neither a
   second agent process nor a reused id confuses it, and the old one is ended before another starts.
2. Every service is a process group of its own, ended as a whole.
3. A service begins only once its record is written. Until then its process waits, and ends with the agent: a service
   that nobody knows of would hold its port for ever.
4. A service that is watched and ends is started again, after a wait that doubles; one that is being verified
   is not.
"""

import contextlib
import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from agent.clock import boottime_ms
from agent.core.backoff import full_jitter
from agent.files import write_whole
from agent.installers import outputs
from agent.installers.checkups import Ail, Checkups, Patient
from agent.installers.manifest import Manifest
from agent.installers.probe import Target
from agent.logs import fields
from agent.ports import free_port
from protocol.health import Mark
from protocol.ids import AppName
from protocol.units import MINUTE, SECOND

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
STOP_MS: Final = 10 * SECOND
"""How long a service may take to end where its manifest is not at hand."""
STEADY_MS: Final = 60 * SECOND
"""A service that ran this long is started again without a long wait."""
RESTART_BASE_MS: Final = 1 * SECOND
RESTART_CAP_MS: Final = 5 * MINUTE
LOG_BYTES_MAX: Final = 4_000_000
_POLL_SECONDS: Final = 0.02
_GATE: Final = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "sh")
"""Waits for a line, and then becomes the command that follows; ends where none comes because the agent has died."""
_START_TIME_FIELD: Final = 19
"""Of /proc/<pid>/stat, counted from the state on, which follows the command's name (proc(5), field 22)."""


class RunAs(msgspec.Struct, frozen=True, kw_only=True):
    """How a release's service is run; kept beside its folder, as it must outlive the command."""

    env: Mapping[str, str] = {}
    port: int = 0


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """A running service: its process, when that started (clock ticks), its release's folder."""

    pid: int
    started: str
    folder: str


class _Watched(msgspec.Struct, kw_only=True):
    home: Path
    folder: str
    manifest: Manifest
    try_count: int = 0
    end_count: int = 0
    started_at: int = 0
    due_at: int | None = None


def _nobody(app: AppName, mark: Mark, count: int, detail: str) -> None:
    """Tell nobody who is not well."""


class Services:
    """All services of this device."""

    def __init__(self, *, ports: Mapping[str, int], keep_running: bool, ail: Ail = _nobody) -> None:
        """Take the assigned ports, whether services outlive the agent, and who is told of those that are not well."""
        self._ail = ail
        self._checkups = Checkups(self._patients, ail)
        self._ports = ports
        self._keep_running = keep_running
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._watched: dict[str, _Watched] = {}
        self._homes: set[Path] = set()
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # --- one service ---

    def prepare(self, home: Path, folder: str, run_as: RunAs) -> None:
        """Keep how the service of a release is to be run, its port included."""
        port = self._ports.get(home.name) or self._kept(home, folder).port or free_port()
        kept = msgspec.structs.replace(run_as, port=port)
        write_whole(home / f"{folder}.json", msgspec.json.encode(kept))

    def runs_as(self, home: Path, folder: str) -> dict[str, str]:
        """Return the environment that the service of a release was given."""
        return dict(self._kept(home, folder).env)

    def _kept(self, home: Path, folder: str) -> RunAs:
        try:
            return msgspec.json.decode((home / f"{folder}.json").read_bytes(), type=RunAs)
        except (OSError, msgspec.MsgspecError):
            return RunAs()

    def _run_as(self, home: Path, folder: str) -> RunAs:
        """Return how the service is run; a port that the settings assign wins."""
        kept = self._kept(home, folder)
        return msgspec.structs.replace(kept, port=self._ports.get(home.name) or kept.port or free_port())

    def start(self, home: Path, folder: str, manifest: Manifest) -> None:
        """Start the service of a release, if it has one, after ending the app's running one.

        Raises:
            OSError: when it cannot be started.
        """
        with self._lock:
            self.stop(home)
            if not manifest.start:
                return
            self._homes.add(home)
            child = self._begin(home, folder, manifest)
            self._children[child.pid] = child
        log.info("service_started", extra=fields(app=home.name, folder=folder, pid=child.pid))

    def _begin(self, home: Path, folder: str, manifest: Manifest) -> "subprocess.Popen[bytes]":
        """Start a service's process, record it, and let it become the service."""
        environment = self._environment(home, folder, manifest)
        command = [*_GATE, *_resolved(manifest.start, home / folder, path=environment["PATH"])]
        with _log_file(home / "service.log") as output:
            child = subprocess.Popen(
                command,
                cwd=home / folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert child.stdin is not None
        try:
            with child.stdin as gate:
                record = _Record(pid=child.pid, started=_start_time(child.pid), folder=folder)
                write_whole(home / "service.json", msgspec.json.encode(record))
                gate.write(b"begin\n")
        except OSError:
            child.wait()
            raise
        return child

    def _environment(self, home: Path, folder: str, manifest: Manifest) -> dict[str, str]:
        run_as = self._run_as(home, folder)
        data = home / "data"
        data.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):  # an app that put a file there told nothing, and runs
            outputs.folder_of(home).mkdir()
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOME": str(data),
            **run_as.env,
            "PORT": str(run_as.port),
            "APP_NAME": manifest.name,
            "APP_VERSION": manifest.version,
            "APP_DATA": str(data),
            outputs.VARIABLE: str(outputs.folder_of(home)),
        }

    def stop(self, home: Path) -> None:
        """End the service of an app, if one runs: SIGTERM, a wait, SIGKILL, to the whole group."""
        with self._lock:
            watched = self._watched.pop(home.name, None)
            record = self._running(home)
            if record is not None:
                self._end(record, watched.manifest.stop_ms if watched else STOP_MS)
                log.info("service_stopped", extra=fields(app=home.name, pid=record.pid))
            (home / "service.json").unlink(missing_ok=True)

    def _end(self, record: _Record, stop_ms: int) -> None:
        _signal(record.pid, signal.SIGTERM)
        deadline_at = boottime_ms() + stop_ms
        while self._is_alive(record):
            if boottime_ms() >= deadline_at:
                _signal(record.pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        _signal(record.pid, signal.SIGKILL)  # what is left of its group
        self._children.pop(record.pid, None)

    def _running(self, home: Path) -> _Record | None:
        """Return the app's running service."""
        try:
            record = msgspec.json.decode((home / "service.json").read_bytes(), type=_Record)
        except (OSError, msgspec.MsgspecError):
            return None
        return record if self._is_alive(record) else None

    def _is_alive(self, record: _Record) -> bool:
        child = self._children.get(record.pid)
        if child is not None:
            return child.poll() is None
        return bool(record.started) and _start_time(record.pid) == record.started

    def ensure(self, home: Path, folder: str, manifest: Manifest) -> None:
        """Start the service of this release unless it is the one that runs."""
        with self._lock:
            record = self._running(home)
            if record is None or record.folder != folder:
                self.start(home, folder, manifest)

    def target(self, home: Path, folder: str, manifest: Manifest) -> Target:
        """Return what a probe of the release looks at."""
        return Target(
            folder=home / folder,
            env=self._environment(home, folder, manifest),
            port=self._run_as(home, folder).port,
            ended=lambda: self._how_ended(home, manifest),
        )

    def _how_ended(self, home: Path, manifest: Manifest) -> str | None:
        with self._lock:
            if not manifest.start or self._running(home) is not None:
                return None
            said = _tail(home / "service.log")
            return f"the service has ended; its last words: {said}"

    # --- watching ---

    def watch(self, home: Path, folder: str, manifest: Manifest) -> None:
        """Adopt or start the service of this release, and start it again whenever it ends.

        Raises:
            OSError: when it cannot be started now; that is tried again.
        """
        if not manifest.start:
            return
        with self._lock:
            watched = _Watched(home=home, folder=folder, manifest=manifest, started_at=boottime_ms())
            try:
                self.ensure(home, folder, manifest)
            finally:
                self._homes.add(home)
                self._watched[home.name] = watched
                self._begin_looking()

    def _begin_looking(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="services", daemon=True)
            self._thread.start()

    def _look_on(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            try:
                with self._lock:
                    for watched in list(self._watched.values()):
                        self._look(watched)
            except Exception:
                log.exception("service_watch_failed")

    def _look(self, watched: _Watched) -> None:
        now = boottime_ms()
        if self._running(watched.home) is not None:
            return
        if watched.due_at is None:
            steady = now - watched.started_at >= STEADY_MS
            watched.try_count = 0 if steady else watched.try_count + 1
            watched.due_at = now + full_jitter(
                attempt=watched.try_count,
                base_ms=RESTART_BASE_MS,
                cap_ms=RESTART_CAP_MS,
                seed=f"{watched.home}/{now}",
            )
            self._tell_of_end(watched, _tail(watched.home / "service.log"))
        elif now >= watched.due_at:
            watched.due_at, watched.started_at = None, now
            try:
                self.start(watched.home, watched.folder, watched.manifest)
            finally:
                self._watched[watched.home.name] = watched

    def _tell_of_end(self, watched: _Watched, said: str) -> None:
        watched.end_count += 1
        log.warning("service_ended", extra=fields(app=watched.home.name, said=said))
        detail = f"the service has ended; its last words: {said}"
        self._ail(AppName(watched.home.name), Mark.CRASHED, watched.end_count, detail)

    def attend(self, apps: frozenset[AppName]) -> None:
        """Probe these apps now and then, as long as they are watched."""
        self._checkups.attend(apps)

    def _patients(self) -> dict[AppName, Patient]:
        with self._lock:
            watched = list(self._watched.values())
        return {
            AppName(one.home.name): Patient(self.target(one.home, one.folder, one.manifest), one.manifest)
            for one in watched
        }

    def close(self) -> None:
        """Stop watching; stop the services too, also those that are still on probation, unless they are to be kept."""
        self._closing.set()
        self._checkups.close()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            for home in sorted(self._homes) if not self._keep_running else []:
                self.stop(home)


def _resolved(command: tuple[str, ...], folder: Path, *, path: str) -> list[str]:
    """Return the command with its program found: ours for ``python3``, the folder's for a path.

    Raises:
        FileNotFoundError: when there is no such program.
        PermissionError: when it may not be executed.
    """
    program, *arguments = command
    if program in {"python3", "python"}:
        program = sys.executable
    elif "/" in program:
        program = str(folder / program)
    found = shutil.which(program, path=path)
    if found is None:
        code = errno.EACCES if Path(program).exists() else errno.ENOENT
        raise OSError(code, os.strerror(code), program)
    return [found, *arguments]


def _start_time(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty where it runs no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *values = stat.rpartition(")")[2].split()
    return "" if state == "Z" else values[_START_TIME_FIELD - 1]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _log_file(path: Path) -> BinaryIO:
    """Open the log to append; one that has grown too long becomes the old one."""
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_name("service.log.1"))
    return path.open("ab")


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 300))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
