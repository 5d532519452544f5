"""The codec: total over all bytes, and stricter than the library below it."""

import mqtt5
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.edge import codec
from controller.edge.codec import BadPacket, Code, OldProtocol, Packet, frame, read

CAP = 17_408
QOS1 = mqtt5.QoS.AT_LEAST_ONCE


def parsed(data: bytes, cap: int = CAP) -> tuple[Packet, int] | None:
    return read(memoryview(data), bytes_max=cap)


def refused(data: bytes) -> Code:
    with pytest.raises(BadPacket) as caught:
        parsed(data)
    return caught.value.code


def packet(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([first, len(body)]) + body


def publish(
    topic: bytes = b"a/b",
    payload: bytes = b"x",
    *,
    first: int = 0x32,
    packet_id: bytes = b"\0\1",
    properties: bytes = b"",
) -> bytes:
    """Return a PUBLISH by hand: the library's writer refuses most of what has to be tried here."""
    body = len(topic).to_bytes(2, "big") + topic + packet_id + bytes([len(properties)]) + properties + payload
    if len(body) < 128:
        return packet(first, body)
    length, coded = len(body), bytearray()
    while length:
        coded.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
    return bytes([first]) + bytes(coded) + body


GOOD = {
    "publish 1": (publish(), codec.Publish("a/b", b"x", 1)),
    "publish 0": (publish(first=0x30, packet_id=b""), codec.Publish("a/b", b"x", None)),
    "puback": (mqtt5.PubAckPacket(7).write(), codec.Acknowledge(7)),
    "subscribe": (
        mqtt5.SubscribePacket(3, [mqtt5.TopicFilter("a/+/#", max_qos=QOS1), mqtt5.TopicFilter("b")]).write(),
        codec.Subscribe(3, (codec.Filter("a/+/#", 1), codec.Filter("b", 2))),
    ),
    "subscribe with properties": (
        mqtt5.SubscribePacket(3, [mqtt5.TopicFilter("é")], user_properties=[("k" * 99, "v" * 99)]).write(),
        codec.Subscribe(3, (codec.Filter("é", 2),)),
    ),
    "unsubscribe": (mqtt5.UnsubscribePacket(4, ["a", "b"]).write(), codec.Unsubscribe(4, ("a", "b"))),
    "ping": (b"\xc0\x00", codec.Ping()),
    "disconnect": (b"\xe0\x00", codec.Disconnect(is_clean=True)),
    "disconnect with will": (b"\xe0\x01\x04", codec.Disconnect(is_clean=False)),
    "connect": (
        mqtt5.ConnectPacket("c", keep_alive=9).write(),
        codec.Connect("c", 9, 65_535, None, None, has_authentication=False),
    ),
    "connect with all": (
        mqtt5.ConnectPacket(
            "c",
            receive_max=5,
            max_packet_size=999,
            authentication_method="m",
            username="u",
            password=b"p",
            will=mqtt5.Will("w", payload=b"bye", qos=QOS1, retain=True, response_topic="r"),
        ).write(),
        codec.Connect("c", 0, 5, 999, codec.Will("w", b"bye", 1, retain=True), has_authentication=True),
    ),
}


@pytest.mark.parametrize(("data", "expected"), GOOD.values(), ids=GOOD)
def test_what_devices_send_is_read(data: bytes, expected: Packet) -> None:
    assert parsed(data) == (expected, len(data))
    assert parsed(data + b"\xc0\x00") == (expected, len(data))


@pytest.mark.parametrize("data", [data for data, _ in GOOD.values()], ids=GOOD)
def test_every_beginning_of_a_packet_asks_for_more(data: bytes) -> None:
    assert [parsed(data[:length]) for length in range(len(data))] == [None] * len(data)


def connect_with(flags: int) -> bytes:
    return packet(0x10, b"\x00\x04MQTT\x05" + bytes([flags]) + b"\x00\x00\x00\x00\x01c")


BAD = {
    "packet id 0 in publish": (publish(packet_id=b"\0\0"), Code.MALFORMED),
    "packet id 0 in puback": (b"\x40\x02\x00\x00", Code.MALFORMED),
    "packet id 0 in subscribe": (packet(0x82, b"\x00\x00\x00\x00\x01a\x01"), Code.MALFORMED),
    "packet id 0 in unsubscribe": (packet(0xA2, b"\x00\x00\x00\x00\x01a"), Code.MALFORMED),
    "empty topic": (publish(b""), None),
    "plus in topic": (publish(b"a/+"), Code.TOPIC_INVALID),
    "hash in topic": (publish(b"#"), Code.TOPIC_INVALID),
    "nul in topic": (publish(b"a\0"), Code.TOPIC_INVALID),
    "wildcard in response topic": (publish(properties=b"\x08\0\3a/#"), Code.TOPIC_INVALID),
    "payload format 2": (publish(properties=b"\x01\2"), Code.MALFORMED),
    "topic alias": (publish(properties=b"\x23\0\1"), Code.TOPIC_ALIAS),
    "alias without topic": (publish(b"", properties=b"\x23\0\1"), Code.TOPIC_ALIAS),
    "subscription id in publish": (publish(properties=b"\x0b\1"), Code.PROTOCOL_ERROR),
    "qos 2": (publish(first=0x34), Code.NO_QOS_2),
    "qos 3": (packet(0x36, b"\x00\x01a\x00\x01\x00"), Code.MALFORMED),
    "retain": (publish(first=0x33), Code.NO_RETAIN),
    "duplicate at qos 0": (packet(0x38, b"\x00\x01a\x00"), Code.MALFORMED),
    "empty subscribe": (packet(0x82, b"\x00\x01\x00"), Code.PROTOCOL_ERROR),
    "empty unsubscribe": (packet(0xA2, b"\x00\x01\x00"), Code.PROTOCOL_ERROR),
    "empty filter": (packet(0x82, b"\x00\x01\x00\x00\x00\x01"), Code.MALFORMED),
    "filter a#": (packet(0x82, b"\x00\x01\x00\x00\x02a#\x01"), Code.MALFORMED),
    "filter #/a": (packet(0x82, b"\x00\x01\x00\x00\x03#/a\x01"), Code.MALFORMED),
    "filter a+": (packet(0xA2, b"\x00\x01\x00\x00\x02a+"), Code.MALFORMED),
    "filter with nul": (packet(0xA2, b"\x00\x01\x00\x00\x01\0"), Code.MALFORMED),
    "reserved bits of a filter": (packet(0x82, b"\x00\x01\x00\x00\x01a\x41"), Code.MALFORMED),
    "reserved bits of the second filter": (
        packet(0x82, b"\x00\x01\x00\x00\x01a\x01\x00\x01b\x81"),
        Code.MALFORMED,
    ),
    "subscription id": (
        mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a")], subscription_id=1).write(),
        Code.NO_SUBSCRIPTION_IDS,
    ),
    "reserved flags of subscribe": (packet(0x80, b"\x00\x01\x00\x00\x01a\x01"), Code.MALFORMED),
    "reserved connect flag": (connect_with(0x03), Code.MALFORMED),
    "receive maximum 0": (packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x00\x00\x01c"), None),
    "maximum packet size 0": (packet(0x10, b"\0\4MQTT\5\2\0\0\5\x27\0\0\0\0\0\1c"), None),
    "wildcard in will": (
        packet(0x10, b"\0\4MQTT\5\x04\0\0\0\0\1c\0\0\3a/+\0\0"),
        None,
    ),
    "connack": (mqtt5.ConnAckPacket().write(), Code.PROTOCOL_ERROR),
    "suback": (mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]).write(), Code.PROTOCOL_ERROR),
    "pong": (b"\xd0\x00", Code.PROTOCOL_ERROR),
    "pubrec": (mqtt5.PubRecPacket(1).write(), Code.PROTOCOL_ERROR),
    "pubrel": (mqtt5.PubRelPacket(1).write(), Code.PROTOCOL_ERROR),
    "auth": (mqtt5.AuthPacket(reason_code=mqtt5.AuthReasonCode.SUCCESS).write(), Code.PROTOCOL_ERROR),
    "reserved type": (b"\x00\x00", Code.MALFORMED),
    "ping with a body": (b"\xc0\x01\x00", Code.MALFORMED),
    "remaining length of five bytes": (b"\x30\xff\xff\xff\xff\x01", Code.MALFORMED),
    "text that is not utf-8": (packet(0x30, b"\x00\x02\xff\xfe\x00"), Code.MALFORMED),
    "a string longer than its packet": (packet(0x30, b"\x00\xffab"), Code.MALFORMED),
}


