"""Several hundred devices at once: everything arrives, once, in order, and is answered."""

import asyncio
import gc
import weakref
from asyncio import BaseProtocol
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mqtt5
import pytest

from protocol.ids import Name
from protocol.topics import DownlinkKind
from tests.controller.edge.world import D1, Client, World, until, world

DEVICES = 300
MESSAGES = 10


async def report(device: Client) -> None:
    for i in range(MESSAGES):
        device.publish(b"%d" % i)
    for _ in range(MESSAGES):
        assert (await device.packet()).reason_code == mqtt5.PubAckReasonCode.SUCCESS


async def connected(w: World) -> list[Client]:
    names = [f"acme:d{i}" for i in range(DEVICES)]
    return await asyncio.gather(*(w.device(name) for name in names))


async def test_a_crowd_reports_takes_commands_and_leaves(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        devices = await connected(w)
        assert w.endpoint.session_count == DEVICES

        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.gather(*map(report, devices))
        rate = DEVICES * MESSAGES / (loop.time() - start)
        print(f"{rate:,.0f} messages a second, both ends in this process, {w.endpoint.counts.batches} batches")

        by_device: dict[Name, list[bytes]] = {}
        for message in w.inbox.messages:
            by_device.setdefault(message.name, []).append(message.payload)
        assert Counter(map(tuple, by_device.values())) == {tuple(b"%d" % i for i in range(MESSAGES)): DEVICES}

        assert all(w.endpoint.write(device.name, DownlinkKind.COMMAND, device.name.encode()) for device in devices)
        found = await asyncio.gather(*(device.packet() for device in devices))
        assert [packet.payload.decode() for packet in found] == [device.name for device in devices]

        for device in devices:
            device.goodbye()
        await until(lambda: len(w.inbox.ended) == DEVICES)
        assert (w.endpoint.session_count, len({number for _, number in w.inbox.ended})) == (0, DEVICES)


async def test_a_storm_of_connects_leaves_the_loop_responsive(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        loop, lags = asyncio.get_running_loop(), [0.0]

        async def watch() -> None:
            while True:
                before = loop.time()
                await asyncio.sleep(0.001)
                lags.append(loop.time() - before - 0.001)

        watching = asyncio.create_task(watch())
        start = loop.time()
        await connected(w)
        spent = loop.time() - start
        watching.cancel()
        lags.sort()
        print(f"{DEVICES / spent:,.0f} connects a second, both ends; loop lag p99 {lags[-len(lags) // 100 - 1]:.3f} s")
        assert w.endpoint.counts.handshakes_failed.total() == 0


ENDINGS: dict[str, Callable[[Client], object]] = {
    "cut": lambda device: device.cut(),
    "goodbye": lambda device: device.goodbye(),
    "malformed": lambda device: device.send(b"\x00\x00"),
    "keepalive": lambda device: None,
}


@pytest.mark.parametrize("how", ENDINGS)
async def test_the_memory_of_an_ended_connection_is_free_at_once(tmp_path: Path, how: str) -> None:
    """In a circle it would wait for the collector: 50 KiB each, and the more devices are connected, the later."""
    async with world(tmp_path, keepalive_s=1, keepalive_factor=0.1) as w:
        device = await w.device()
        session = weakref.ref(w.endpoint._live[D1])
        tls = weakref.ref(w.endpoint._live[D1]._transport._ssl_protocol)  # type: ignore[union-attr]
        gc.collect()
        gc.disable()
        try:
            ENDINGS[how](device)
            await until(lambda: w.inbox.ended and not w.endpoint.connections)
            await until(lambda: session() is None and tls() is None)
        finally:
            gc.enable()


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05junk!"])
async def test_the_memory_of_a_failed_handshake_is_free_at_once(tmp_path: Path, first: bytes) -> None:
    """It takes no certificate to fail."""
    async with world(tmp_path, handshake_timeout_s=0.2) as w:
        sessions: list[weakref.ref[BaseProtocol]] = []
        make = w.endpoint._acceptor._factory

        def noted() -> BaseProtocol:
            made = make()
            sessions.append(weakref.ref(made))
            return made

        w.endpoint._acceptor._factory = noted
        gc.collect()
        gc.disable()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", w.port)
            writer.write(first)
            await until(lambda: w.endpoint.counts.handshakes_failed.total() == 1)
            await until(lambda: sessions[0]() is None)
            writer.close()
        finally:
            gc.enable()
