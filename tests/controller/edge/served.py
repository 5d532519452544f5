"""An endpoint in a process of its own, so that what peers cost it can be measured."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from controller.app.ports import Disposition, Uplinked
from controller.edge.endpoint import Endpoint
from controller.edge.limits import Limits
from controller.signing.tls import server_context
from protocol.ids import Name
from protocol.topics import DownlinkKind
from tests.benchmarks.control import Order, obey
from tests.controller.edge.world import TENANT, FakeInbox

WRITE_EVERY_S: Final = 0.02


@dataclass(frozen=True)
class Port(Order[int]):
    """Return where the endpoint listens."""


@dataclass(frozen=True)
class Flood(Order[None]):
    """From now on, write a command of so many bytes to every session that takes it, again and again; 0 ends it."""

    size_bytes: int


@dataclass(frozen=True)
class State:
    """What the endpoint holds, and how its sessions ended."""

    connections: int
    sessions: int
    ended: dict[str, int]
    written: int
    write_refused: int
    handshakes_failed: int


@dataclass(frozen=True)
class Look(Order[State]):
    """Return how things stand."""


class Store(FakeInbox):
    """Takes everything, and forgets it."""

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        return [Disposition.STORED] * len(batch)

    async def disconnected(self, name: Name, session: int) -> None:
        pass


class Served:
    """The endpoint, and the orders it obeys."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Take the folder of `tests.controller.edge.world.Pki`."""
        server = folder / "server.pem"
        context = server_context(certificate=server, key=server, ca=folder / "ca.crt")
        self.endpoint = Endpoint(Store(), tenant=TENANT, context=context, instance=1, limits=limits)
        [(_, self._port)] = self.endpoint.listen("127.0.0.1", 0)
        self._flooding: asyncio.Task[None] | None = None

    async def carry_out(self, order: Order[Any]) -> Any:
        """Carry out one order, and return its answer."""
        match order:
            case Port():
                return self._port
            case Flood(size_bytes):
                self._flood(bytes(size_bytes))
                return None
            case Look():
                return self._look()
        raise TypeError(f"no such order: {order}")

    def _flood(self, payload: bytes) -> None:
        if self._flooding is not None:
            self._flooding.cancel()
        self._flooding = asyncio.create_task(self._write(payload)) if payload else None

    async def _write(self, payload: bytes) -> None:
        while True:
            for name in list(self.endpoint._live):
                self.endpoint.write(name, DownlinkKind.COMMAND, payload)
            await asyncio.sleep(WRITE_EVERY_S)

    def _look(self) -> State:
        counts, endpoint = self.endpoint.counts, self.endpoint
        failed = counts.handshakes_failed.total()
        held = (endpoint.connections, endpoint.session_count)
        return State(*held, dict(counts.ended), counts.written, counts.write_refused, failed)


async def _run(socket: str, folder: Path, limits: Limits) -> None:
    served = Served(folder, limits)
    running = asyncio.create_task(served.endpoint.run())
    await obey(socket, served.carry_out)
    await served.endpoint.stop()
    await running


def main(socket: str, folder: str, limits: str) -> None:
    """Serve with *limits*, as JSON, until the test ends."""
    asyncio.run(_run(socket, Path(folder), msgspec.json.decode(limits, type=Limits)))
