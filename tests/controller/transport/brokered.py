"""The ways in over a real broker, configured as `tidegate broker config` does it."""

import asyncio
import os
import signal
import ssl
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from controller.address import parse_broker, parse_place
from controller.app.ports import Inbox, Transport
from controller.clock import SystemChance
from controller.mqtt.broker import Broker as Lanes
from controller.mqtt.limits import LANES, Limits
from controller.signing.keystore import CA_CERTIFICATE, CA_KEY, Keystore
from protocol.profiles import Profile
from simulator import brokers
from simulator.brokers import Broker
from simulator.processes import Processes
from tests.controller.edge.world import TENANT, now, until
from tests.controller.transport.device import Address, Device
from tests.controller.transport.promises import Kind
from tests.controller.transport.ways import USUAL, Bounds, Way


class OverBroker(Way):
    """Lanes to a real broker, which outlives them."""

    program: ClassVar[brokers.Kind]

    def __init__(self, folder: Path) -> None:
        """Take an empty folder."""
        super().__init__(folder)
        keys = folder / "online"
        keys.mkdir()
        self.pki.authority.write(keys / CA_CERTIFICATE, keys / CA_KEY)
        self.processes = Processes(folder)
        self.keystore = Keystore(keys)
        self.broker = Broker.create(self.program, folder / "broker", keys=keys, processes=self.processes)
        self.lanes: Lanes | None = None
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the broker."""
        await asyncio.to_thread(self.broker.start)

    async def close(self) -> None:
        """End everything, the broker last."""
        self.wake()
        await super().close()
        if self.broker.child is not None:
            self.broker.kill()  # NATS takes five seconds for a proper end
        await asyncio.to_thread(self.processes.stop_all)

    async def start(self, inbox: Inbox, bounds: Bounds = USUAL) -> Transport:
        """Begin a new life of the lanes and wait until all of them stand."""
        lanes = await self.begin(inbox, bounds)
        await self.standing()
        return lanes

    async def begin(self, inbox: Inbox, bounds: Bounds = USUAL) -> Lanes:
        """Begin a new life of the lanes."""
        self.lives += 1
        self.lanes = Lanes(
            inbox,
            tenant=TENANT,
            address=parse_broker(self.broker.url),
            profile=self.profile,
            new_context=self.new_context,
            instance=self.lives,
            chance=SystemChance(),
            may_hold=lambda: True,
            limits=msgspec.structs.replace(
                FAST, window=bounds.window, keepalive_s=bounds.keepalive_s, intake=bounds.intake
            ),
        )
        self._running = asyncio.create_task(self.lanes.run())
        return self.lanes

    def new_context(self) -> ssl.SSLContext:
        """Return how the controller shows itself to the broker."""
        return self.keystore.broker_context(at=now())

    async def standing(self) -> None:
        """Wait until all lanes stand."""
        await until(lambda: self.lanes is not None and self.lanes.lanes_standing == LANES)

    async def stop(self) -> None:
        """End the lanes in good order, if they run."""
        if self.lanes is not None and self._running is not None:
            await self.lanes.stop()
            await self._running
        self.lanes = self._running = None

    async def kill(self) -> None:
        """Break the lanes' connections, and forget what was not stored."""
        assert self._running is not None, "only what runs can be killed"
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        self.lanes = self._running = None

    async def stall(self, device: Device) -> None:
        """Have the broker stand still: its acknowledgements are what the lanes wait for."""
        assert self.broker.child is not None
        os.kill(self.broker.child.pid, signal.SIGSTOP)

    async def go_on(self, device: Device) -> None:
        """Have the broker go on."""
        self.wake()

    def wake(self) -> None:
        """Have the broker go on, if it runs."""
        if self.broker.child is not None:
            with suppress(ProcessLookupError):
                os.kill(self.broker.child.pid, signal.SIGCONT)

    async def cut(self, device: Device) -> None:
        """Kill the broker: there are no connections without it."""
        await asyncio.to_thread(self.broker.kill)

    async def mended(self) -> None:
        """Have the broker back, and the lanes at it."""
        await asyncio.to_thread(self.broker.start)
        await self.standing()

    def depth(self) -> int:
        """Return what waits in the intake."""
        return 0 if self.lanes is None else self.lanes.depth

    def address(self) -> Address:
        """Return where the broker listens for devices."""
        return Address(parse_place(self.broker.devices).port, self.profile)


class Mosquitto5(OverBroker):
    """Mosquitto, MQTT 5."""

    kind = Kind.MOSQUITTO_5
    program = brokers.Kind.MOSQUITTO
    profile = Profile.MQTT5


class Mosquitto311(OverBroker):
    """Mosquitto, MQTT 3.1.1."""

    kind = Kind.MOSQUITTO_311
    program = brokers.Kind.MOSQUITTO
    profile = Profile.MQTT311


class Nats(OverBroker):
    """NATS: MQTT 3.1.1, and nothing acknowledged on its way down to a device."""

    kind = Kind.NATS
    program = brokers.Kind.NATS
    profile = Profile.MQTT311_QOS0


FAST: Final = Limits(
    retry_first_s=0.05, retry_max_s=0.3, tick_s=0.1, shutdown_timeout_s=1.0, unsent_bytes_max=256 * 1024
)

BROKERED: Final[tuple[type[OverBroker], ...]] = (Mosquitto5, Mosquitto311, Nats)
