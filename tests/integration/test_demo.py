"""The demo as a user runs it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.processes import left_behind

pytestmark = pytest.mark.timeout(118)

DEMO = [sys.executable, "-c", "from controller.cli import main; main()", "demo"]
COUNTERS = ("queued", "in_progress", "succeeded", "failed", "rejected", "timed_out", "cancelled", "removed")


def test_the_demo_tells_what_happened_as_json(tmp_path: Path) -> None:
    command = [*DEMO, "-o", "json", "--devices", "30", "--dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=110, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert (told["ok"], told["faults"]) == (True, [])
    assert [(run["name"], run["state"]) for run in told["runs"]] == [
        ("harbour-1.0.0", "succeeded"),
        ("harbour-1.1.0", "failed"),
    ]
    assert told["devices_on_version"] == {"1.0.0": 33}
    for run in told["runs"]:
        assert [stage["name"] for stage in run["stages"]] == ["canary", "eu", "us", "rest"]
    assert sum(stage[name] for stage in told["runs"][0]["stages"] for name in COUNTERS) == 33
    assert told["runs"][1]["stages"][0]["failed"] == len(told["runs"][1]["reached"]) <= 4
    assert left_behind(tmp_path) == []


def test_the_demo_leaves_nothing_behind_when_it_is_interrupted(tmp_path: Path) -> None:
    command = [*DEMO, "--devices", "10", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as demo:
        deadline = time.monotonic() + 40
        while len(left_behind(tmp_path)) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(40) == 3
    assert left_behind(tmp_path) == []
