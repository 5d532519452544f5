"""One MQTT 5 connection of a device: CONNECT, SUBSCRIBE, messages both ways. The only module here that knows `mqtt5`.

The rules this module keeps:

1. A connection is *up* once its subscriptions are granted, and is *lost* once, however it ends.
2. What arrives is acknowledged only after the device has taken it, as its journal comes first.
3. All connections of a loop read into one buffer: a plain `asyncio.Protocol` allocates 256 KiB for each message.
"""

import asyncio
from typing import Final, Protocol, cast

import mqtt5
import msgspec

from protocol.ids import Name
from protocol.messages import MESSAGE_BYTES_MAX
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind

KEEPALIVE_SECONDS: Final = 240
CONNECT_SECONDS: Final = 30
RECEIVE_MAX: Final = 16
PACKET_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 1_024
PACKET_ID_MAX: Final = 65_535
_WITH_WILL: Final = mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE
_SUBSCRIBE_ID: Final = 1
_BUFFER: Final = memoryview(bytearray(65_536))
_PING: Final = mqtt5.PingReqPacket().write()


class Owner(Protocol):
    """Whom a connection belongs to."""

    def up(self, link: "Link") -> None:
        """Take note that the subscriptions are granted."""

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        """Take a message."""

    def settled(self, token: int) -> None:
        """Take note that the message that was sent with *token* is acknowledged, well or not."""

    def lost(self, link: "Link", why: str) -> None:
        """Take note that the connection has ended, for the reason *why*."""


class Topics(msgspec.Struct, frozen=True):
    """The topics of one device, built once."""

    up: dict[UplinkKind, str]
    down: dict[str, DownlinkKind]

    @classmethod
    def of(cls, name: Name) -> "Topics":
        """Build the topics of *name*."""
        return cls(
            {kind: str(Uplink(name, kind)) for kind in UplinkKind},
            {str(Downlink(name, kind)): kind for kind in DownlinkKind},
        )


class Link(asyncio.BufferedProtocol):
    """A connection in the making, then a session, then nothing."""

    __slots__ = (
        "_client_id",
        "_is_heard",
        "_loop",
        "_next_id",
        "_owner",
        "_pinger",
        "_sent",
        "_tail",
        "_topics",
        "_transport",
        "_why",
        "_will",
        "is_over",
        "nonce",
    )

    def __init__(self, owner: Owner, *, name: Name, topics: Topics, will: bytes, nonce: str) -> None:
        """Take whose it is, its name and topics, the payload of its will, and the nonce of its hello."""
        self.nonce = nonce
        self._owner = owner
        self._client_id = name
        self._topics = topics
        self._will = will
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._tail = b""
        self._is_heard = False
        self._sent: dict[int, int] = {}
        self._next_id = _SUBSCRIBE_ID
        self.is_over = False
        self._why = "the connection was closed"
        self._pinger: asyncio.TimerHandle | None = None

    # --- asyncio's side -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT; what stays unanswered for too long is given up."""
        self._pinger = self._loop.call_later(CONNECT_SECONDS, self.cut, "CONNECT stays unanswered")
        self._transport = cast("asyncio.Transport", transport)
        will = mqtt5.Will(self._topics.up[UplinkKind.GONE], payload=self._will, qos=mqtt5.QoS.AT_LEAST_ONCE)
        connect = mqtt5.ConnectPacket(
            self._client_id,
            clean_start=True,
            will=will,
            keep_alive=KEEPALIVE_SECONDS,
            receive_max=RECEIVE_MAX,
            max_packet_size=PACKET_BYTES_MAX,
        )
        self._transport.write(connect.write())

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if exc is not None:
            self._why = str(exc) or type(exc).__name__
        self._end(self._why)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where to read into."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take *nbytes* new bytes."""
        self._is_heard = True
        data = self._tail + bytes(_BUFFER[:nbytes])
        at = 0
        while at < len(data) and not self.is_over:
            try:
                packet, length = mqtt5.read(memoryview(data)[at:])
            except IndexError:
                break
            except ValueError as error:
                self.cut(f"malformed packet: {error}")
                return
            at += length
            self._packet(packet)
        self._tail = data[at:]

    # --- packets --------------------------------------------------------------------------------------------

    def _packet(self, packet: mqtt5.Packet) -> None:
        match packet:
            case mqtt5.PublishPacket():
                self._message(packet)
            case mqtt5.PubAckPacket(packet_id=packet_id):
                token = self._sent.pop(packet_id, None)
                if token is not None:
                    self._owner.settled(token)
            case mqtt5.ConnAckPacket():
                self._accepted(packet)
            case mqtt5.SubAckPacket():
                self._granted(packet)
            case mqtt5.DisconnectPacket():
                self.cut(f"the server says {packet.reason_code.name.lower()}")
            case _:
                pass  # PINGRESP

    def _accepted(self, packet: mqtt5.ConnAckPacket) -> None:
        if packet.reason_code is not mqtt5.ConnAckReasonCode.SUCCESS:
            self.cut(f"CONNECT is refused: {packet.reason_code.name.lower()} {packet.reason_str or ''}".strip())
            return
        keepalive = packet.server_keep_alive or KEEPALIVE_SECONDS
        self._ping_after(keepalive * 2 / 3)
        filters = [mqtt5.TopicFilter(topic, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for topic in self._topics.down]
        self._write(mqtt5.SubscribePacket(_SUBSCRIBE_ID, filters).write())

    def _granted(self, packet: mqtt5.SubAckPacket) -> None:
        if any(code is not mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE for code in packet.reason_codes):
            self.cut("a subscription is refused")
        else:
            self._owner.up(self)

    def _message(self, packet: mqtt5.PublishPacket) -> None:
        kind = self._topics.down.get(packet.topic)
        if kind is not None:
            self._owner.came(kind, packet.payload)
        if packet.packet_id is not None:
            self._write(mqtt5.PubAckPacket(packet.packet_id).write())

    def _ping_after(self, seconds: float) -> None:
        """Ping every so many seconds; a server that was not heard in between is gone."""

        def ping() -> None:
            if not self._is_heard:
                self.cut("nothing is heard")
                return
            self._is_heard = False
            self._write(_PING)
            self._ping_after(seconds)

        if self._pinger is not None:
            self._pinger.cancel()
        self._pinger = self._loop.call_later(seconds, ping)

    # --- the device's side ----------------------------------------------------------------------------------

    def publish(self, kind: UplinkKind, payload: bytes, *, token: int | None) -> None:
        """Publish once: at QoS 1 where there is a *token*, which `Owner.settled` gets back."""
        topic = self._topics.up[kind]
        if token is None:
            self._write(mqtt5.PublishPacket(topic, payload).write())
            return
        packet_id = self._packet_id()
        self._sent[packet_id] = token
        packet = mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id)
        self._write(packet.write())

    def _packet_id(self) -> int:
        while True:
            self._next_id = self._next_id % PACKET_ID_MAX + 1
            if self._next_id not in self._sent:
                return self._next_id

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def cut(self, why: str) -> None:
        """End the connection without a goodbye: the server publishes the will."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    def leave(self) -> None:
        """Say goodbye and close; the will is published, since a broker tells the controller in no other way."""
        self._write(mqtt5.DisconnectPacket(reason_code=_WITH_WILL).write())
        if self._transport is not None:
            self._transport.close()
        self._end("the device has left")

    def _end(self, why: str) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self._pinger is not None:
            self._pinger.cancel()
        self._owner.lost(self, why)
