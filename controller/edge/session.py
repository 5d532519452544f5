"""One device's MQTT session: what it may ask for, and what it is told.

The rules this module keeps:

1. The certificate says who the device is; every topic follows from that name, none from what it sends.
2. A session begins with one CONNECT that passed all checks, and ends once. Its will goes to the intake at every end
   but a clean DISCONNECT.
3. It never holds more than its windows: messages of ours that are not acknowledged, messages of its own that are not
   stored, packets a second, bytes that it does not read.
"""

import asyncio
from enum import Enum, auto
from functools import partial
from typing import Final, Protocol

from controller.app.errors import NotAuthenticated
from controller.app.ports import Disposition, Uplinked
from controller.bucket import Bucket
from controller.edge import codec
from controller.edge.codec import BadPacket, Code, Packet
from controller.edge.identity import name_of_peer
from controller.edge.limits import Counts, Limits
from controller.edge.wire import Pause, Wire
from controller.intake import Message
from protocol.ids import Name, TenantId
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind

PACKET_ID_MAX: Final = 65_535

_ANSWERS: Final = {
    Disposition.STORED: Code.SUCCESS,
    Disposition.STALE: Code.SUCCESS,
    Disposition.MALFORMED: Code.PAYLOAD_INVALID,
    Disposition.UNTRUSTED: Code.NOT_AUTHORIZED,
}


class Phase(Enum):
    """How far a session has come."""

    NEW = auto()
    CHECKING = auto()
    LIVE = auto()
    ENDED = auto()


class Host(Protocol):
    """What a session asks of the endpoint."""

    limits: Limits
    counts: Counts

    def opened(self, session: "Session") -> None:
        """Take note of a new connection."""

    def closed(self, session: "Session") -> None:
        """Take note that the connection is gone."""

    def look_at(self, session: "Session", at: float) -> None:
        """Call `Session.sweep` after *at*, in seconds of the loop's clock, and not when was said before."""

    def arrived(self, session: "Session") -> None:
        """Find out whether the device may connect, then call `Session.admit` or `Session.refuse`."""

    def left(self, session: "Session", will: bytes | None) -> None:
        """Take note that a live session ended, and of the will that this sets free."""

    def take(self, message: Message) -> None:
        """Queue a message."""

    def complain(self, event: str, **fields: object) -> None:
        """Log what a peer did wrong, at a bounded rate."""


