"""A broker that answers as a test wants: it does what Mosquitto never does."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import mqtt5

from controller.address import BrokerAddress
from controller.clock import SystemChance
from controller.intake import IntakeLimits
from controller.mqtt.broker import Broker
from controller.mqtt.limits import Limits
from controller.signing.tls import client_context
from protocol.profiles import Profile
from tests.controller.edge.world import TENANT, Pki, now, until
from tests.controller.mqtt.world import FAST, Inbox


class FakeBroker:
    """Accepts connections, and takes every client's side of MQTT 5 apart."""

    def __init__(self, pki: Pki | None) -> None:
        self.pki = pki
        self.port = 0
        self.accept: Callable[[mqtt5.ConnectPacket], Any] = lambda _: mqtt5.ConnAckPacket()
        self.grant = mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE
        self.answers_publishes = True
        self.publishes: list[mqtt5.PublishPacket] = []
        self.acknowledged: list[tuple[str, int]] = []
        self.connects: list[mqtt5.ConnectPacket] = []
        self.leaves: list[mqtt5.DisconnectPacket] = []
        self.filters: dict[str, list[Any]] = {}
        self.writers: dict[str, asyncio.StreamWriter] = {}
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def address(self) -> BrokerAddress:
        host = "localhost" if self.pki else "127.0.0.1"
        return BrokerAddress(host, self.port, is_tls=self.pki is not None, user="controller", password="secret")

    def new_context(self) -> ssl.SSLContext:
        """Return how the controller speaks TLS with us."""
        assert self.pki is not None, "no TLS is spoken here"
        client = self.pki.authority.broker_client_certificate(at=now())
        return client_context(ca=self.pki.ca, certificate_pem=client.certificate_pem, key_pem=client.key_pem)

    def send(self, client_id: str, packet: Any) -> None:
        """Send a packet, or bytes, to a client."""
        self.writers[client_id].write(packet if isinstance(packet, bytes) else packet.write())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = writer
        try:
            await self._read(reader, writer)
        finally:
            writer.close()
            del self._serving[task]

    async def cut(self) -> None:
        """End every connection, also one that has said nothing yet, and wait until each is closed."""
        for writer in self._serving.values():
            writer.transport.abort()
        await asyncio.gather(*self._serving)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rest, client_id = b"", [""]
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                rest += data
                while True:
                    try:
                        packet, used = mqtt5.read(memoryview(rest))
                    except IndexError:
                        break
                    rest = rest[used:]
                    self._take(packet, writer, client_id)

    def _take(self, packet: Any, writer: asyncio.StreamWriter, client_id: list[str]) -> None:
        match packet:
            case mqtt5.ConnectPacket():
                client_id[0] = packet.client_id
                self.connects.append(packet)
                self.writers[packet.client_id] = writer
                answer = self.accept(packet)
                if answer is not None:
                    writer.write(answer.write())
            case mqtt5.SubscribePacket():
                self.filters[client_id[0]] = packet.topic_filters
                codes = [self.grant for _ in packet.topic_filters]
                writer.write(mqtt5.SubAckPacket(packet.packet_id, codes).write())
            case mqtt5.PublishPacket():
                self.publishes.append(packet)
                if self.answers_publishes and packet.packet_id is not None:
                    writer.write(mqtt5.PubAckPacket(packet.packet_id).write())
            case mqtt5.PubAckPacket():
                self.acknowledged.append((client_id[0], packet.packet_id))
            case mqtt5.PingReqPacket():
                writer.write(mqtt5.PingRespPacket().write())
            case mqtt5.DisconnectPacket():
                self.leaves.append(packet)


class World:
    """A transport over a fake broker."""

    def __init__(self, fake: FakeBroker, limits: Limits, may_hold: Callable[[], bool]) -> None:
        self.fake = fake
        self.inbox = Inbox()
        self.broker = Broker(
            self.inbox,
            tenant=TENANT,
            address=fake.address,
            profile=Profile.MQTT5,
            new_context=fake.new_context,
            instance=7,
            chance=SystemChance(),
            may_hold=may_hold,
            limits=limits,
        )

    async def stand(self) -> None:
        """Wait until all lanes stand."""
        await until(lambda: not self.broker.faults)


@asynccontextmanager
async def over(fake: FakeBroker, *, may_hold: Callable[[], bool] = lambda: True, **limits: Any) -> AsyncIterator[World]:
    """Run a transport over *fake*."""
    made: dict[str, Any] = FAST | limits
    w = World(fake, Limits(intake=IntakeLimits(retry_first_s=0.02, retry_max_s=0.05), **made), may_hold)
    running = asyncio.create_task(w.broker.run())
    try:
        yield w
    finally:
        await w.broker.stop()
        await running


@asynccontextmanager
async def fake_broker(pki: Pki | None = None) -> AsyncIterator[FakeBroker]:
    """Run a fake broker for a test: over TLS with the certificates of *pki*, or without."""
    fake = FakeBroker(pki)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=pki and pki.context())
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        await fake.cut()