@pytest.mark.parametrize(("data", "code"), BAD.values(), ids=BAD)
def test_what_no_device_may_send_is_refused(data: bytes, code: Code | None) -> None:
    found = refused(data)
    assert code is None or found is code


@pytest.mark.parametrize(
    "data",
    [
        packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"),
        packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01c"),
    ],
    ids=["3.1.1", "3.1"],
)
def test_older_protocols_are_recognised(data: bytes) -> None:
    with pytest.raises(OldProtocol):
        parsed(data)


def test_size_is_judged_by_the_header_alone() -> None:
    header = b"\x30\xff\xff\x7f"

    assert refused(header) is Code.TOO_LARGE
    assert parsed(b"\x30\x80\x80\x01") is None
    largest = publish(payload=b"x" * (CAP - 12))
    assert len(largest) == CAP
    assert parsed(largest) is not None
    assert refused(publish(payload=b"x" * (CAP - 11))[:5]) is Code.TOO_LARGE


@given(st.binary(max_size=64))
@example(b"")
@example(b"\x30")
def test_frame_is_total(data: bytes) -> None:
    try:
        lengths = frame(memoryview(data))
    except BadPacket:
        return
    assert lengths is None or 2 <= lengths[0] <= lengths[1]


def check_total(data: bytes) -> None:
    """Whatever the bytes: a packet within them, a wish for more, or `BadPacket`."""
    try:
        found = parsed(data)
    except BadPacket as error:
        mqtt5.read(memoryview(codec.refuse(error.code, str(error))))
        return
    if found is not None:
        assert isinstance(found[0], Packet)
        assert 2 <= found[1] <= len(data)


