"""Byte streams of devices that Hypothesis draws: arbitrary, well-formed, and well-formed with some bytes changed."""

from typing import Final

import mqtt5
from hypothesis import strategies as st

from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.world import D1, D2

_OWN_UP: Final = [str(Uplink(D1, kind)) for kind in UplinkKind]
_OWN_DOWN: Final = [str(Downlink(D1, kind)) for kind in DownlinkKind]
_FOREIGN: Final = [str(Uplink(D2, UplinkKind.REPORT)), str(Downlink(D2, DownlinkKind.COMMAND)), "#", "+/x", "é/ß", "a"]

_topics = st.sampled_from([*_OWN_UP, *_OWN_UP, *_OWN_DOWN, *_FOREIGN[:2], *_FOREIGN[4:]])
_packet_ids = st.integers(1, 65_535) | st.integers(1, 4)
_texts = st.text(max_size=12)
_properties = st.lists(st.tuples(_texts, _texts), max_size=2)
_payloads = st.binary(max_size=40) | st.integers(0, 20_000).map(bytes)
_at_most, _at_least, _exactly = mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE
_qos = st.sampled_from([_at_most, *[_at_least] * 9, _exactly])

wills = st.builds(
    mqtt5.Will,
    st.just(str(Uplink(D1, UplinkKind.GONE))) | _topics,
    payload=_payloads,
    qos=_qos,
    retain=st.integers(0, 9).map(lambda drawn: drawn == 9),
)
plain_connects = st.builds(
    lambda will, seconds: mqtt5.ConnectPacket(D1, keep_alive=seconds, will=will).write(),
    st.none() | st.just(mqtt5.Will(str(Uplink(D1, UplinkKind.GONE)), payload=b"gone", qos=_at_least)),
    st.integers(0, 3),
)
"""Those that are accepted."""
connects = plain_connects | st.builds(
    lambda client, **rest: mqtt5.ConnectPacket(client, **rest).write(),
    st.sampled_from([D1, D1, "", D2]),
    clean_start=st.booleans(),
    keep_alive=st.integers(0, 3) | st.just(65_535),
    receive_max=st.integers(1, 65_535),
    max_packet_size=st.none() | st.integers(1, 2**32 - 1),
    session_expiry_interval=st.sampled_from([0, 2**32 - 1]),
    username=st.none() | _texts,
    password=st.none() | st.binary(max_size=9),
    authentication_method=st.none() | st.none() | _texts,
    user_properties=_properties,
    will=st.none() | wills,
)
publishes = st.builds(
    lambda topic, payload, qos, packet_id, properties: mqtt5.PublishPacket(
        topic, payload, qos=qos, packet_id=None if qos is _at_most else packet_id, user_properties=properties
    ).write(),
    _topics,
    _payloads,
    _qos,
    _packet_ids,
    _properties,
)
_patterns = st.sampled_from([*_OWN_DOWN, *_OWN_DOWN, *_FOREIGN])
subscribes = st.builds(
    lambda packet_id, filters: mqtt5.SubscribePacket(
        packet_id, [mqtt5.TopicFilter(pattern, max_qos=qos) for pattern, qos in filters]
    ).write(),
    _packet_ids,
    st.lists(st.tuples(_patterns, _qos), min_size=1, max_size=9),
)
unsubscribes = st.builds(
    lambda packet_id, patterns: mqtt5.UnsubscribePacket(packet_id, patterns).write(),
    _packet_ids,
    st.lists(_patterns, min_size=1, max_size=9),
)
acknowledgements = _packet_ids.map(lambda packet_id: mqtt5.PubAckPacket(packet_id).write())
pings = st.just(mqtt5.PingReqPacket().write())
goodbyes = st.sampled_from(
    [mqtt5.DisconnectPacket().write(), b"\xe0\x01\x04", mqtt5.DisconnectPacket(user_properties=[("k", "v")]).write()]
)
nonsense = st.sampled_from(
    [
        mqtt5.ConnAckPacket().write(),
        mqtt5.PingRespPacket().write(),
        mqtt5.PubRelPacket(1).write(),
        mqtt5.AuthPacket().write(),
        b"\x30\x05\x00\x02\xff\xfe\x00",  # a topic that is not UTF-8
        b"\x00\x00",
        b"\x32\xff\xff\x7f",
        b"\xff\xff\xff\xff\xff",
    ]
)
polite = st.one_of(publishes, publishes, subscribes, unsubscribes, acknowledgements, pings)
packets = st.one_of(*[polite] * 12, goodbyes, nonsense, connects)


@st.composite
def sequences(draw: st.DrawFn) -> bytes:
    """Whole packets of MQTT 5, mostly a CONNECT first."""
    first = draw(st.one_of(plain_connects, plain_connects, connects, st.just(b"")))
    return first + b"".join(draw(st.lists(packets, max_size=25)))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sequence in which some bytes are changed, lost, doubled or put in."""
    data = bytearray(draw(sequences()))
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, max(0, len(data) - 1))), draw(st.integers(1, 9))
        match draw(st.sampled_from(["change", "change", "lose", "double", "put in"])):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "lose":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case _:
                data[at:at] = draw(st.binary(min_size=1, max_size=9))
    return bytes(data)


streams = st.one_of(
    sequences(), mutated(), mutated(), st.binary(max_size=3_000), st.builds(bytes.__add__, plain_connects, st.binary())
)
_cuts = st.lists(st.integers(0, 30_000), max_size=30) | st.integers(1, 9)


def split(data: bytes, cuts: list[int] | int) -> list[bytes]:
    """Return the parts of *data*: of *cuts* bytes each, or cut at those places."""
    length = max(1, len(data))
    places = range(0, length, cuts) if isinstance(cuts, int) else sorted({0, *(cut % length for cut in cuts)})
    return [data[a:b] for a, b in zip(places, [*places[1:], length], strict=True)]


cuts = _cuts
"""Where a stream is split: at some places, or everywhere after so many bytes."""
