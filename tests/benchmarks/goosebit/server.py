"""A goosebit of our own on loopback, with the fastest settings that its documentation names.

Its documentation is the README and the ``goosebit.yaml`` of its repository. One worker is what it supports: its devices
are cached in the process.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from agent.ports import free_port
from simulator.processes import Child, Processes

SETTINGS: Final = """\
db_uri: sqlite:///{folder}/goosebit.sqlite3
artifacts_dir: {folder}/artifacts
max_concurrent_updates: {devices}
track_device_ip: false
logging: {{version: 1, root: {{level: WARNING}}}}
"""
SETTINGS_IN_SHORT: Final = (
    "one uvicorn worker (uvloop, httptools), SQLite, no access log, log level warning, no tracking of addresses, "
    "no limit of updates at once, no tokens"
)
MIGRATIONS: Final = """\
[tool.aerich]
tortoise_orm = "goosebit.db.config.TORTOISE_CONF"
location = "{package}/db/migrations"
src_folder = "{package}"
"""
POLL_SECONDS_DEFAULT: Final = 60
"""How often it asks devices to poll where `poll_time` is not set."""
CONCURRENT_UPDATES_DEFAULT: Final = 1_000
START_SECONDS: Final = 60.0
REQUEST_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1
_FEED: Final = "default"
"""The feed of every device that nobody moved to another one."""


class GoosebitFailed(Exception):
    """goosebit did not start, or refused something; the message says what."""


class Goosebit:
    """A running goosebit, and its administrator."""

    def __init__(self, port: int, child: Child) -> None:
        self.port = port
        self.child = child
        self._admin = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=REQUEST_SECONDS, trust_env=False)

    @property
    def pid(self) -> int:
        """The process that is measured; it starts no others."""
        return self.child.pid

    def about(self) -> str:
        """Return its name, version and licence, as it tells them itself."""
        info = _checked(self._admin.get("/openapi.json")).json()["info"]
        return f"{info['title']} {info['version']} ({info['license']['name']})"

    def is_ready(self) -> bool:
        """Say whether it answers."""
        try:
            return self._admin.get("/setup").is_success
        except httpx.HTTPError:
            return False

    def log_in(self) -> None:
        """Make the first user, as the page for that does, and keep the token."""
        answer = self._admin.post("/setup", data={"username": "bench", "password": "bench"})
        token = _checked(answer).json()["access_token"]
        self._admin.headers["Authorization"] = f"Bearer {token}"

    def roll_out(self, image: Path) -> None:
        """Upload an image and start a rollout for every device."""
        with image.open("rb") as file:
            answer = self._admin.put("/api/v1/software", files={"file": (image.name, file)})
        software = _checked(answer).json()["id"]
        body = {"name": image.stem, "feed": _FEED, "software_id": software}
        _checked(self._admin.put("/api/v1/rollouts", json=body))

    def versions(self) -> list[str]:
        """Return the version of every device, as goosebit has it."""
        return [device["sw_version"] for device in _checked(self._admin.get("/api/v1/devices")).json()["devices"]]

    def close(self) -> None:
        """End the administrator's connections."""
        self._admin.close()


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise GoosebitFailed(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:300]}")
    return answer


@contextmanager
def goosebit(folder: Path, *, python: Path, devices: int) -> Iterator[Goosebit]:
    """Run goosebit in *folder* with the interpreter that has it; it ends with the block.

    Raises:
        GoosebitFailed: when it does not start.
        simulator.processes.ProcessFailed: when it ends instead.
    """
    port = free_port()
    with Processes(folder) as processes:
        _write_settings(folder, python, devices)
        _migrate(processes, python)
        child = processes.start("goosebit", [str(python), *_SERVE, "--port", str(port)])
        server = Goosebit(port, child)
        try:
            _wait_ready(server)
            server.log_in()
            yield server
        finally:
            server.close()


_SERVE: Final = ("-m", "uvicorn", "goosebit:app", "--host", "127.0.0.1", "--no-access-log", "--log-level", "warning")


def _write_settings(folder: Path, python: Path, devices: int) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    package = python.parent.parent / "lib" / version / "site-packages" / "goosebit"
    settings = SETTINGS.format(folder=folder.resolve(), devices=max(CONCURRENT_UPDATES_DEFAULT, devices))
    (folder / "goosebit.yaml").write_text(settings)
    (folder / "aerich.toml").write_text(MIGRATIONS.format(package=package))


def _migrate(processes: Processes, python: Path) -> None:
    child = processes.start("aerich", [str(python), "-m", "aerich", "--config", "aerich.toml", "upgrade"])
    if child.process.wait(START_SECONDS) != 0:
        raise GoosebitFailed(f"its database could not be made: {child.last_words()}")
    processes.forget(child)


def _wait_ready(server: Goosebit) -> None:
    until = time.monotonic() + START_SECONDS
    while not server.is_ready():
        server.child.check()
        if time.monotonic() > until:
            raise GoosebitFailed(f"it is not ready after {START_SECONDS:.0f} s; its log is {server.child.log}")
        time.sleep(_POLL_SECONDS)
