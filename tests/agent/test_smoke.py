"""The agent as a process, against a controller that is just enough: enrol, run, install, roll back, restart."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.fleet import app, ends, install, offer
from tests.agent.hub import Hub

ROOT = Path(__file__).parents[2]


class Device:
    """A device: folders, and the agent's process."""

    def __init__(self, folder: Path, hub: Hub, port: int) -> None:
        self.folder, self.hub, self.port = folder, hub, port
        self.process: subprocess.Popen[bytes] | None = None

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "agent", *arguments, "--state-dir", str(self.folder / "state")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def enrol(self, token: str = "good") -> subprocess.CompletedProcess[str]:
        known = ("--controller", self.hub.url, "--ca", str(self.hub.ca), "--device", "kiosk-17")
        return self.call("enrol", *known, "--model", "kiosk-1", "--token", token)

    def start(self) -> None:
        arguments = ["run", "--state-dir", str(self.folder / "state"), "--port", f"shop={self.port}"]
        env = {**os.environ, "TIDEGATE_AGENT_LOCK_WAIT_MS": "400"}
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "agent", *arguments], cwd=ROOT, stderr=log, env=env)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return code

    def service(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    yield hub
    hub.close()


@pytest.fixture
def device(tmp_path: Path, hub: Hub, free_port: int) -> Iterator[Device]:
    device = Device(tmp_path, hub, free_port)
    assert device.enrol().returncode == 0
    device.start()
    hub.until(lambda: hub.hellos)
    yield device
    if device.process is not None:
        device.end(signal.SIGTERM)
    print(device.log())


ALL = ["accepted", "downloading", "installing", "verifying", "succeeded"]


def test_an_agent_installs_updates_rolls_back_and_survives_a_kill(device: Device, hub: Hub) -> None:
    one, two = offer(hub, "1.0", app("1.0"), counter=1), offer(hub, "2.0", app("2.0"), counter=2)
    hub.send(install("run-1", one, env={"COLOUR": "blue"}))
    assert (ends(hub, "run-1").left, hub.states("run-1")) == ("new", ALL)
    assert device.service() == {"version": "1.0", "colour": "blue"}

    hub.send(install("run-2", two))
    assert ends(hub, "run-2").installed[0].version == "2.0"
    assert device.service()["version"] == "2.0"

    sick = offer(hub, "3.0", app("3.0", healthy=False, timeout_ms=300), counter=3)
    hub.send(install("run-3", sick))
    end = ends(hub, "run-3")
    assert (end.state, end.reason, end.left) == ("failed", "verify_failed", "old")
    hub.until(lambda: _version_of(device) == "2.0")

    liar = offer(hub, "4.0", app("4.0", says="3.9", timeout_ms=1_500), counter=4)
    hub.send(install("run-4", liar))
    assert ends(hub, "run-4").reason == "version_mismatch"

    (device.folder / "state/apps/shop/lock").touch()
    five = offer(hub, "5.0", app("5.0"), counter=5)
    hub.send(install("run-5", five))
    assert (ends(hub, "run-5").reason, ends(hub, "run-5").left) == ("locked", "old")
    (device.folder / "state/apps/shop/lock").unlink()

    device.end(signal.SIGKILL)
    assert device.service()["version"] == "2.0", "a service outlives the agent's crash"
    device.start()
    hub.until(lambda: len(hub.hellos) >= 2)
    assert hub.hellos[-1].installed[0].version == "2.0"
    hub.send(install("run-6", five))
    assert ends(hub, "run-6").state == "succeeded"
    assert device.service()["version"] == "5.0"
    assert device.end() == 0
    with pytest.raises(OSError, match="refused"):
        device.service()
    hub.until(lambda: hub.disconnects)
    assert hub.disconnects[-1] == "4", "with the will (MQTT 5.0, section 3.14.2.1)"
    assert "Traceback" not in device.log()


def _version_of(device: Device) -> str | None:
    try:
        return str(device.service()["version"])
    except OSError:
        return None


def test_a_cut_connection_is_made_anew_and_reports_are_sent_until_they_are_settled(device: Device, hub: Hub) -> None:
    hub.acks = False
    hub.send(install("run-1", offer(hub, "1.0", app("1.0"), counter=1)))
    assert ends(hub, "run-1").state == "succeeded"
    hub.reports.clear()
    hub.cut()
    hub.until(lambda: len(hub.hellos) >= 2)
    assert ends(hub, "run-1").state == "succeeded", "sent again, as nothing was settled"
    hub.acks = True
    hub.reports.clear()
    hub.cut()
    assert ends(hub, "run-1").state == "succeeded"
    hub.until(lambda: json.loads(device.call("status").stdout)["reports_not_acknowledged"] == 0)


def test_a_wrong_token_and_a_missing_enrolment_are_told_plainly(tmp_path: Path, hub: Hub) -> None:
    device = Device(tmp_path, hub, 0)
    refused = device.enrol("bad")
    assert (refused.returncode, refused.stderr) == (
        4,
        "tidegate-agent: the controller answers 403: unknown claim token\n",
    )
    missing = device.call("run")
    assert missing.returncode == 2
    assert "run 'tidegate-agent enrol' first" in missing.stderr
