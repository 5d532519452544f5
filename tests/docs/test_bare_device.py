"""Whoever reads nothing but the reference can write a device that a controller takes for a good one."""

import re
from pathlib import Path

import pytest

from tests.docs import bare_device
from tests.docs.bare_device import BareDevice
from tests.integration.world import APP, JOB, World, until, world

pytestmark = pytest.mark.timeout(110)

PIPELINE = f"kind: Pipeline\nname: {JOB}\nstages:\n  - {{name: all, gate: {{success: 100%}}}}\n"


def test_the_bare_device_imports_nothing_of_ours() -> None:
    source = Path(bare_device.__file__).read_text()
    assert not re.search(r"^\s*(from|import) (agent|controller|protocol|simulator|tests)\b", source, re.MULTILINE)


def test_a_device_written_from_the_page_is_enrolled_greeted_and_updated(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.publish("1.0.0")
        w.define("1.0.0", PIPELINE)
        installation, claim = w.installation, w.operator.new_claim(uses=1)
        device = BareDevice(tmp_path, url=installation.url, ca=installation.ca, claim=claim, device="bare-1")
        device.connect()
        assert device.say_hello()["max_silence_ms"] > 0
        _is_updated(w, device)

        device.leave()
        until(lambda: not list(w.operator.devices(online=True)), why="the will says that it is gone")


def _is_updated(w: World, device: BareDevice) -> None:
    run = w.operator.start(JOB, version="1.0.0").id
    assert device.update() == next((w.installation.folder / "build").glob("*.tar.gz")).read_bytes()
    assert w.ended(run).state == "succeeded"
    (shown,) = w.operator.devices(online=True)
    assert [(one.app, one.version) for one in shown.installed] == [(APP, "1.0.0")]
    assert w.operator.security_events() == []