@given(st.binary(max_size=200))
def test_random_bytes_break_nothing(data: bytes) -> None:
    check_total(data)


@given(st.integers(0, 255), st.binary(max_size=120))
def test_random_bodies_in_a_right_frame_break_nothing(first: int, body: bytes) -> None:
    check_total(packet(first, body))


@given(st.sampled_from([data for data, _ in GOOD.values()]), st.data())
def test_altered_packets_break_nothing(good: bytes, data: st.DataObject) -> None:
    altered = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    check_total(bytes(altered))


def test_an_error_that_is_no_panic_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(data: memoryview) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mqtt5, "read", stop)
    with pytest.raises(KeyboardInterrupt):
        parsed(b"\xc0\x00")


def test_a_panic_of_the_library_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """No input is known that makes it panic; those that did are refused before."""

    class PanicException(BaseException):
        pass

    def panic(data: memoryview) -> None:
        raise PanicException

    monkeypatch.setattr(mqtt5, "read", panic)
    assert refused(b"\xc0\x00") is Code.MALFORMED


def test_a_packet_that_is_not_what_its_type_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt5, "read", lambda data: (mqtt5.ConnAckPacket(), 2))

    assert refused(b"\xc0\x00") is Code.PROTOCOL_ERROR


TEXTS = {
    "client id": mqtt5.ConnectPacket("MARK").write(),
    "user name": mqtt5.ConnectPacket("", username="MARK").write(),
    "authentication method": mqtt5.ConnectPacket("", authentication_method="MARK").write(),
    "user property": mqtt5.ConnectPacket("", user_properties=[("a", "MARK")]).write(),
    "will topic": mqtt5.ConnectPacket("", will=mqtt5.Will("MARK", payload=b"\xff")).write(),
    "will content type": mqtt5.ConnectPacket("", will=mqtt5.Will("a", content_type="MARK")).write(),
    "topic": mqtt5.PublishPacket("MARK", b"\xff").write(),
    "topic at qos 1": mqtt5.PublishPacket("MARK", b"\xff", qos=QOS1, packet_id=0x80FF).write(),
    "response topic": mqtt5.PublishPacket("a", b"", correlation_data=b"\xff", response_topic="MARK").write(),
    "last of many properties": mqtt5.PublishPacket(
        "a",
        b"",
        message_expiry_interval=255,
        payload_format_indicator=1,
        user_properties=[("x" * 99, "y"), ("MARK", "")],
    ).write(),
    "reason of an acknowledgement": mqtt5.PubAckPacket(
        0xFFFE, reason_code=mqtt5.PubAckReasonCode.NOT_AUTHORIZED, reason_str="MARK"
    ).write(),
    "second filter": mqtt5.SubscribePacket(0x80FF, [mqtt5.TopicFilter("a"), mqtt5.TopicFilter("MARK")]).write(),
    "second filter not wanted": mqtt5.UnsubscribePacket(0x80FF, ["a", "MARK"]).write(),
    "reason of a goodbye": mqtt5.DisconnectPacket(reason_str="MARK").write(),
}


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS)
def test_text_that_is_not_utf_8_is_found_wherever_it_is(data: bytes) -> None:
    """An overlong form, a surrogate, a beginning alone, a byte that is none; not one of them may reach the library."""
    assert parsed(data) is not None
    assert parsed(data.replace(b"MARK", "ßü".encode())) is not None
    for wrong in (b"A\xc0\x80Z", b"\xed\xa0\x80Z", b"ABC\xe2", b"\xffABC"):
        assert refused(data.replace(b"MARK", wrong)) is Code.MALFORMED


def test_a_library_that_reads_too_little_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt5, "read", lambda data: (mqtt5.PingReqPacket(), 1))

    assert refused(b"\xc0\x00") is Code.MALFORMED


@pytest.mark.parametrize("code", Code)
def test_every_code_fits_into_a_refusal(code: Code) -> None:
    if code >= 0x80:
        connack, _ = mqtt5.read(memoryview(codec.refuse(code, "why")))
        assert isinstance(connack, mqtt5.ConnAckPacket)
        assert int(connack.reason_code) >= 0x80


def test_what_is_written_can_be_read() -> None:
    def back(data: bytes) -> object:
        return mqtt5.read(memoryview(data))[0]

    assert repr(back(codec.puback(9))) == repr(mqtt5.PubAckPacket(9))
    assert "NOT_AUTHORIZED" in repr(back(codec.puback(9, Code.NOT_AUTHORIZED)))
    assert "TOPIC_FILTER" not in repr(back(codec.suback(1, [Code.GRANTED_QOS_1, Code.NOT_AUTHORIZED])))
    assert "NO_SUBSCRIPTION_EXISTED" in repr(back(codec.unsuback(1, [Code.NO_SUBSCRIPTION, Code.SUCCESS])))
    assert "SESSION_TAKEN_OVER" in repr(back(codec.disconnect(Code.TAKEN_OVER)))
