"""The ways in, each with all that it needs running, for the length of one test."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import pytest

from controller.app.ports import Inbox, Transport
from controller.edge.endpoint import Endpoint
from controller.edge.limits import Limits
from controller.intake import IntakeLimits
from protocol.ids import Name
from protocol.profiles import Profile
from tests.controller.edge.world import D1, TENANT, Pki, until
from tests.controller.transport.device import Address, Device
from tests.controller.transport.promises import Kind, Promise, why_not


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that a case may set; the names are those of the transports."""

    intake: IntakeLimits = IntakeLimits(retry_first_s=0.02, retry_max_s=0.05, drain_timeout_s=3.0)
    window: int = 16
    keepalive_s: int = 30


USUAL: Final = Bounds()


class Way(ABC):
    """A way in. `open` once, then `start` and `stop` or `kill` for each life of the transport."""

    kind: ClassVar[Kind]
    profile: ClassVar[Profile]

    def __init__(self, folder: Path) -> None:
        """Take an empty folder."""
        self.folder = folder
        self.pki = Pki(folder)
        self.devices: list[Device] = []
        self.lives = 0

    def needs(self, promise: Promise) -> None:
        """Skip the case, with the reason, where this way in does not give a promise."""
        why = why_not(self.kind, promise)
        if why is not None:
            pytest.skip(f"{self.kind}, {promise.value}: {why}")

    def gives(self, promise: Promise) -> bool:
        """Say whether this way in gives a promise."""
        return why_not(self.kind, promise) is None

    # --- life -----------------------------------------------------------------------------------------------

    async def open(self) -> None:  # noqa: B027 - most ways override it, one has nothing to start
        """Start what outlives the transport."""

    async def close(self) -> None:
        """End everything."""
        for device in self.devices:
            await device.stop()
        await self.stop()

    @abstractmethod
    async def start(self, inbox: Inbox, bounds: Bounds = USUAL) -> Transport:
        """Begin a new life of the transport and return it once it takes messages."""

    @abstractmethod
    async def stop(self) -> None:
        """End the transport in good order, if it runs."""

    @abstractmethod
    async def kill(self) -> None:
        """End the transport as the death of its process would: nothing more is acknowledged or said."""

    # --- what a test turns ----------------------------------------------------------------------------------

    @abstractmethod
    async def stall(self, device: Device) -> None:
        """Have nothing acknowledged any more that is written to a device."""

    @abstractmethod
    async def go_on(self, device: Device) -> None:
        """Have everything acknowledged again."""

    @abstractmethod
    async def cut(self, device: Device) -> None:
        """Break the connection over which a stalled device is written to."""

    @abstractmethod
    async def mended(self) -> None:
        """Return once devices can be written to again after a `cut`."""

    @abstractmethod
    def depth(self) -> int:
        """Return how many messages the transport holds that are not stored."""

    # --- devices --------------------------------------------------------------------------------------------

    @abstractmethod
    def address(self) -> Address:
        """Return where devices connect."""

    def device(self, name: Name = D1, **options: Any) -> Device:
        """Return a device with a certificate, not connected."""
        context = self.pki.client_context(self.pki.device(name))
        made = Device(name, context, self.address(), **options)
        self.devices.append(made)
        return made


class BuiltIn(Way):
    """The built-in endpoint."""

    kind = Kind.BUILT_IN
    profile = Profile.MQTT5

    def __init__(self, folder: Path) -> None:
        """Take an empty folder."""
        super().__init__(folder)
        self._port = 0
        self._endpoint: Endpoint | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self, inbox: Inbox, bounds: Bounds = USUAL) -> Transport:
        """Begin a new life at the same port."""
        self.lives += 1
        limits = Limits(**FAST, window=bounds.window, keepalive_s=bounds.keepalive_s, intake=bounds.intake)
        endpoint = Endpoint(inbox, tenant=TENANT, context=self.pki.context(), instance=self.lives, limits=limits)
        [(_, self._port)] = endpoint.listen("127.0.0.1", self._port)
        self._endpoint, self._running = endpoint, asyncio.create_task(endpoint.run())
        return endpoint

    async def stop(self) -> None:
        """End the endpoint in good order, if it runs."""
        if self._endpoint is not None and self._running is not None:
            await self._endpoint.stop()
            await self._running
        self._endpoint = self._running = None

    async def kill(self) -> None:
        """Break every connection, and forget what was not stored."""
        assert self._endpoint is not None, "only what runs can be killed"
        assert self._running is not None
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        for session in list(self._endpoint._open):
            session.abort()
        await until(lambda: self._endpoint is None or not self._endpoint._open)
        self._endpoint = self._running = None

    async def stall(self, device: Device) -> None:
        """Have the device fall silent: its acknowledgements are what the endpoint waits for."""
        device.fall_silent()

    async def go_on(self, device: Device) -> None:
        """Have the device acknowledge again."""
        device.speak()

    async def cut(self, device: Device) -> None:
        """Break the device's connection."""
        device.vanish()

    async def mended(self) -> None:
        """There is nothing to wait for: the device connects again."""

    def depth(self) -> int:
        """Return what waits in the intake."""
        return 0 if self._endpoint is None else self._endpoint.depth

    def address(self) -> Address:
        """Return the endpoint's address."""
        return Address(self._port, self.profile)


FAST: Final[dict[str, Any]] = {
    "packets_per_second": 1e6,
    "packets_burst": 100_000,
    "shutdown_timeout_s": 0.5,
}
