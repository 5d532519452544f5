r"""Bytes to MQTT 5 packets and back: the only module that touches `mqtt5`.

The rules this module keeps:

1. Whatever the bytes, `read` returns a packet, asks for more bytes, or raises `BadPacket`; nothing else.
2. Size is judged by the header: a packet above the cap is refused before it is gathered.
3. What `mqtt5` takes although MQTT 5.0 forbids it, and what we announced that we do not do, is refused here, with
   the section of the specification beside it.

>>> read(memoryview(b"\xc0\x00"), bytes_max=100)
(Ping(), 2)
>>> read(memoryview(b"\xc0"), bytes_max=100) is None
True
"""

from enum import IntEnum
from typing import Final

import mqtt5
import msgspec
from mqtt5 import (
    ConnAckReasonCode,
    DisconnectReasonCode,
    PubAckReasonCode,
    QoS,
    SubAckReasonCode,
    UnsubAckReasonCode,
)

from controller.app.errors import ControllerError
from controller.edge.text import is_text


class Code(IntEnum):
    """The reason codes of MQTT 5 that we send (section 2.4)."""

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    NO_SUBSCRIPTION = 0x11
    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION = 0x83
    CLIENT_ID_NOT_VALID = 0x85
    NOT_AUTHORIZED = 0x87
    UNAVAILABLE = 0x88
    BUSY = 0x89
    SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION = 0x8C
    KEEPALIVE = 0x8D
    TAKEN_OVER = 0x8E
    TOPIC_INVALID = 0x90
    RECEIVE_MAX = 0x93
    TOPIC_ALIAS = 0x94
    TOO_LARGE = 0x95
    QUOTA = 0x97
    ADMINISTRATIVE = 0x98
    PAYLOAD_INVALID = 0x99
    NO_RETAIN = 0x9A
    NO_QOS_2 = 0x9B
    NO_SUBSCRIPTION_IDS = 0xA1


class BadPacket(ControllerError):
    """The peer broke the protocol; `code` is what its DISCONNECT or CONNACK says."""

    def __init__(self, code: Code, why: str) -> None:
        """Take the reason code, and why, for the log."""
        super().__init__(why)
        self.code = code


class OldProtocol(BadPacket):
    """The peer speaks MQTT 3.1 or 3.1.1; `OLD_PROTOCOL_ANSWER` is what it understands."""


class Packet(msgspec.Struct, frozen=True):
    """What a device may send."""


