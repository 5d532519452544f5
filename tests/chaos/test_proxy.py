"""The proxy does what its faults are called."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import BYTES_BEFORE_MAX, HOST, Fault, FaultProxy

SENT = bytes(range(256)) * (BYTES_BEFORE_MAX // 64)
PATIENCE = 0.5


@asynccontextmanager
async def through(fault: Fault) -> AsyncIterator[tuple[FaultProxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a server that says everything back, by a proxy with one fault."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4_096):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()

    server = await asyncio.start_server(echo, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, FaultProxy(port, chance=random.Random(3), weights={fault: 1.0}) as proxy:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        try:
            yield proxy, reader, writer
        finally:
            writer.transport.abort()


async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, str]:
    """Send everything, and return what came back and how it ended."""
    came = b""
    try:
        if not writer.is_closing():
            writer.write(SENT)
        async with asyncio.timeout(PATIENCE) as patience:
            while data := await reader.read(65_536):
                came += data
                if len(came) < len(SENT):
                    patience.reschedule(asyncio.get_running_loop().time() + PATIENCE)
    except TimeoutError:
        return came, "silence"
    except ConnectionResetError:
        return came, "reset"
    return came, "end"


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.DELAY])
async def test_what_is_not_broken_comes_whole(fault: Fault) -> None:
    async with through(fault) as (proxy, reader, writer):
        assert await heard(reader, writer) == (SENT, "silence")
        assert proxy.counts == {fault: 1}


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.HALF_OPEN])
async def test_a_silent_fault_tells_nobody_until_it_heals(fault: Fault) -> None:
    async with through(fault) as (proxy, reader, writer):
        came, how = await heard(reader, writer)
        assert how == "silence"
        assert len(came) < len(SENT)
        assert SENT.startswith(came)
        proxy.heal()
        _, how = await heard(reader, writer)
        assert how in {"reset", "end"}


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.RESET])
async def test_a_loud_fault_ends_the_connection_in_the_midst(fault: Fault) -> None:
    async with through(fault) as (_, reader, writer):
        came, how = await heard(reader, writer)
        assert how in {"reset", "end"}
        assert len(came) < len(SENT)
        assert SENT.startswith(came)
