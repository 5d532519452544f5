"""Peers that cost something, by the hundred, in a process of their own: each does one wrong thing for ever."""

import asyncio
import random
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mqtt5

from controller.edge.acceptor import shrink_tls_buffers
from protocol.ids import Name
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.benchmarks.control import Order, obey
from tests.controller.edge.world import Client, open_client

PAUSE_S: Final = 0.05
DIALS_MAX: Final = 8
SOCKET_BYTES: Final = 4_096
_PING: Final = mqtt5.PingReqPacket().write()


@dataclass(frozen=True)
class Begin(Order[None]):
    """Have peers of one kind, a method of `Peers`, connect; answered when each has come as far as it wants to."""

    kind: str
    port: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Rounds(Order[int]):
    """Return how many times peers have begun anew so far."""


class Peers:
    """All peers of the process."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of `tests.controller.edge.world.Pki`, with a certificate for each name."""
        self._folder = folder
        self._port = 0
        self._rounds = 0
        self._dials = asyncio.Semaphore(DIALS_MAX)
        self._tasks: list[asyncio.Task[None]] = []

    async def carry_out(self, order: Order[Any]) -> Any:
        """Carry out one order, and return its answer."""
        match order:
            case Begin(kind, port, names):
                self._port = port
                await self._begin(getattr(self, kind), names)
                return None
            case Rounds():
                return self._rounds
        raise TypeError(f"no such order: {order}")

    async def _begin(self, life: Callable[[str, asyncio.Event], Awaitable[None]], names: tuple[str, ...]) -> None:
        there = [asyncio.Event() for _ in names]

        async def live(name: str, is_there: asyncio.Event) -> None:
            while not is_there.is_set():  # on a busy machine a handshake may take longer than the endpoint waits
                with suppress(OSError, ssl.SSLError):
                    await life(name, is_there)
                await asyncio.sleep(PAUSE_S)

        self._tasks = [asyncio.create_task(live(*each)) for each in zip(names, there, strict=True)]
        for is_there in there:
            await is_there.wait()

    async def _dial(self, name: str) -> Client:
        context = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        context.load_cert_chain(self._folder / f"{name.replace(':', '-')}.pem")
        async with self._dials:
            return await open_client(context, self._port, name)

    async def _device(self, name: str) -> Client:
        client = await self._dial(name)
        patterns = [str(Downlink(client.name, kind)) for kind in DownlinkKind]
        if await client.connect() is None or await client.subscribe(*patterns) is None:
            client.cut()
            raise ConnectionError("the endpoint ended the connection before the session stood")
        return client

    # --- kinds of peers

    async def silent_at_the_socket(self, name: str, is_there: asyncio.Event) -> None:
        """Open a TCP connection, and say nothing."""
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            is_there.set()
            await reader.read()
            writer.close()
            self._rounds += 1

    async def malformed(self, name: str, is_there: asyncio.Event) -> None:
        """Send junk in a session, and come back after each refusal."""
        chance = random.Random(name)
        while True:
            client = await self._device(name)
            is_there.set()
            client.send(b"\x30\x05\x00\x02\xff\xfe\x00" if chance.random() < 0.3 else chance.randbytes(2_000))
            await self._until_refused(client)

    async def oversized(self, name: str, is_there: asyncio.Event) -> None:
        """Announce a packet of 256 MiB and send what it takes to be refused."""
        while True:
            client = await self._device(name)
            is_there.set()
            client.send(b"\x32\xff\xff\xff\x7f" + bytes(100_000))
            await self._until_refused(client)

    async def _until_refused(self, client: Client) -> None:
        while await client.packet() is not None:
            pass
        client.cut()
        self._rounds += 1
        await asyncio.sleep(PAUSE_S)

    async def slow_to_connect(self, name: str, is_there: asyncio.Event) -> None:
        """Send a CONNECT of 9 kB, a byte at a time, and come back: with TLS 1.3 the endpoint's handshake ends last."""
        while True:
            client = await self._dial(name)
            is_there.set()
            await self._dribble(client, mqtt5.ConnectPacket(name, username="x" * 9_000).write())

    async def slow_to_speak(self, name: str, is_there: asyncio.Event) -> None:
        """Send a report of 9 kB, a byte at a time."""
        client = await self._device(name)
        is_there.set()
        await self._dribble(
            client, mqtt5.PublishPacket(str(Uplink(Name(name), UplinkKind.REPORT)), bytes(9_000)).write()
        )

    async def _dribble(self, client: Client, data: bytes) -> None:
        for number in range(len(data)):
            if client.writer.is_closing():
                return
            client.send(data[number : number + 1])
            await asyncio.sleep(PAUSE_S)

    async def deaf(self, name: str, is_there: asyncio.Event) -> None:
        """Ask without end, and never read."""
        client = await self._device(name)
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        is_there.set()
        while not client.writer.is_closing():
            client.send(_PING * 20)
            await asyncio.sleep(PAUSE_S)
            await client.writer.drain()

    async def frozen(self, name: str, is_there: asyncio.Event) -> None:
        """Do nothing wrong: it is the process that is stopped."""
        client = await self._device(name)
        is_there.set()
        while (packet := await client.packet()) is not None:
            if isinstance(packet, mqtt5.PublishPacket) and packet.packet_id is not None:
                client.send(mqtt5.PubAckPacket(packet.packet_id).write())


def main(socket: str, folder: str) -> None:
    """Misbehave until the test ends."""
    shrink_tls_buffers()

    async def run() -> None:
        await obey(socket, Peers(Path(folder)).carry_out)

    asyncio.run(run())