class Will(msgspec.Struct, frozen=True):
    """What to publish for a device that cannot say goodbye itself."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class Connect(Packet, frozen=True):
    """The first packet; `keepalive_s` 0 means none was asked for."""

    client_id: str
    keepalive_s: int
    receive_max: int
    packet_bytes_max: int | None
    will: Will | None
    has_authentication: bool


class Publish(Packet, frozen=True):
    """A message; `packet_id` is None at QoS 0."""

    topic: str
    payload: bytes
    packet_id: int | None


class Acknowledge(Packet, frozen=True):
    """The device has a message of ours."""

    packet_id: int


class Filter(msgspec.Struct, frozen=True):
    """One topic filter of a SUBSCRIBE."""

    pattern: str
    qos: int


class Subscribe(Packet, frozen=True):
    """The device asks for topics."""

    packet_id: int
    filters: tuple[Filter, ...]


class Unsubscribe(Packet, frozen=True):
    """The device no longer wants topics."""

    packet_id: int
    patterns: tuple[str, ...]


class Ping(Packet, frozen=True):
    """The device lives."""


class Disconnect(Packet, frozen=True):
    """The device says goodbye; its will is void when *is_clean*."""

    is_clean: bool


PONG: Final = b"\xd0\x00"
OLD_PROTOCOL_ANSWER: Final = b"\x20\x02\x00\x01"
"""CONNACK of MQTT 3.1.1 (section 3.2.2.3): unacceptable protocol version."""

_HEADER_BYTES_MAX: Final = 5
_CONNECT: Final = 0x10
_FOR_DEVICES: Final = frozenset({2, 5, 6, 7, 9, 11, 13, 15})
"""Types of packets that are only sent to devices, or belong to QoS 2 or to what we do not offer (section 2.1.2)."""
_OLD_NAMES: Final = (b"\x00\x04MQTT\x03", b"\x00\x04MQTT\x04", b"\x00\x06MQIsdp\x03")
_WILDCARDS: Final = frozenset("+#")


def frame(data: memoryview) -> tuple[int, int] | None:
    """Return the lengths, in bytes, of the first packet's header and of all of it; None where the header is not whole.

    Raises:
        BadPacket: when the remaining length has more than four bytes (section 1.5.5).
    """
    length = shift = 0
    for index in range(1, min(len(data), _HEADER_BYTES_MAX)):
        length |= (data[index] & 0x7F) << shift
        if data[index] < 0x80:  # noqa: PLR2004 - the top bit says that another byte follows
            return index + 1, index + 1 + length
        shift += 7
    if len(data) >= _HEADER_BYTES_MAX:
        raise BadPacket(Code.MALFORMED, "remaining length of more than four bytes")
    return None


def read(data: memoryview, *, bytes_max: int) -> tuple[Packet, int] | None:
    """Read the first packet of *data*; return it and its length, or None where more bytes are needed.

    Raises:
        OldProtocol: when it is a CONNECT of MQTT 3.1 or 3.1.1.
        BadPacket: when it is longer than *bytes_max*, malformed, or nothing that a device may send us.
    """
    lengths = frame(data)
    if lengths is None:
        return None
    header, total = lengths
    if total > bytes_max:
        raise BadPacket(Code.TOO_LARGE, f"packet of {total} bytes, expected at most {bytes_max}")
    if total > len(data):
        return None
    packet = data[:total]
    if packet[0] >> 4 in _FOR_DEVICES:
        raise BadPacket(Code.PROTOCOL_ERROR, f"packet of type {packet[0] >> 4}, which no device sends us")
    if not is_text(packet, header):
        raise BadPacket(Code.MALFORMED, "text that is not UTF-8 (section 1.5.4)")
    return _translate(_parse(packet, header), packet, header), total


def _parse(packet: memoryview, header: int) -> mqtt5.Packet:
    try:
        parsed, consumed = mqtt5.read(packet)
    except (ValueError, IndexError) as error:
        if packet[0] == _CONNECT and bytes(packet[header:]).startswith(_OLD_NAMES):
            raise OldProtocol(Code.PROTOCOL_ERROR, "MQTT 3") from error
        raise BadPacket(Code.MALFORMED, str(error)) from error
    except BaseException as error:
        # Rust code may panic, as it does on text that `is_text` refuses. The class derives from BaseException and
        # cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise BadPacket(Code.MALFORMED, "a packet that cannot be read") from None
    if consumed != len(packet):
        raise BadPacket(Code.MALFORMED, "a packet shorter than its remaining length")
    return parsed


def _translate(parsed: mqtt5.Packet, packet: memoryview, header: int) -> Packet:
    match parsed:
        case mqtt5.PublishPacket():
            return _publish(parsed)
        case mqtt5.PubAckPacket():
            return Acknowledge(_packet_id(parsed.packet_id))
        case mqtt5.PingReqPacket():
            return Ping()
        case mqtt5.ConnectPacket():
            return _connect(parsed, packet, header)
        case mqtt5.SubscribePacket():
            return _subscribe(parsed, packet, header)
        case mqtt5.UnsubscribePacket():
            return _unsubscribe(parsed)
        case mqtt5.DisconnectPacket():
            return Disconnect(is_clean=parsed.reason_code == DisconnectReasonCode.NORMAL_DISCONNECTION)
    raise BadPacket(Code.PROTOCOL_ERROR, f"{type(parsed).__name__} is nothing that a device sends us")


def _packet_id(packet_id: int | None) -> int:
    if not packet_id:
        raise BadPacket(Code.MALFORMED, "packet identifier 0 (section 2.2.1)")
    return packet_id


def _check_topic(topic: str) -> None:
    if not topic or "\0" in topic or "+" in topic or "#" in topic:
        raise BadPacket(Code.TOPIC_INVALID, "topic that is empty or holds a wildcard or NUL (section 4.7)")


def _check_message(message: mqtt5.PublishPacket | mqtt5.Will) -> None:
    _check_topic(message.topic)
    if message.payload_format_indicator not in {0, 1}:
        raise BadPacket(Code.MALFORMED, "payload format indicator beyond 1 (section 3.3.2.3.2)")
    if message.response_topic is not None:
        _check_topic(message.response_topic)


def _publish(parsed: mqtt5.PublishPacket) -> Publish:
    if parsed.topic_alias is not None:
        raise BadPacket(Code.TOPIC_ALIAS, "topic alias, although none was allowed (section 3.3.2.3.4)")
    if parsed.qos is QoS.EXACTLY_ONCE:
        raise BadPacket(Code.NO_QOS_2, "QoS 2, although 1 is the maximum (section 3.2.2.3.4)")
    if parsed.retain:
        raise BadPacket(Code.NO_RETAIN, "retain, although it is not available (section 3.2.2.3.5)")
    if parsed.subscription_ids:
        raise BadPacket(Code.PROTOCOL_ERROR, "subscription identifier from a client (section 3.3.4)")
    _check_message(parsed)
    if parsed.qos is QoS.AT_MOST_ONCE:
        if parsed.duplicate:
            raise BadPacket(Code.MALFORMED, "duplicate flag at QoS 0 (section 3.3.1.1)")
        return Publish(parsed.topic, parsed.payload, None)
    return Publish(parsed.topic, parsed.payload, _packet_id(parsed.packet_id))


def _connect(parsed: mqtt5.ConnectPacket, packet: memoryview, header: int) -> Connect:
    if packet[header + 7] & 1:  # after the name, 6 bytes, and the version
        raise BadPacket(Code.MALFORMED, "reserved connect flag (section 3.1.2.3)")
    will = parsed.will
    if will is not None:
        _check_message(will)
    return Connect(
        client_id=parsed.client_id,
        keepalive_s=parsed.keep_alive,
        receive_max=parsed.receive_max,
        packet_bytes_max=parsed.max_packet_size,
        will=None if will is None else Will(will.topic, will.payload or b"", int(will.qos), will.retain),
        has_authentication=parsed.authentication_method is not None,
    )


def _is_filter(pattern: str) -> bool:
    """Say whether *pattern* is a topic filter by section 4.7.1: a wildcard fills its level, ``#`` comes last."""
    levels = pattern.split("/")
    wild = [level for level in levels if _WILDCARDS.intersection(level)]
    return bool(pattern) and "\0" not in pattern and all(len(w) == 1 for w in wild) and "#" not in levels[:-1]


