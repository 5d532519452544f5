"""The bound: the endpoint with no controller behind it. It writes given bytes, and commits raw bytes in groups.

The same TLS, sessions, batches and limits as in production; what is missing is all that Tidegate is about.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from controller.app.ports import Disposition, Uplinked
from controller.bootstrap import SWITCH_INTERVAL_S
from controller.edge.endpoint import Endpoint
from controller.signing.installation import read_tenant
from controller.signing.keystore import Keystore
from protocol.ids import Name
from protocol.topics import DownlinkKind, UplinkKind
from tests.benchmarks.control import Order, obey


@dataclass(frozen=True)
class Port(Order[int]):
    """Return where the endpoint listens."""


@dataclass(frozen=True)
class Write(Order[int]):
    """Write *payload* to *count* sessions as a command; return to how many it was written."""

    payload: bytes
    count: int


class RawInbox:
    """Keeps the bytes of all but ticks, as durably as the controller does; implements `controller.app.ports.Inbox`."""

    def __init__(self, path: Path) -> None:
        """Make the database at *path*."""
        self._thread = ThreadPoolExecutor(1)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA wal_autocheckpoint=10000"):
            self._database.execute(statement)
        self._database.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, name TEXT, payload BLOB)")

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        """Commit a batch in one transaction."""
        rows = [(message.name, message.payload) for message in batch if message.kind is not UplinkKind.TICK]
        if rows:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, rows)
        return [Disposition.STORED] * len(batch)

    def _commit(self, rows: Sequence[tuple[Name, bytes]]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT INTO message (name, payload) VALUES (?, ?)", rows)
        self._database.execute("COMMIT")

    async def may_connect(self, name: Name) -> bool:
        """Let everybody in whose certificate is ours."""
        return True

    async def disconnected(self, name: Name, session: int) -> None:
        """Do nothing: presence is the controller's."""

    async def lost_sight(self, partitions: Collection[int]) -> None:
        """Do nothing, for the same reason."""


class Bare:
    """The endpoint, and the orders it obeys."""

    def __init__(self, folder: Path) -> None:
        """Take the installation's online folder, for its keys."""
        self._endpoint = Endpoint(
            RawInbox(folder.parent / "bare.db"),
            tenant=read_tenant(folder),
            context=Keystore(folder).server_context(),
            instance=1,
        )
        [(_, self._port)] = self._endpoint.listen("127.0.0.1", 0)

    async def carry_out(self, order: Order[Any]) -> Any:
        """Carry out one order, and return its answer."""
        match order:
            case Port():
                return self._port
            case Write(payload, count):
                write, names = self._endpoint.write, islice(self._endpoint._live, count)
                return sum(write(name, DownlinkKind.COMMAND, payload) for name in names)
        raise TypeError(f"no such order: {order}")

    async def run(self, socket: str) -> None:
        """Serve until the benchmark ends."""
        running = asyncio.create_task(self._endpoint.run())
        await obey(socket, self.carry_out)
        await self._endpoint.stop()
        await running


def main(socket: str, folder: str) -> None:
    """Run the bare endpoint with the keys of an installation until the benchmark ends."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    async def run() -> None:
        await Bare(Path(folder)).run(socket)

    asyncio.run(run())
