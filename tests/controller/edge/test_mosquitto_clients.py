"""Mosquitto's command-line clients against the endpoint."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.programs import Program, running
from tests.controller.edge.world import D1, D2, World, until, world

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is not installed: see scripts/debian-packages"
)

REPORT: Final = str(Uplink(D1, UplinkKind.REPORT))
GONE: Final = str(Uplink(D1, UplinkKind.GONE))
COMMAND: Final = str(Downlink(D1, DownlinkKind.COMMAND))


@asynccontextmanager
async def client(
    w: World, program: str, *options: str, client_id: str = D1, version: str = "5"
) -> AsyncIterator[Program]:
    """Run one of the clients with the papers of D1; it tells what it sends and gets."""
    papers = str(w.pki.device(D1))
    where = ["-h", "localhost", "-p", str(w.port), "--cafile", str(w.pki.ca), "--cert", papers, "--key", papers]
    line_by_line = [shutil.which("stdbuf") or "stdbuf", "-oL"]
    async with running([*line_by_line, program, *where, "-i", client_id, "-V", version, "-d", *options]) as started:
        yield started


@pytest.mark.parametrize(("kind", "qos"), [("hello", 1), ("report", 1), ("tick", 0)])
async def test_mosquitto_pub_publishes(tmp_path: Path, kind: str, qos: int) -> None:
    async with world(tmp_path) as w:
        topic = str(Uplink(D1, UplinkKind(kind)))
        async with client(w, "mosquitto_pub", "-q", str(qos), "-t", topic, "-m", kind) as pub:
            if qos:
                await pub.line("received PUBACK", "RC:0")
            assert await pub.code() == 0
        await until(lambda: w.inbox.payloads == [kind.encode()])
        await until(lambda: w.endpoint.counts.ended["disconnected"] == 1)


async def test_mosquitto_pub_waits_until_its_report_is_stored(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.inbox.open.clear()
        async with client(w, "mosquitto_pub", "-q", "1", "-t", REPORT, "-m", "report") as pub:
            await until(lambda: w.inbox.offers)
            assert pub.process.returncode is None
            w.inbox.open.set()
            assert await pub.code() == 0
        assert w.inbox.payloads == [b"report"]


async def test_mosquitto_pub_learns_that_a_topic_is_forbidden(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        foreign = str(Uplink(D2, UplinkKind.REPORT))
        async with client(w, "mosquitto_pub", "-q", "1", "-t", foreign, "-m", "forged") as pub:
            await pub.line("received PUBACK", "RC:135")
        assert w.inbox.payloads == []


async def test_mosquitto_pub_keeps_to_the_qos_that_is_announced(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with client(w, "mosquitto_pub", "-q", "2", "-t", REPORT, "-m", "report") as pub:
            await pub.line("Message QoS not supported")
        assert w.inbox.payloads == []


async def test_mosquitto_sub_receives_and_acknowledges_a_command(tmp_path: Path) -> None:
    async with world(tmp_path) as w, client(w, "mosquitto_sub", "-q", "1", "-t", COMMAND, "-F", "%t %q %p") as sub:
        await sub.line("Subscribed", ": 1")
        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"go")
        await sub.line(f"{COMMAND} 1 go")
        await until(lambda: not w.endpoint._live[D1]._unacknowledged)


@pytest.mark.parametrize(("qos", "topic", "code"), [("1", "#", 135), ("1", REPORT, 135), ("0", COMMAND, 131)])
async def test_mosquitto_sub_learns_that_it_may_not(tmp_path: Path, qos: str, topic: str, code: int) -> None:
    async with world(tmp_path) as w, client(w, "mosquitto_sub", "-q", qos, "-t", topic) as sub:
        await sub.line("Subscribed", f": {code}")
        await sub.line("All subscription requests were denied")


async def test_mosquitto_sub_is_told_of_a_takeover_and_its_will_is_published(tmp_path: Path) -> None:
    will = ["--will-topic", GONE, "--will-payload", "gone", "--will-qos", "1"]
    async with world(tmp_path) as w, client(w, "mosquitto_sub", "-q", "1", "-t", COMMAND, *will) as sub:
        await sub.line("Subscribed", ": 1")
        newer = await w.device(D1)
        await sub.line("Received DISCONNECT (142)")
        await until(lambda: w.inbox.payloads == [b"gone"])

        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"for the newer one")
        assert (await newer.packet()).payload == b"for the newer one"


async def test_mosquitto_sub_comes_back_after_a_cut(tmp_path: Path) -> None:
    """The program ends with its connection; whoever starts it again finds an endpoint that knows nothing of before."""
    async with world(tmp_path) as w:
        for number in (1, 2):
            async with client(w, "mosquitto_sub", "-q", "1", "-t", COMMAND, "-F", "%p") as sub:
                await sub.line("Subscribed", ": 1")
                assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"go")
                await sub.line("received PUBLISH", "m1")
                w.endpoint._live[D1].abort()
                assert await sub.code() != 0
            await until(lambda number=number: len(w.inbox.ended) == number)


async def test_mosquitto_with_a_stolen_id_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with client(w, "mosquitto_pub", "-q", "1", "-t", REPORT, "-m", "x", client_id=D2) as pub:
            await pub.line("received CONNACK (133)")
            assert await pub.code() != 0
        assert w.inbox.payloads == []


@pytest.mark.parametrize("version", ["31", "311"])
async def test_mosquitto_with_mqtt_3_learns_that_its_version_is_refused(
    tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world(tmp_path) as w:
        async with client(w, "mosquitto_pub", "-q", "1", "-t", REPORT, "-m", "x", version=version) as pub:
            await pub.line("received CONNACK (1)")
            assert await pub.code() != 0
        assert w.endpoint.counts.ended["old_protocol"] == 1
    assert "error='MQTT 3'" in capsys.readouterr().out