def _check_filters(patterns: list[str]) -> None:
    if not patterns:
        raise BadPacket(Code.PROTOCOL_ERROR, "no topic filter (sections 3.8.3, 3.10.3)")
    if not all(map(_is_filter, patterns)):
        raise BadPacket(Code.MALFORMED, "topic filter that is none (section 4.7.1)")


def _subscribe(parsed: mqtt5.SubscribePacket, packet: memoryview, header: int) -> Subscribe:
    packet_id = _packet_id(parsed.packet_id)
    if parsed.subscription_id is not None:
        raise BadPacket(Code.NO_SUBSCRIPTION_IDS, "subscription identifier, although not available")
    _check_filters([wanted.pattern for wanted in parsed.topic_filters])
    _check_options(packet, header)
    return Subscribe(packet_id, tuple(Filter(f.pattern, int(f.max_qos)) for f in parsed.topic_filters))


def _check_options(packet: memoryview, header: int) -> None:
    """Check the reserved bits of each filter's options, which `mqtt5` does not show (section 3.8.3.1)."""
    properties = header + 2
    lengths = frame(packet[properties - 1 :])  # the properties' length is coded as a packet's is
    assert lengths is not None, "mqtt5 has read this packet"
    at = properties - 1 + lengths[1]
    while at < len(packet):
        at += 2 + int.from_bytes(packet[at : at + 2], "big")
        if packet[at] & 0xC0:
            raise BadPacket(Code.MALFORMED, "reserved bits in subscription options (section 3.8.3.1)")
        at += 1


def _unsubscribe(parsed: mqtt5.UnsubscribePacket) -> Unsubscribe:
    packet_id = _packet_id(parsed.packet_id)
    _check_filters(parsed.patterns)
    return Unsubscribe(packet_id, tuple(parsed.patterns))


def accept(*, assigned: str | None, keepalive_s: int | None, receive_max: int, packet_bytes_max: int) -> bytes:
    """Return the CONNACK of an accepted session: what the server does, and above all what it does not."""
    return mqtt5.ConnAckPacket(
        assigned_client_id=assigned,
        server_keep_alive=keepalive_s,
        session_expiry_interval=0,
        receive_max=receive_max,
        max_packet_size=packet_bytes_max,
        max_qos=QoS.AT_LEAST_ONCE,
        retain_available=False,
        topic_alias_max=0,
        wildcard_subscription_available=False,
        subscription_id_available=False,
        shared_subscription_available=False,
    ).write()


def refuse(code: Code, why: str) -> bytes:
    """Return the CONNACK of a refused session; a *code* that CONNACK does not have becomes a protocol error."""
    try:
        reason = ConnAckReasonCode(code)
    except ValueError:
        reason = ConnAckReasonCode.PROTOCOL_ERROR
    return mqtt5.ConnAckPacket(reason_code=reason, reason_str=why).write()


def disconnect(code: Code) -> bytes:
    """Return the DISCONNECT of a session that we end."""
    return mqtt5.DisconnectPacket(reason_code=DisconnectReasonCode(code)).write()


def publish(topic: str, payload: bytes, packet_id: int) -> bytes:
    """Return a PUBLISH at QoS 1."""
    return mqtt5.PublishPacket(topic, payload, qos=QoS.AT_LEAST_ONCE, packet_id=packet_id).write()


def puback(packet_id: int, code: Code = Code.SUCCESS) -> bytes:
    """Return a PUBACK."""
    if code is Code.SUCCESS:
        return b"\x40\x02" + packet_id.to_bytes(2, "big")  # half the time of the line below, and the common case
    return mqtt5.PubAckPacket(packet_id, reason_code=PubAckReasonCode(code)).write()


def suback(packet_id: int, codes: list[Code]) -> bytes:
    """Return a SUBACK with one code for each filter."""
    return mqtt5.SubAckPacket(packet_id, [SubAckReasonCode(code) for code in codes]).write()


def unsuback(packet_id: int, codes: list[Code]) -> bytes:
    """Return an UNSUBACK with one code for each filter."""
    return mqtt5.UnsubAckPacket(packet_id, [UnsubAckReasonCode(code) for code in codes]).write()
