"""Services of apps, when the agent dies at the worst moment."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent.installers import service
from agent.installers.manifest import Manifest
from agent.installers.service import RunAs, Services
from protocol.health import Mark

APP = "shop"
FOLDER = "1.0-0123456789ab"
BEGUN = "echo begun >> $APP_DATA/begun; exec sleep 60"
DIES_BEFORE_THE_RECORD = """
import os, signal, sys
from pathlib import Path
from agent.installers import service
from agent.installers.manifest import Manifest

home = Path(sys.argv[1])
services = service.Services(ports={}, keep_running=False)
services.prepare(home, sys.argv[2], service.RunAs())
service.write_whole = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
services.start(home, sys.argv[2], Manifest(name="shop", version="1.0", start=("sh", "-c", sys.argv[3])))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the folder of an app with one release."""
    (tmp_path / APP / FOLDER).mkdir(parents=True)
    return tmp_path / APP


def manifest(*start: str) -> Manifest:
    return Manifest(name=APP, version="1.0", start=start)


def living(home: Path) -> list[int]:
    """Return the processes that run in the app's folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and (process / "cwd").readlink().is_relative_to(home):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def await_none(home: Path) -> list[int]:
    """Return what still runs in the app's folder after some seconds at most."""
    until = time.monotonic() + 5
    while (left := living(home)) and time.monotonic() < until:
        threading.Event().wait(0.01)
    return left


def test_no_service_runs_that_nobody_knows_of_when_the_agent_is_killed_as_it_starts_one(home: Path) -> None:
    """Such a service would hold its port for ever: neither the next release nor the old one could start."""
    command = [sys.executable, "-c", DIES_BEFORE_THE_RECORD, str(home), FOLDER, BEGUN]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not (home / "service.json").exists()
    assert await_none(home) == []
    assert not (home / "data" / "begun").exists(), "what was not recorded never became itself"


def test_a_service_whose_record_cannot_be_written_does_not_begin(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = Services(ports={}, keep_running=False)
    services.prepare(home, FOLDER, RunAs())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(service, "write_whole", full)
    with pytest.raises(OSError, match="No space"):
        services.start(home, FOLDER, manifest("sh", "-c", BEGUN))
    assert await_none(home) == []
    assert not (home / "data" / "begun").exists()


def test_a_service_that_cannot_be_found_is_a_fault_of_the_start(home: Path) -> None:
    services = Services(ports={}, keep_running=False)
    services.prepare(home, FOLDER, RunAs())
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        services.start(home, FOLDER, manifest("no-such-program"))
    with pytest.raises(FileNotFoundError, match="not-there"):
        services.start(home, FOLDER, manifest("./not-there"))
    (home / FOLDER / "text").write_text("no program")
    with pytest.raises(PermissionError, match="text"):
        services.start(home, FOLDER, manifest("./text"))


def test_a_service_gets_its_arguments_as_they_are_and_nothing_to_read(home: Path) -> None:
    services = Services(ports={}, keep_running=False)
    services.prepare(home, FOLDER, RunAs())
    tell = "import os, sys; open(os.environ['APP_DATA'] + '/told', 'w').write(repr((sys.argv[1:], sys.stdin.read())))"
    arguments = ["two words", "$HOME", "", "-n", "'"]
    services.start(home, FOLDER, manifest("python3", "-c", tell, *arguments))
    assert await_none(home) == []
    assert (home / "data" / "told").read_text() == repr((arguments, ""))
    services.close()


@pytest.mark.parametrize("failing", [1, 2])
def test_a_watched_service_that_cannot_be_started_is_told_of_and_tried_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """The first start may fail, as the agent begins, or the next one, after the service has ended."""
    for name, value in {"LOOK_SECONDS": 0.01, "RESTART_BASE_MS": 1, "RESTART_CAP_MS": 1}.items():
        monkeypatch.setattr(service, name, value)
    told: list[tuple[str, Mark]] = []
    services = Services(ports={}, keep_running=False, ail=lambda app, mark, *_: told.append((app, mark)))
    services.prepare(home, FOLDER, RunAs())
    begun, begin = [0], Services._begin

    def sometimes(self: Services, *what: Any) -> "subprocess.Popen[bytes]":
        begun[0] += 1
        if begun[0] == failing:
            raise OSError(28, "No space left on device")
        return begin(self, *what)

    monkeypatch.setattr(Services, "_begin", sometimes)
    with contextlib.suppress(OSError):
        services.watch(home, FOLDER, manifest("sh", "-c", f"echo begun >> $APP_DATA/begun; sleep {2 - failing}0"))
    begun_at, until = home / "data" / "begun", time.monotonic() + 10
    while (begun[0] <= failing or not begun_at.exists()) and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert begun[0] > failing, "it is tried again"
    assert begun_at.exists()
    assert told[0] == (APP, Mark.CRASHED)
    services.close()
    assert await_none(home) == []
