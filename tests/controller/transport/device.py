"""A device that speaks MQTT 5 or 3.1.1 on paho, and does what a test wants, proper or not."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from protocol.ids import Name
from protocol.profiles import Profile
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind, parse
from tests.controller.edge.world import until

KEEPALIVE_S: Final = 60
REFUSED: Final = 0x80
"""From here on a reason code is an error, in MQTT 5 and in what paho makes of 3.1.1."""


class Address(msgspec.Struct, frozen=True):
    """Where devices connect, with what protocol."""

    port: int
    profile: Profile
    host: str = "localhost"


class Device:
    """One paho client on a thread of its own; what happens to it is kept in lists, for a test to look at."""

    def __init__(
        self,
        name: Name,
        context: ssl.SSLContext,
        address: Address,
        *,
        client_id: str | None = None,
        will: bytes | None = None,
    ) -> None:
        """Take who it is, how it proves that, and where to; *client_id* is its name unless it lies."""
        self.name = name
        self.address = address
        self.received: list[bytes] = []
        self.topics: list[str] = []
        self.connects: list[int] = []
        self.ends: list[int] = []
        self.grants: list[list[int]] = []
        self.answers: dict[int, int] = {}
        self.connection = ""
        self._is_silent = False
        self._unacknowledged: list[int] = []
        is_mqtt5 = address.profile.is_mqtt5
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name if client_id is None else client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if is_mqtt5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if is_mqtt5 else True,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self._client.suppress_exceptions = False
        self._client.tls_set_context(context)
        if will is not None:
            self._client.will_set(self.up(UplinkKind.GONE), will, qos=1)
        self._client.on_socket_open = _set_no_delay
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message

    # --- what paho says, in its thread ----------------------------------------------------------------------

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, _p: Properties | None) -> None:
        self.connects.append(reason.value)

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, _p: Properties | None) -> None:
        self.ends.append(reason.value)

    def _on_subscribe(self, _c: Any, _u: Any, _m: int, reasons: list[ReasonCode], _p: Properties | None) -> None:
        self.grants.append([reason.value for reason in reasons])

    def _on_publish(self, _c: Any, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None) -> None:
        self.answers[mid] = reason.value

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        self.topics.append(message.topic)
        self.received.append(bytes(message.payload))
        if message.qos and self._is_silent:
            self._unacknowledged.append(message.mid)
        else:
            self._client.ack(message.mid, message.qos)

    # --- the connection -------------------------------------------------------------------------------------

    async def connect(self) -> int:
        """Connect, and return the reason code of the answer; what was not acknowledged before is sent again."""
        await self.stop()
        told, ended = len(self.connects), len(self.ends)
        await asyncio.to_thread(self._client.connect, self.address.host, self.address.port, KEEPALIVE_S)
        self._client.loop_start()
        await until(lambda: len(self.connects) > told or len(self.ends) > ended)
        return self.connects[-1] if len(self.connects) > told else self.ends[-1]

    async def come(self) -> None:
        """Connect and subscribe, as a proper device does."""
        assert await self.connect() == 0
        assert max(await self.subscribe(*self.downlinks())) < REFUSED

    def downlinks(self) -> Sequence[str]:
        """Return the topics that a device may subscribe to."""
        return [str(Downlink(self.name, kind)) for kind in DownlinkKind]

    async def subscribe(self, *filters: str) -> list[int]:
        """Subscribe at the profile's downlink QoS, and return what was granted."""
        told = len(self.grants)
        self._client.subscribe([(pattern, self.address.profile.downlink_qos) for pattern in filters])
        await until(lambda: len(self.grants) > told)
        return self.grants[-1]

    def vanish(self) -> None:
        """Break the connection without a goodbye."""
        opened = self._client.socket()
        if isinstance(opened, socket.socket):
            socket.socket.shutdown(opened, socket.SHUT_RDWR)

    async def leave(self, *, with_will: bool = False) -> None:
        """Say goodbye; with MQTT 5 that may set the will free."""
        reason = "Disconnect with will message" if with_will else "Normal disconnection"
        code = ReasonCode(PacketTypes.DISCONNECT, reason) if self.address.profile.is_mqtt5 else None
        ended = len(self.ends)
        self._client.disconnect(reasoncode=code)
        await until(lambda: len(self.ends) > ended)
        await self.stop()

    async def stop(self) -> None:
        """End the thread; nothing more is said."""
        self.vanish()
        await asyncio.to_thread(self._client.loop_stop)
        self._client._reset_sockets(sockpair_only=True)  # `loop_start` would only drop them (paho issue 627)

    def fall_silent(self) -> None:
        """Acknowledge nothing any more."""
        self._is_silent = True

    def speak(self) -> None:
        """Acknowledge what was left, and everything from now on."""
        self._is_silent = False
        for mid in self._unacknowledged:
            self._client.ack(mid, 1)
        self._unacknowledged.clear()

    # --- messages -------------------------------------------------------------------------------------------

    def up(self, kind: UplinkKind = UplinkKind.REPORT) -> str:
        """Return a topic of the device's own."""
        return str(Uplink(self.name, kind))

    def say(
        self,
        payload: bytes,
        kind: UplinkKind = UplinkKind.REPORT,
        *,
        topic: str | None = None,
        qos: int = 1,
        retain: bool = False,
    ) -> paho.MQTTMessageInfo:
        """Publish without waiting."""
        return self._client.publish(topic or self.up(kind), payload, qos=qos, retain=retain)

    async def answered(self, said: paho.MQTTMessageInfo) -> int:
        """Wait for the answer to a publish and return its reason code; 3.1.1 knows none but 0."""
        await until(lambda: said.mid in self.answers)
        return self.answers[said.mid]

    @property
    def commands(self) -> list[bytes]:
        """The payloads of the commands that came, in order."""
        return [raw for topic, raw in zip(self.topics, self.received, strict=False) if _kind(topic) == "cmd"]

    @property
    def acks(self) -> list[bytes]:
        """The payloads of the acknowledgements and hello replies that came, in order."""
        return [raw for topic, raw in zip(self.topics, self.received, strict=False) if _kind(topic) == "ack"]


def _kind(topic: str) -> str:
    found = parse(topic)
    return found.kind.value


def _set_no_delay(_client: Any, _data: Any, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
