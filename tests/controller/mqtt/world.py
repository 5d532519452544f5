"""The way over a broker, with a real Mosquitto on loopback, an inbox that obeys the test, and devices that use paho."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.ports import free_port
from controller.address import BrokerAddress
from controller.app.errors import StorageUnavailable
from controller.clock import SystemChance
from controller.intake import IntakeLimits
from controller.mqtt.broker import Broker
from controller.mqtt.limits import Limits
from controller.signing.tls import client_context
from protocol.ids import Name
from protocol.profiles import Profile
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.world import D1, TENANT, FakeInbox, Pki, now, until

MOSQUITTO: Final = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
START_S: Final = 10.0

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: scripts/debian-packages")

_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
cafile {ca}
certfile {server}
keyfile {server}
require_certificate true
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages 1000
persistence false
user root
"""


class Mosquitto:
    """A broker that can be killed and started again; it keeps nothing over that."""

    def __init__(self, pki: Pki, more: str = "") -> None:
        self.port = free_port()
        self._log = pki.folder / "mosquitto.log"
        self._file = pki.folder / "mosquitto.conf"
        text = _CONFIGURATION.format(port=self.port, ca=pki.ca, server=pki.server)
        self._file.write_text(text + more)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = process = self._spawn()
        async with asyncio.timeout(START_S):
            while not await self._listens():
                assert process.poll() is None, f"mosquitto ended: {self._log.read_text()}"
                await asyncio.sleep(0.02)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            return subprocess.Popen([MOSQUITTO, "-v", "-c", str(self._file)], stdout=log, stderr=log)

    async def _listens(self) -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False

    def freeze(self, *, is_on: bool) -> None:
        """Stop it where it is, or let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if is_on else signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Device:
    """A client of the broker in a thread of paho, with its will, and what came down to it."""

    def __init__(self, port: int, pki: Pki, name: Name, *, client_id: str = "", **options: Any) -> None:
        self.name = name
        self.heard: list[tuple[str, bytes]] = []
        self.is_subscribed = False
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or name,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        context = pki.client_context(pki.device(name))
        self._client.tls_set_context(context)
        self._client.will_set(str(Uplink(name, UplinkKind.GONE)), b"gone", qos=1)
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(str(Downlink(name, k)), 1) for k in DownlinkKind]
        )
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect("localhost", port, clean_start=True, **options)
        self._client.loop_start()

    def _on_subscribe(self, *_: Any) -> None:
        self.is_subscribed = True

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    def say(self, kind: UplinkKind, payload: bytes, **options: Any) -> None:
        """Publish."""
        self.publish(str(Uplink(self.name, kind)), payload, **options)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain)

    def vanish(self) -> None:
        """Break the connection, so that the will is published."""
        opened = self._client.socket()
        assert isinstance(opened, socket.socket)
        with contextlib.suppress(OSError):  # the broker may have broken it first
            opened.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Inbox(FakeInbox):
    """An inbox that may be told of lost sight."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[int] = []
        self.lost_failures = 0

    async def lost_sight(self, partitions: Collection[int]) -> None:
        if self.lost_failures:
            self.lost_failures -= 1
            raise StorageUnavailable("the disk is full")
        self.lost += partitions


class World:
    """A broker, the transport over it, and devices."""

    def __init__(self, folder: Path, *, profile: Profile, limits: Limits, more: str) -> None:
        self.pki = Pki(folder)
        self.mosquitto = Mosquitto(self.pki, more)
        self.inbox = Inbox()
        self.profile = profile
        self.limits = limits
        self.certificate_from = self.pki.authority
        self.devices: list[Device] = []
        self.brokers: list[tuple[Broker, asyncio.Task[None]]] = []

    def new_broker(self, inbox: Inbox | None = None) -> Broker:
        """Make a transport and run it."""

        def new_context() -> Any:
            client = self.certificate_from.broker_client_certificate(at=now())
            return client_context(ca=self.pki.ca, certificate_pem=client.certificate_pem, key_pem=client.key_pem)

        broker = Broker(
            inbox or self.inbox,
            tenant=TENANT,
            address=BrokerAddress("localhost", self.mosquitto.port),
            profile=self.profile,
            new_context=new_context,
            instance=7,
            chance=SystemChance(),
            may_hold=lambda: True,
            limits=self.limits,
        )
        self.brokers.append((broker, asyncio.create_task(broker.run())))
        return broker

    @property
    def broker(self) -> Broker:
        """The newest transport."""
        return self.brokers[-1][0]

    async def stand(self) -> None:
        """Wait until all lanes of the newest transport stand."""
        await until(lambda: not self.broker.faults)

    async def device(self, name: Name = D1, **options: Any) -> Device:
        """Return a device that is connected and subscribed."""
        device = await asyncio.to_thread(lambda: Device(self.mosquitto.port, self.pki, name, **options))
        self.devices.append(device)
        await until(lambda: device.is_subscribed)
        return device

    async def greet(self, name: Name = D1, payload: bytes = b"hello") -> Device:
        """Return a device whose hello has arrived."""
        device = await self.device(name)
        before = self.broker.session(name)
        device.say(UplinkKind.HELLO, payload)
        await until(lambda: self.broker.session(name) > before)
        return device


FAST: Final = {
    "retry_first_s": 0.02,
    "retry_max_s": 0.1,
    "tick_s": 0.05,
    "shutdown_timeout_s": 1.0,
    "answer_timeout_s": 3.0,
    "connect_timeout_s": 3.0,
}
FAST_INTAKE: Final = {"retry_first_s": 0.02, "retry_max_s": 0.05, "drain_timeout_s": 3.0}


@asynccontextmanager
async def world(
    folder: Path,
    *,
    profile: Profile = Profile.MQTT5,
    more: str = "",
    intake: dict[str, Any] | None = None,
    is_started: bool = True,
    **limits: Any,
) -> AsyncIterator[World]:
    """Run a broker and a transport for a test; *more* is added to the broker's configuration."""
    made: dict[str, Any] = FAST | limits
    given = Limits(intake=IntakeLimits(**(FAST_INTAKE | (intake or {}))), **made)
    w = World(folder, profile=profile, limits=given, more=more)
    try:
        if is_started:
            await w.mosquitto.start()
            w.new_broker()
            await w.stand()
        yield w
    finally:
        w.inbox.open.set()
        for device in w.devices:
            await asyncio.to_thread(device.leave)
        for broker, running in w.brokers:
            await broker.stop()
            await running
        w.mosquitto.kill()
