"""What asyncio does not tell a connection that is not read: that its peer has left."""

import asyncio
from pathlib import Path
from typing import Final

import mqtt5
import pytest

from controller.edge.wire import Pause
from protocol.topics import DownlinkKind
from tests.controller.edge.world import D1, D2, Client, World, until, world

WRITES: Final = 10
"""asyncio logs each write after the fifth."""


async def answered(device: Client) -> None:
    """Have the endpoint answer: by then it has seen all that came before."""
    device.send(mqtt5.PingReqPacket().write())
    assert await device.packet() == mqtt5.PingRespPacket()


async def leave(w: World, device: Client) -> None:
    """Have *device* leave without a goodbye, and the endpoint see it."""
    witness = await w.device(D2)
    device.cut()
    await answered(witness)  # the cut takes a turn of the loop
    await answered(witness)


@pytest.mark.parametrize("why", [Pause.RATE, Pause.PRESSURE])
async def test_who_left_while_it_was_not_read_is_not_written_to_but_still_heard(
    why: Pause, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path, sweep_s=60.0) as w:
        device = await w.device()
        session = w.endpoint._live[D1]
        session.pause(why)
        device.publish(b"last words")
        await leave(w, device)

        for _ in range(WRITES):
            w.endpoint.write(D1, DownlinkKind.COMMAND, b"command")
            await asyncio.sleep(0)
        session.resume(why)
        await until(lambda: w.inbox.ended)

        assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
        assert w.inbox.payloads == [b"last words"]
        assert w.endpoint.counts.ended["lost"] == 1


async def test_who_left_before_it_was_refused_leaves_no_connection_behind(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.inbox.blocked = {D1}
        device = await w.client()
        w.inbox.checks_open.clear()
        device.send(mqtt5.ConnectPacket(D1, clean_start=True).write())
        await until(lambda: w.endpoint._checks)
        device.cut()
        (await w.client(D2)).cut()  # by the end of its handshake the first cut has been seen
        w.inbox.checks_open.set()

        await until(lambda: w.endpoint.counts.connects_refused["not_authorized"])
        await until(lambda: w.endpoint.connections == 0)


async def test_who_left_with_a_goodbye_that_waited_leaves_no_connection_behind(tmp_path: Path) -> None:
    async with world(tmp_path, sweep_s=60.0, packets_burst=4, packets_per_second=0.001) as w:
        device = await w.device()
        device.send(mqtt5.PingReqPacket().write() * 3 + mqtt5.DisconnectPacket().write())
        session = w.endpoint._live[D1]
        await until(lambda: session.pauses)
        await leave(w, device)

        session.resume(Pause.RATE)

        assert w.endpoint.counts.ended["disconnected"] == 1
        await until(lambda: w.endpoint.connections == 1)


async def test_who_is_not_read_but_there_is_written_to(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        w.endpoint._live[D1].pause(Pause.PRESSURE)

        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"command")

        assert (await device.packet()).payload == b"command"
