"""Whatever bytes come over real TLS, and over none: the endpoint lives, and a good device is served."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.topics import DownlinkKind
from tests.controller.edge.streams import cuts, split, streams
from tests.controller.edge.world import D1, D2, Client, World, until, world

EXAMPLES: Final = settings().max_examples // 2
SERVED_S: Final = 5.0


class Yard:
    """A world on a loop of its own, which all examples share: a fault of one shows in the next."""

    def __init__(self, runner: asyncio.Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        self.world: World = await self._stack.enter_async_context(world(self._folder))
        self.good: Client = await self.world.device(D2)
        self._context = self.world.pki.client_context(self.world.pki.device(D1))

    async def close(self) -> None:
        await self._stack.aclose()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self._runner.run(work)

    async def send(self, parts: list[bytes], *, is_cut: bool) -> None:
        """Send *parts* over a TLS connection, then vanish or say that nothing more comes."""
        bad = await self.world.connect_with(self._context)
        await _send(bad.writer, parts)
        if is_cut:
            bad.cut()
        await self.is_served()
        bad.cut()
        await until(lambda: self.world.endpoint.connections == 1)
        self.world.clients.remove(bad)

    async def send_plainly(self, parts: list[bytes]) -> None:
        """Send *parts* where TLS is expected."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.world.port)
        await _send(writer, parts)
        await self.is_served()
        writer.close()

    async def is_served(self) -> None:
        """Check that the good device is answered and written to."""
        async with asyncio.timeout(SERVED_S):
            self.good.publish(b"report")
            assert (await self.good.packet()).reason_code == 0
            assert self.world.endpoint.write(D2, DownlinkKind.COMMAND, b"go")
            command = await self.good.packet()
        assert command.payload == b"go"
        self.good.send(mqtt5.PubAckPacket(command.packet_id).write())


async def _send(writer: asyncio.StreamWriter, parts: list[bytes]) -> None:
    with suppress(OSError):
        for part in parts:
            writer.write(part)
            await writer.drain()


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Yield a world for all examples; at its end nothing may be left."""
    with asyncio.Runner() as runner:
        made = Yard(runner, tmp_path_factory.mktemp("world"))
        runner.run(made.open())
        yield made
        runner.run(made.close())
        assert made.world.endpoint.connections == 0


@settings(max_examples=EXAMPLES)
@given(data=streams, where=cuts, is_cut=st.booleans())
def test_no_stream_over_tls_disturbs_a_good_device(
    yard: Yard, data: bytes, where: list[int] | int, is_cut: bool
) -> None:
    yard.run(yard.send(split(data, where), is_cut=is_cut))


@settings(max_examples=EXAMPLES)
@given(data=st.binary(max_size=2_000) | st.binary(max_size=200).map(lambda rest: b"\x16\x03\x01" + rest), where=cuts)
def test_no_stream_in_the_place_of_tls_disturbs_a_good_device(yard: Yard, data: bytes, where: list[int] | int) -> None:
    yard.run(yard.send_plainly(split(data, where)))