class Session(Wire):
    """One connection, and after CONNECT one session. `number` is 0 until it lives."""

    def __init__(self, host: Host, *, tenant: TenantId, buffer: memoryview) -> None:
        """Take whom to ask, and whose devices may come."""
        super().__init__(limits=host.limits, buffer=buffer)
        self._host = host
        self._tenant = tenant
        self._bucket = Bucket(rate=host.limits.packets_per_second, burst=host.limits.packets_burst)
        self._connect: codec.Connect | None = None
        self._uplinks: dict[str, UplinkKind] = {}
        self._downlinks: dict[DownlinkKind, str] = {}
        self._subscribed: set[str] = set()
        self._unacknowledged: set[int] = set()
        self._packet_id = 0
        self._unanswered = 0
        self.name = Name("")
        self.number = 0
        self.phase = Phase.NEW
        self.keepalive_s = 0

    # --- the connection -------------------------------------------------------------------------------------

    def opened(self, transport: asyncio.Transport) -> None:
        """Read the peer's name from its certificate."""
        self._host.opened(self)
        self._host.look_at(self, self._late_at)
        try:
            self.name = name_of_peer(transport.get_extra_info("peercert"), self._tenant)
        except NotAuthenticated as error:
            self._host.complain("certificate_refused", error=str(error))
            self.end("certificate")
            return
        self._uplinks = {str(Uplink(self.name, kind)): kind for kind in UplinkKind}
        self._downlinks = {kind: str(Downlink(self.name, kind)) for kind in DownlinkKind}

    def lost(self) -> None:
        """End, where that has not happened yet."""
        self.end("lost")
        self._host.closed(self)

    def failed(self, error: BadPacket) -> None:
        """Tell the peer what it did wrong, and end."""
        self._host.complain("packet_refused", device=self.name, code=error.code.name, error=str(error))
        if isinstance(error, codec.OldProtocol):
            self.end("old_protocol", last=codec.OLD_PROTOCOL_ANSWER)
        elif self.phase is Phase.LIVE:
            self.end(error.code.name.lower(), last=codec.disconnect(error.code))
        else:
            self.end(error.code.name.lower(), last=codec.refuse(error.code, str(error)))

    def end(self, why: str, *, last: bytes = b"", is_clean: bool = False, at_once: bool = False) -> None:
        """End for the reason *why* (a constant), with *last* as the last bytes; a second call does nothing."""
        if self.phase is Phase.ENDED:
            return
        was, self.phase = self.phase, Phase.ENDED
        self._host.counts.ended[why] += 1
        self.finish(last, at_once=at_once)
        if was is Phase.LIVE:
            will = self._connect.will if self._connect is not None and not is_clean else None
            self._host.left(self, None if will is None else will.payload)

    def close(self, why: str, code: Code, *, at_once: bool = True) -> None:
        """End the session from our side; the device learns *code*."""
        last = codec.disconnect(code) if self.phase is Phase.LIVE else b""
        self.end(why, last=last, at_once=at_once)

    @property
    def _late_at(self) -> float:
        """When the peer will have been silent for too long, if it says nothing more."""
        is_live = self.phase is Phase.LIVE
        patience_s = self.keepalive_s * self._limits.keepalive_factor if is_live else self._limits.connect_timeout_s
        return self.heard + patience_s

    def sweep(self, at: float) -> None:
        """Do what time asks for: let a throttled peer go on, end one that is silent for too long; or look again."""
        self.resume(Pause.RATE)
        if self.phase is Phase.ENDED:
            return
        if self.pauses & (Pause.RATE | Pause.PRESSURE | Pause.CHECK):
            self._host.look_at(self, at)  # it is we who do not listen
        elif at > self._late_at:
            self._host.counts.keepalive_ended += 1
            self.close("keepalive", Code.KEEPALIVE)
        else:
            self._host.look_at(self, self._late_at)

    # --- packets --------------------------------------------------------------------------------------------

    def packet(self, packet: Packet) -> None:
        """Take one packet of the device."""
        if not self._bucket.take(self.heard):
            self._host.counts.throttled += 1
            self.pause(Pause.RATE)
            self._host.look_at(self, self.heard)
        if self.phase is not Phase.LIVE:
            self._first(packet)
            return
        match packet:
            case codec.Publish():
                self._publish(packet)
            case codec.Acknowledge():
                self._unacknowledged.discard(packet.packet_id)
            case codec.Ping():
                self.send(codec.PONG)
            case codec.Subscribe():
                self._subscribe(packet)
            case codec.Unsubscribe():
                self._unsubscribe(packet)
            case codec.Disconnect():
                self.end("disconnected", is_clean=packet.is_clean)
            case _:
                raise BadPacket(Code.PROTOCOL_ERROR, "a second CONNECT (section 3.1)")

    def _first(self, packet: Packet) -> None:
        if not isinstance(packet, codec.Connect):
            raise BadPacket(Code.PROTOCOL_ERROR, "expected CONNECT first (section 3.1)")
        if packet.has_authentication:
            raise BadPacket(Code.BAD_AUTHENTICATION, "authentication method: the certificate is enough")
        if packet.client_id not in {"", self.name}:
            raise BadPacket(Code.CLIENT_ID_NOT_VALID, "client id: expected the name in the certificate")
        if packet.will is not None:
            self._check_will(packet.will)
        self._connect = packet
        self.phase = Phase.CHECKING
        self.pause(Pause.CHECK)
        self._host.arrived(self)

    def _check_will(self, will: codec.Will) -> None:
        if self._uplinks.get(will.topic) is not UplinkKind.GONE:
            raise BadPacket(Code.NOT_AUTHORIZED, "will: expected the device's own topic 'gone'")
        if will.retain:
            raise BadPacket(Code.NO_RETAIN, "will: retain is not available")
        if will.qos > 1:
            raise BadPacket(Code.NO_QOS_2, "will: QoS 1 is the maximum")

    def admit(self, number: int, *, is_pressed: bool) -> None:
        """Begin the session; what came after CONNECT is read now, unless the intake *is_pressed*."""
        assert self._connect is not None, "only a session that said CONNECT is admitted"
        wanted_s = self._connect.keepalive_s
        server_s = self._limits.keepalive_s if not 0 < wanted_s <= self._limits.keepalive_s else None
        self.keepalive_s = server_s or wanted_s
        self.number = number
        self.phase = Phase.LIVE
        self._host.look_at(self, self._late_at)
        accepted = codec.accept(
            assigned=None if self._connect.client_id else self.name,
            keepalive_s=server_s,
            receive_max=self._limits.uplink_window,
            packet_bytes_max=self._limits.packet_bytes_max,
        )
        self.send(accepted)
        if is_pressed:
            self.pause(Pause.PRESSURE)
        self.resume(Pause.CHECK)

    def refuse(self, code: Code, why: str) -> None:
        """Answer CONNECT with a refusal."""
        self._host.counts.connects_refused[code.name.lower()] += 1
        self._host.complain("connect_refused", device=self.name, code=code.name, reason=why)
        self.end("refused", last=codec.refuse(code, why))

    # --- up -------------------------------------------------------------------------------------------------

    def _publish(self, packet: codec.Publish) -> None:
        kind = self._uplinks.get(packet.topic)
        if kind is None:
            self._forbid(packet)
            return
        self._host.counts.received += 1
        content = Uplinked(name=self.name, kind=kind, payload=packet.payload)
        if packet.packet_id is None:
            self._host.take(Message(content))
            return
        if self._unanswered >= self._limits.uplink_window:
            raise BadPacket(Code.RECEIVE_MAX, "more messages at once than Receive Maximum (section 3.2.2.3.3)")
        self._unanswered += 1
        self._host.take(Message(content, partial(self._answer, packet.packet_id)))

    def _forbid(self, packet: codec.Publish) -> None:
        self._host.counts.forbidden_publishes += 1
        self._host.complain("publish_forbidden", device=self.name, topic=packet.topic[:160])
        if packet.packet_id is not None:
            self.send(codec.puback(packet.packet_id, Code.NOT_AUTHORIZED))

    def _answer(self, packet_id: int, disposition: Disposition) -> None:
        if self.phase is Phase.LIVE:
            self._unanswered -= 1
            self.send(codec.puback(packet_id, _ANSWERS[disposition]))

    # --- down -----------------------------------------------------------------------------------------------

    def deliver(self, kind: DownlinkKind, payload: bytes) -> bool:
        """Send a message now; False, and nothing kept, when the device cannot take it."""
        topic = self._downlinks[kind]
        if topic not in self._subscribed or not self._has_room(len(payload)):
            return False
        packet_id = self._next_packet_id()
        packet = codec.publish(topic, payload, packet_id)
        assert self._connect is not None, "only a live session has subscriptions"
        if self._connect.packet_bytes_max is not None and len(packet) > self._connect.packet_bytes_max:
            return False
        self._unacknowledged.add(packet_id)
        self.send(packet)
        return True

    def _has_room(self, length: int) -> bool:
        assert self._connect is not None, "only a live session has subscriptions"
        window = min(self._limits.window, self._connect.receive_max)
        fits = self.unsent_bytes + length <= self._limits.write_buffer_bytes_max
        return len(self._unacknowledged) < window and fits and not self.pauses & Pause.WRITE

    def _next_packet_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % PACKET_ID_MAX + 1
            if self._packet_id not in self._unacknowledged:
                return self._packet_id

    def _subscribe(self, packet: codec.Subscribe) -> None:
        if len(packet.filters) > self._limits.subscriptions_max:
            raise BadPacket(Code.QUOTA, "more topic filters than a device has topics")
        self.send(codec.suback(packet.packet_id, [self._grant(wanted) for wanted in packet.filters]))

    def _grant(self, wanted: codec.Filter) -> Code:
        if wanted.pattern not in self._downlinks.values():
            self._host.counts.forbidden_subscribes += 1
            self._host.complain("subscribe_forbidden", device=self.name, filter=wanted.pattern[:160])
            return Code.NOT_AUTHORIZED
        if wanted.qos == 0:
            return Code.IMPLEMENTATION  # without acknowledgements there is no window, and so no bound
        self._subscribed.add(wanted.pattern)
        return Code.GRANTED_QOS_1

    def _unsubscribe(self, packet: codec.Unsubscribe) -> None:
        if len(packet.patterns) > self._limits.subscriptions_max:
            raise BadPacket(Code.QUOTA, "more topic filters than a device has topics")
        codes = [Code.SUCCESS if p in self._subscribed else Code.NO_SUBSCRIPTION for p in packet.patterns]
        self._subscribed.difference_update(packet.patterns)
        self.send(codec.unsuback(packet.packet_id, codes))
