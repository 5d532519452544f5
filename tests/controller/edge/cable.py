"""Sessions without sockets: an endpoint in virtual time, and transports in memory, for tests that try many things."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import mqtt5

from controller.edge.endpoint import Endpoint
from controller.edge.session import Session
from protocol.ids import Name
from tests.controller.edge.world import TENANT, FakeInbox, limits_of

DRAIN_S: Final = 1.0
"""Virtual seconds after which everything that is going to happen has happened."""
PATIENCE_S: Final = 60.0
"""Virtual seconds after which a transport that is not read any more is a fault of the endpoint."""


class Cable(asyncio.Transport):
    """One connection as a session sees it: bytes go in with `feed`, and what it writes is kept in `written`."""

    def __init__(self, endpoint: Endpoint, name: Name) -> None:
        super().__init__()
        self.name = name
        self.written = bytearray()
        self._is_read = True
        self.is_cut = False
        self._is_closing = False
        self._waiting = bytearray()
        self.session = Session(endpoint, tenant=TENANT, buffer=endpoint._buffer)

    # --- the peer's side

    async def feed(self, data: bytes) -> None:
        """Send *data*, once the session reads; what comes after its end is lost, as in a real network."""
        self._waiting += data
        for _ in range(int(PATIENCE_S / DRAIN_S)):
            if self._deliver():
                await asyncio.sleep(0)
                return
            await asyncio.sleep(DRAIN_S)
        raise AssertionError(f"not read for {PATIENCE_S} s: {self.session.pauses}")

    def _deliver(self) -> bool:
        """Hand over what waits, as asyncio does; say whether that was all."""
        while self._waiting and self._is_read and not self._is_closing:
            buffer = self.session.get_buffer(-1)
            chunk = self._waiting[: len(buffer)]
            buffer[: len(chunk)] = chunk
            del self._waiting[: len(chunk)]
            self.session.buffer_updated(len(chunk))
        return not self._waiting or self._is_closing

    def packets(self) -> list[Any]:
        """Return what the session wrote.

        Raises:
            AssertionError: when the bytes do not end with a whole packet, or are none of MQTT 5.
        """
        found, at, data = [], 0, memoryview(bytes(self.written))
        while at < len(data):
            packet, length = mqtt5.read(data[at:])
            found.append(packet)
            at += length
        return found

    # --- the session's side

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        certificate: Mapping[str, Any] = {"subjectAltName": (("URI", f"urn:tidegate:{self.name}"),)}
        return certificate if name == "peercert" else default

    def is_reading(self) -> bool:
        return self._is_read

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_read = False

    def resume_reading(self) -> None:
        self._is_read = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        assert not self._is_closing, "written after the end"
        self.written += data

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self.session.connection_lost, None)

    def abort(self) -> None:
        self.is_cut = True
        self.close()


class Stage:
    """A running endpoint and an inbox that obeys the test; see `stage`."""

    def __init__(self, **limits: Any) -> None:
        self.inbox = FakeInbox()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.endpoint = Endpoint(self.inbox, tenant=TENANT, context=context, instance=7, limits=limits_of(**limits))

    def connect(self, name: Name) -> Cable:
        """Return a connection whose TLS handshake is done."""
        cable = Cable(self.endpoint, name)
        cable.session.connection_made(cable)
        return cable


@asynccontextmanager
async def stage(**limits: Any) -> AsyncIterator[Stage]:
    """Run an endpoint; nothing may end up with the loop's exception handler, and its end is clean and bounded."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    made = Stage(**limits)
    running = asyncio.create_task(made.endpoint.run())
    await asyncio.sleep(0)
    yield made
    assert not running.done(), "the endpoint ended by itself"
    made.inbox.open.set()
    await asyncio.wait_for(made.endpoint.stop(), PATIENCE_S)
    await asyncio.wait_for(running, PATIENCE_S)
    assert not faults, faults
    assert made.endpoint.connections == 0
