"""A TCP proxy that breaks connections in drawn ways: late, silent, half-open, cut in the middle of a packet, reset.

Whatever a connection's fault is, its two ends learn no more of it than a real network would tell them.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

import msgspec

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 16_384
BYTES_BEFORE_MAX: Final = 24_000
"""A fault strikes after so many bytes at most: some in the handshake, some in the hello, some in the midst of work."""
DELAY_SECONDS_MAX: Final = 0.3
_LINGER_NOT: Final = struct.pack("ii", 1, 0)


class Fault(StrEnum):
    """What becomes of a connection."""

    NONE = "none"
    DELAY = "delay"
    DROP = "drop"
    HALF_OPEN = "half_open"
    CUT = "cut"
    RESET = "reset"


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, and after how many bytes, of both directions together, it strikes. `is_up_deaf` is of half-open ones."""

    fault: Fault
    after_bytes: int
    is_up_deaf: bool


class FaultProxy:
    """Forwards connections to one address; use it as a context."""

    def __init__(self, port: int, *, chance: random.Random, weights: Mapping[Fault, float]) -> None:
        """Take the port of loopback that is served, the chance that draws fates, and how likely each fault is."""
        self.counts: Counter[Fault] = Counter()
        self.port = 0
        self._target = port
        self._chance = chance
        self._weights = dict(weights)
        self._faulty: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def heal(self) -> None:
        """Break what is faulty, and let everything through from now on."""
        self._weights = {Fault.NONE: 1.0}
        for writer in self._faulty:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _draw(self) -> Fate:
        [fault] = self._chance.choices(list(self._weights), weights=list(self._weights.values()))
        return Fate(
            fault=fault,
            after_bytes=self._chance.randrange(BYTES_BEFORE_MAX),
            is_up_deaf=self._chance.random() < 0.5,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        fate = self._draw()
        self.counts[fate.fault] += 1
        writers = [writer]
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self._target)
            writers.append(up_writer)
            if fate.fault is not Fault.NONE:
                self._faulty.update(writers)
            await _Connection(fate, self._chance).run((reader, up_writer), (up_reader, writer))
        except OSError:
            pass  # an end is gone: the other one is told below
        finally:
            self._faulty.difference_update(writers)
            self._tasks.discard(task)
            for end in writers:
                end.transport.abort()


class _Struck(Exception):
    """The connection is over."""


class _Connection:
    """One connection and its fate."""

    def __init__(self, fate: Fate, chance: random.Random) -> None:
        self._fate = fate
        self._chance = chance
        self._bytes = 0

    async def run(self, *ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Forward both ways until one end is gone or the fault ends it."""
        tasks = [asyncio.ensure_future(self._forward(*way, is_up=index == 0)) for index, way in enumerate(ways)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool) -> None:
        while data := await reader.read(CHUNK_BYTES):
            left = self._fate.after_bytes - self._bytes
            self._bytes += len(data)
            if self._fate.fault is Fault.NONE or left > len(data):
                writer.write(data)
            else:
                await self._strike(data, max(0, left), writer, is_up=is_up)
            await writer.drain()

    async def _strike(self, data: bytes, left: int, writer: asyncio.StreamWriter, *, is_up: bool) -> None:
        """Do to *data*, of which *left* bytes may pass unharmed, what the fate says."""
        match self._fate.fault:
            case Fault.DELAY:
                await asyncio.sleep(self._chance.uniform(0, DELAY_SECONDS_MAX))
                writer.write(data)
            case Fault.DROP:
                writer.write(data[:left])
            case Fault.HALF_OPEN:
                writer.write(data[:left] if is_up is self._fate.is_up_deaf else data)
            case Fault.CUT:
                writer.write(data[:left])
                await writer.drain()
                writer.close()
                raise _Struck
            case Fault.RESET:
                end = writer.get_extra_info("socket")
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                raise _Struck
            case Fault.NONE:
                raise AssertionError("no fault strikes nothing")
