"""mqtt.js, which devices in JavaScript use, against the endpoint."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.mqttjs import Unavailable, mqttjs
from tests.controller.edge.programs import Program, running
from tests.controller.edge.world import D1, D2, World, until, world

DEVICE: Final = Path(__file__).with_name("mqttjs_device.js")
REPORT: Final = str(Uplink(D1, UplinkKind.REPORT))
COMMAND: Final = str(Downlink(D1, DownlinkKind.COMMAND))


@pytest.fixture(scope="session")
def modules() -> Path:
    """Return where mqtt.js is, or skip and say why."""
    try:
        return mqttjs()
    except Unavailable as error:
        pytest.skip(f"no mqtt.js: {error}")


class Device:
    """A node process with one client."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def order(self, what: str, **rest: Any) -> None:
        self._program.say(json.dumps({"do": what, **rest}))

    async def event(self, name: str) -> dict[str, Any]:
        """Return the next event of that name."""
        found: dict[str, Any] = json.loads(await self._program.line(f'"event":"{name}"'))
        return found


@asynccontextmanager
async def device(w: World, modules: Path, **options: Any) -> AsyncIterator[Device]:
    """Run a device that comes back 50 ms after each loss, unless told otherwise."""
    values = {"port": w.port, "ca": str(w.pki.ca), "device": str(w.pki.device(D1)), "name": D1, "version": 5}
    values |= {"reconnect_ms": 50, "will": str(Uplink(D1, UplinkKind.GONE))} | options
    node = shutil.which("node")
    assert node is not None, "mqtt.js was installed with it"
    env = {**os.environ, "NODE_PATH": str(modules)}
    async with running([node, str(DEVICE), json.dumps(values)], env=env) as program:
        yield Device(program)


async def test_mqttjs_connects_subscribes_publishes_receives_and_leaves(tmp_path: Path, modules: Path) -> None:
    async with world(tmp_path) as w, device(w, modules) as d:
        assert (await d.event("connect"))["code"] == 0
        d.order("subscribe", topics=[str(Downlink(D1, kind)) for kind in DownlinkKind], qos=1)
        assert (await d.event("subscribe"))["codes"] == [1, 1]
        for kind in (UplinkKind.HELLO, UplinkKind.REPORT):
            d.order("publish", topic=str(Uplink(D1, kind)), payload=kind.value, qos=1)
            assert (await d.event("publish"))["code"] == 0
        d.order("publish", topic=str(Uplink(D1, UplinkKind.TICK)), payload="tick", qos=0)
        await until(lambda: w.inbox.payloads == [b"hello", b"report", b"tick"])

        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"go")
        assert await d.event("message") == {"event": "message", "topic": COMMAND, "payload": "go", "qos": 1}
        await until(lambda: not w.endpoint._live[D1]._unacknowledged)
        d.order("leave")
        await d.event("left")
        await until(lambda: w.inbox.ended)
        assert len(w.inbox.payloads) == 3


async def test_mqttjs_learns_what_is_forbidden(tmp_path: Path, modules: Path) -> None:
    async with world(tmp_path) as w, device(w, modules) as d:
        await d.event("connect")
        d.order("subscribe", topics=["#"], qos=1)
        refused = await d.event("subscribe")
        assert 0x87 in [*refused["codes"], refused["error"]]
        d.order("subscribe", topics=[COMMAND], qos=0)
        assert 0x83 in [*(low := await d.event("subscribe"))["codes"], low["error"]]
        d.order("publish", topic=str(Uplink(D2, UplinkKind.REPORT)), payload="forged", qos=1)
        assert (await d.event("publish"))["code"] == 0x87
        assert w.inbox.payloads == []


async def test_mqttjs_comes_back_and_its_unanswered_report_with_it(tmp_path: Path, modules: Path) -> None:
    """It says that it is connected only once what was unanswered is answered."""
    async with world(tmp_path) as w, device(w, modules) as d:
        await d.event("connect")
        w.inbox.open.clear()
        d.order("publish", topic=REPORT, payload="again", qos=1)
        await until(lambda: w.inbox.offers)
        d.order("drop")
        await until(lambda: w.endpoint.counts.connected == 2)
        w.inbox.open.set()

        assert (await d.event("publish"))["code"] == 0
        await d.event("connect")
        assert w.inbox.payloads == [b"again", b"gone", b"again"]


async def test_mqttjs_is_told_of_a_takeover_and_takes_over_itself(tmp_path: Path, modules: Path) -> None:
    async with world(tmp_path) as w, device(w, modules) as d:
        await d.event("connect")
        newer = await w.device(D1)
        assert (await d.event("disconnect"))["code"] == 0x8E
        await until(lambda: w.inbox.payloads == [b"gone"])

        await d.event("connect")
        assert "TAKEN_OVER" in repr((await newer.packet()).reason_code)


async def test_mqttjs_with_a_stolen_id_is_refused(tmp_path: Path, modules: Path) -> None:
    async with world(tmp_path) as w, device(w, modules, name=D2, will=None, reconnect_ms=0) as d:
        assert (await d.event("error"))["code"] == 0x85
        assert w.endpoint.session_count == 0


async def test_mqttjs_with_mqtt_3_learns_that_its_version_is_refused(
    tmp_path: Path, modules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world(tmp_path) as w, device(w, modules, version=4, reconnect_ms=0) as d:
        assert (await d.event("error"))["code"] == 1
        assert w.endpoint.counts.ended["old_protocol"] == 1
    assert "error='MQTT 3'" in capsys.readouterr().out
