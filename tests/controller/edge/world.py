"""An endpoint on loopback with real TLS, an inbox that obeys the test, and devices that speak raw MQTT 5."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import mqtt5

from controller.app.ports import Disposition, Uplinked
from controller.edge.endpoint import Endpoint
from controller.edge.limits import Limits
from controller.intake import IntakeLimits
from controller.signing.authority import Authority, new_key
from controller.signing.keyfile import to_pem
from controller.signing.tls import server_context
from protocol.ids import Name, TenantId
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from protocol.units import Instant
from tests.controller.signing.keys import request

TENANT = TenantId("acme")
D1, D2 = Name("acme:d1"), Name("acme:d2")
WAIT_S = 10.0


def now() -> Instant:
    """Certificates are checked against the real clock."""
    import time

    return Instant(int(time.time() * 1000))


class Pki:
    """A CA, the endpoint's certificate, and certificates of devices, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create(TENANT, at=now())
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(self.authority.certificate_pem)
        server = self.authority.server_certificate(["localhost", "127.0.0.1"], at=now())
        self.server = folder / "server.pem"
        self.server.write_bytes(server.key_pem + server.certificate_pem)

    def context(self) -> ssl.SSLContext:
        """Return the endpoint's TLS context."""
        return server_context(certificate=self.server, key=self.server, ca=self.ca)

    def device(self, name: str, *, authority: Authority | None = None) -> Path:
        """Return a file with key and certificate of a device."""
        path = self.folder / f"{name.replace(':', '-')}.pem"
        key = new_key()
        issued = (authority or self.authority).issue(request(key), Name(name), at=now())
        path.write_bytes(to_pem(key) + issued.certificate_pem.encode())
        return path

    def client_context(self, certificate: Path | None) -> ssl.SSLContext:
        """Return the TLS context of a device."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context


class FakeInbox:
    """Keeps what it is given; holds back, refuses and blocks as the test says."""

    def __init__(self) -> None:
        self.batches: list[list[Uplinked]] = []
        self.offers = 0
        self.depth: Callable[[], int] = lambda: 0
        self.depths: list[int] = []
        self.failures = 0
        self.answers: dict[bytes, Disposition] = {}
        self.blocked: set[str] = set()
        self.ended: list[tuple[str, int]] = []
        self.ended_failures = 0
        self.check_error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.checks_open = asyncio.Event()
        self.checks_open.set()
        self._changed = asyncio.Condition()

    @property
    def messages(self) -> list[Uplinked]:
        """All that was stored, in order."""
        return [message for batch in self.batches for message in batch]

    @property
    def payloads(self) -> list[bytes]:
        """The payloads of all that was stored."""
        return [message.payload for message in self.messages]

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        self.offers += 1
        self.depths.append(self.depth())
        await self.open.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is full")
        self.batches.append(list(batch))
        return [self.answers.get(message.payload, Disposition.STORED) for message in batch]

    async def may_connect(self, name: Name) -> bool:
        await self.checks_open.wait()
        if self.check_error is not None:
            raise self.check_error
        return name not in self.blocked

    async def disconnected(self, name: Name, session: int) -> None:
        if self.ended_failures:
            self.ended_failures -= 1
            raise OSError("the disk is full")
        self.ended.append((name, session))

    async def lost_sight(self, partitions: Collection[int]) -> None:
        raise AssertionError(f"the endpoint sees every session end: {partitions}")


async def until(what: Any) -> None:
    """Wait until *what* returns something true."""
    async with asyncio.timeout(WAIT_S):
        while not what():  # noqa: ASYNC110 - a test polls what has no event
            await asyncio.sleep(0.005)


class World:
    """A running endpoint and what talks to it."""

    def __init__(self, pki: Pki, limits: Limits) -> None:
        self.pki = pki
        self.inbox = FakeInbox()
        self.endpoint = Endpoint(self.inbox, tenant=TENANT, context=pki.context(), instance=7, limits=limits)
        self.inbox.depth = lambda: self.endpoint.depth
        self.port = 0
        self.clients: list[Client] = []

    async def client(self, name: str = D1, **kwargs: Any) -> "Client":
        """Open a TLS connection as *name*, without CONNECT."""
        context = self.pki.client_context(self.pki.device(name))
        return await self.connect_with(context, name)

    async def connect_with(self, context: ssl.SSLContext, name: str = D1) -> "Client":
        client = await open_client(context, self.port, name)
        self.clients.append(client)
        return client

    async def device(self, name: str = D1, **kwargs: Any) -> "Client":
        """Return a device that is connected and subscribed."""
        client = await self.client(name)
        assert (await client.connect(**kwargs)).reason_code == mqtt5.ConnAckReasonCode.SUCCESS
        await client.subscribe(*(str(Downlink(client.name, kind)) for kind in DownlinkKind))
        return client


async def open_client(context: ssl.SSLContext, port: int, name: str) -> "Client":
    """Open a TLS connection as *name*, without CONNECT."""
    made = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    return Client(*made, Name(name))


def limits_of(**given: Any) -> Limits:
    """Return limits of the endpoint and of its intake, told apart by their names."""
    intake = {name: given.pop(name) for name in IntakeLimits.__struct_fields__ if name in given}
    return Limits(intake=IntakeLimits(**intake), **given)


@asynccontextmanager
async def world(folder: Path, **limits: Any) -> AsyncIterator[World]:
    """Run an endpoint for a test; *limits* are those of the endpoint and of its intake."""
    fast: dict[str, Any] = {
        "retry_first_s": 0.02,
        "retry_max_s": 0.05,
        "shutdown_timeout_s": 0.5,
        "drain_timeout_s": 3.0,
        "sweep_s": 0.05,
    }
    made = World(Pki(folder), limits_of(**(fast | limits)))
    [(_, made.port)] = made.endpoint.listen("127.0.0.1", 0)
    running = asyncio.create_task(made.endpoint.run())
    try:
        yield made
    finally:
        for client in made.clients:
            client.cut()
        made.inbox.open.set()
        made.inbox.checks_open.set()
        await made.endpoint.stop()
        await running


class Client:
    """A device that sends exactly the bytes a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: Name) -> None:
        self.reader = reader
        self.writer = writer
        self.name = name
        self._rest = b""
        self._packets: deque[Any] = deque()
        self._packet_id = 0

    def up(self, kind: UplinkKind = UplinkKind.REPORT) -> str:
        return str(Uplink(self.name, kind))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def cut(self) -> None:
        """Vanish without a goodbye."""
        self.writer.transport.abort()

    async def packet(self) -> Any:
        """Return the next packet, or None at the end."""
        async with asyncio.timeout(WAIT_S):
            while not self._packets:
                try:
                    data = await self.reader.read(65_536)
                except (ConnectionError, ssl.SSLError):
                    return None
                if not data:
                    return None
                self._split(data)
            return self._packets.popleft()

    def _split(self, data: bytes) -> None:
        whole, at = memoryview(self._rest + data), 0
        with suppress(IndexError):
            while at < len(whole):
                packet, used = mqtt5.read(whole[at:])
                self._packets.append(packet)
                at += used
        self._rest = bytes(whole[at:])

    async def silence(self, seconds: float = 0.1) -> None:
        """Check that nothing comes for a while."""
        try:
            async with asyncio.timeout(seconds):
                found = await self.packet()
        except TimeoutError:
            return
        raise AssertionError(f"expected nothing, got {found}")

    async def connect(self, client_id: str | None = None, **kwargs: Any) -> Any:
        wanted = self.name if client_id is None else client_id
        self.send(mqtt5.ConnectPacket(wanted, clean_start=True, **kwargs).write())
        return await self.packet()

    async def subscribe(self, *patterns: str, qos: mqtt5.QoS = mqtt5.QoS.AT_LEAST_ONCE) -> Any:
        filters = [mqtt5.TopicFilter(pattern, max_qos=qos) for pattern in patterns]
        self.send(mqtt5.SubscribePacket(self.next_id(), filters).write())
        return await self.packet()

    def next_id(self) -> int:
        self._packet_id += 1
        return self._packet_id

    def publish(self, payload: bytes, topic: str | None = None) -> int:
        """Publish at QoS 1 without waiting."""
        packet_id = self.next_id()
        packet = mqtt5.PublishPacket(topic or self.up(), payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id)
        self.send(packet.write())
        return packet_id

    def will(self, payload: bytes = b"gone", **kwargs: Any) -> mqtt5.Will:
        values: dict[str, Any] = {"qos": mqtt5.QoS.AT_LEAST_ONCE, "payload": payload} | kwargs
        return mqtt5.Will(values.pop("topic", self.up(UplinkKind.GONE)), **values)

    def goodbye(self, code: mqtt5.DisconnectReasonCode = mqtt5.DisconnectReasonCode.NORMAL_DISCONNECTION) -> None:
        self.send(mqtt5.DisconnectPacket(reason_code=code).write())
