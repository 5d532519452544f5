"""The demo as a user runs it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.cli.app import build
from controller.mqtt.limits import LANES
from simulator.brokers import Kind
from simulator.processes import left_behind
from tests.brokers import needs

pytestmark = pytest.mark.timeout(118)

PROGRAM = "from controller.cli import main; main()"
TAKE_TERMINAL = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
DEMO = [sys.executable, "-c", PROGRAM, "demo"]
ON_ITS_TERMINAL = [sys.executable, "-c", f"{TAKE_TERMINAL}; {PROGRAM}", "demo"]
COUNTERS = ("queued", "in_progress", "succeeded", "failed", "rejected", "timed_out", "cancelled", "removed")


def test_the_demo_tells_what_happened_as_json(tmp_path: Path) -> None:
    few = ["--devices", "20", "--agents", "1"]
    done = CliRunner().invoke(build(), ["demo", "-o", "json", *few, "--dir", str(tmp_path)])
    assert done.exit_code == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert (told["ok"], told["faults"]) == (True, [])
    assert [(run["name"], run["state"]) for run in told["runs"]] == [
        ("harbour-1.0.0", "succeeded"),
        ("harbour-1.1.0", "failed"),
        ("harbour-branches-1.2.0", "failed"),
        ("harbour-branches-1.0.0", "succeeded"),
        ("harbour-models-1.3.0", "succeeded"),
    ]
    assert told["broker"] == "the built-in endpoint"
    assert told["devices_on_version"] == {"1.0.0": 4, "1.3.0": 17}
    good, bad, branches, back, models = told["runs"]
    assert (good["asked"]["device"] in good["reached"], good["asked"]["fact"]["code"]) == (True, "held")
    assert "on show at the fair" in good["asked"]["fact"]["text"]
    for run in (good, bad):
        assert [stage["name"] for stage in run["stages"]] == ["canary", "eu", "us", "rest"]
    assert sum(stage[name] for stage in good["stages"] for name in COUNTERS) == 21
    assert 1 <= len(bad["reached"]) <= 4
    assert [(stage["name"], stage["state"]) for stage in branches["stages"]] == [
        ("eu", "passed"),
        ("us", "failed"),
        ("apac", "cancelled"),
    ]
    assert 1 <= len(branches["exposed"]) < 8
    [rolled] = back["stages"]
    assert (rolled["state"], rolled["succeeded"]) == ("passed", 9)
    assert [run["quarantined"] for run in told["runs"]] == [[], [], [], [], ["kiosk-3"]]
    [everybody] = models["stages"]
    assert (everybody["state"], everybody["succeeded"]) == ("passed", 17)
    assert (everybody["failed"], everybody["failed"] + everybody["cancelled"]) == (len(models["exposed"]), 4)
    assert {*back["reached"]} == {*branches["reached"]} - {*branches["exposed"]}
    assert left_behind(tmp_path) == []


@needs(Kind.MOSQUITTO)
def test_the_demo_goes_through_mosquitto(tmp_path: Path) -> None:
    few = ["--devices", "20", "--agents", "2", "--broker", "mosquitto"]
    done = CliRunner().invoke(build(), ["demo", "-o", "json", *few, "--dir", str(tmp_path)])
    assert done.exit_code == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert (told["ok"], told["broker"]) == (True, "mosquitto")
    assert told["devices_on_version"] == {"1.0.0": 4, "1.3.0": 18}
    connected = set(re.findall(r"New client connected .* as (\S+) ", (tmp_path / "logs" / "mosquitto.log").read_text()))
    lanes = {f"tidegate-demo-lane-{number:02}" for number in range(LANES)}
    assert told["runs"][0]["asked"]["device"] == "box-2"
    assert lanes <= connected
    assert len(connected - lanes) == 22
    assert left_behind(tmp_path) == []


def test_the_demo_leaves_nothing_behind_when_it_is_interrupted(tmp_path: Path) -> None:
    command = [*DEMO, "--devices", "10", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as demo:
        _await_processes(tmp_path)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(40) == 3
    assert left_behind(tmp_path) == []


def test_the_demo_leaves_nothing_behind_when_its_terminal_is_closed(tmp_path: Path) -> None:
    person, program = pty.openpty()
    command = [*ON_ITS_TERMINAL, "--devices", "10"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdin=program, stdout=program, stderr=program, env=env, start_new_session=True
    ) as demo:
        os.close(program)
        _await_processes(tmp_path)
        os.close(person)
        assert demo.wait(40) == 3
    assert left_behind(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def _await_processes(folder: Path) -> None:
    """Wait until the controller and devices are there."""
    deadline = time.monotonic() + 40
    while len(left_behind(folder)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)


def test_the_demo_says_what_failed_and_where_the_logs_are(tmp_path: Path) -> None:
    (tmp_path / "online").mkdir()
    (tmp_path / "online" / "a-file").touch()
    done = CliRunner().invoke(build(), ["demo", "--devices", "10", "--dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "The demo failed: tidegate init" in done.stdout
    assert f"The logs are in {tmp_path / 'logs'}" in done.stdout


def test_the_demo_fails_when_a_process_dies(tmp_path: Path) -> None:
    def kill_when_it_serves() -> None:
        while len(left_behind(tmp_path)) < 3:
            time.sleep(0.05)
        for pid in left_behind(tmp_path):
            if _is_controller(pid):
                os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill_when_it_serves, daemon=True).start()
    done = CliRunner().invoke(build(), ["demo", "--devices", "10", "--dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "The demo failed" in done.stdout
    assert left_behind(tmp_path) == []


def _is_controller(pid: int) -> bool:
    return b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
