"""Whatever bytes one device sends, in whatever pieces: the endpoint lives, and nobody else notices."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import mqtt5
import pytest
from hypothesis import Phase as Stages
from hypothesis import find, given, settings
from hypothesis import strategies as st

from controller.edge import codec
from controller.edge.session import Phase
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.cable import Cable, Stage, stage
from tests.controller.edge.streams import cuts, packets, plain_connects, split, streams
from tests.controller.edge.world import D1, D2
from tests.simulator.instant_loop import run_virtually

PING: Final = mqtt5.PingReqPacket().write()
INTERLUDES: Final = ["", "", "", "wait", "command", "deaf", "hearing", "hold", "newer", "close"]
"""What else happens between two pieces of a stream."""
HELD_S: Final = 2.0
END_S: Final = 40.0
"""By when a connection that says nothing more has ended, with the limits below."""
LIMITS: Final[dict[str, Any]] = {
    "keepalive_s": 20,
    "connect_timeout_s": 10.0,
    "intake_high": 12,
    "intake_low": 4,
    "uplink_window": 6,
    "packets_per_second": 20.0,
    "packets_burst": 4,
}
"""So narrow that short streams reach them."""
WIDE: Final[dict[str, Any]] = {
    "intake_high": 4_000,
    "intake_low": 2_000,
    "uplink_window": 1_000,
    "packets_burst": 10_000,
}
ANSWERS: Final = (
    mqtt5.PubAckPacket,
    mqtt5.SubAckPacket,
    mqtt5.UnsubAckPacket,
    mqtt5.PingRespPacket,
    mqtt5.PublishPacket,
    mqtt5.DisconnectPacket,
)


@dataclass(frozen=True)
class Outcome:
    """What became of one stream: how it ended (empty while it goes on), what was stored, and the answers."""

    ended: tuple[str, ...]
    stored: tuple[bytes, ...]
    answers: Counter[str]


@asynccontextmanager
async def neighbour(s: Stage) -> AsyncIterator[Cable]:
    """Have another device connected and subscribed, which says every five seconds that it lives."""
    cable = s.connect(D2)

    async def live() -> None:
        while True:
            await cable.feed(PING)
            await asyncio.sleep(5)

    await cable.feed(mqtt5.ConnectPacket(D2).write())
    topic = mqtt5.TopicFilter(str(Downlink(D2, DownlinkKind.COMMAND)), max_qos=mqtt5.QoS.AT_LEAST_ONCE)
    await cable.feed(mqtt5.SubscribePacket(1, [topic]).write())
    await asyncio.sleep(0.1)
    living = asyncio.create_task(live())
    yield cable
    assert not living.done(), living.exception()
    living.cancel()


async def is_served(s: Stage, cable: Cable) -> None:
    """Check that the other device is answered, stored and written to, within a tenth of a second."""
    await asyncio.sleep(HELD_S)  # whatever the inbox held back is let go
    before = len(cable.packets())
    report = mqtt5.PublishPacket(str(Uplink(D2, UplinkKind.REPORT)), b"d2", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=9)
    await cable.feed(report.write() + PING)
    assert s.endpoint.write(D2, DownlinkKind.COMMAND, b"go")
    await asyncio.sleep(0.1)
    found = cable.packets()[before:]
    assert {type(packet) for packet in found} == {mqtt5.PubAckPacket, mqtt5.PingRespPacket, mqtt5.PublishPacket}
    [command] = [packet for packet in found if isinstance(packet, mqtt5.PublishPacket)]
    assert command.packet_id is not None
    await cable.feed(mqtt5.PubAckPacket(command.packet_id).write())


def interlude(s: Stage, cable: Cable, what: str) -> None:
    """Let something else happen to the session of *cable*."""
    match what:
        case "command":
            s.endpoint.write(D1, DownlinkKind.COMMAND, b"x" * 1_000)
        case "deaf":
            cable.session.pause_writing()
            asyncio.get_running_loop().call_later(HELD_S, cable.session.resume_writing)
        case "hearing":
            cable.session.resume_writing()
        case "hold":
            s.inbox.open.clear()
            asyncio.get_running_loop().call_later(HELD_S, s.inbox.open.set)
        case "newer":
            s.connect(D1)
        case "close":
            s.endpoint.close(D1, reason="blocked")


def check_dialogue(cable: Cable) -> Counter[str]:
    """Check that what the session wrote is legal MQTT 5, and count it."""
    if cable.written == codec.OLD_PROTOCOL_ANSWER:
        return Counter(["old"])
    packets = cable.packets()
    assert all(isinstance(packet, mqtt5.ConnAckPacket) for packet in packets[:1]), packets
    assert all(isinstance(packet, ANSWERS) for packet in packets[1:]), packets
    assert not any(isinstance(packet, mqtt5.DisconnectPacket) for packet in packets[:-1]), packets
    return Counter(type(packet).__name__ for packet in packets)


def check_bounds(cable: Cable) -> None:
    session = cable.session
    assert len(session._tail) <= session._limits.packet_bytes_max + len(session._buffer)
    assert 0 <= session._unanswered <= session._limits.uplink_window
    assert len(session._unacknowledged) <= session._limits.window


async def play(s: Stage, cable: Cable, parts: Sequence[bytes], between: Sequence[str]) -> None:
    """Send *parts*, with something else between them."""
    for number, part in enumerate(parts):
        await cable.feed(part)
        check_bounds(cable)
        what = between[number % len(between)] if between else ""
        interlude(s, cable, what)
        if what == "wait":
            await asyncio.sleep(0.1)


async def judge(s: Stage, cable: Cable) -> Outcome:
    """See what became of a stream; a session that goes on at the border of two packets answers."""
    ended = tuple(s.endpoint.counts.ended)
    stored = tuple(message.payload for message in s.inbox.messages if message.name == D1)
    found = Outcome(ended, stored, check_dialogue(cable))
    if cable.session.phase is Phase.LIVE and not cable.session._tail:
        await still_works(cable)
    return found


async def still_works(cable: Cable) -> None:
    """Check that a session answers, and that its windows are open again."""
    await cable.feed(PING)
    await asyncio.sleep(0.1)
    assert cable.written.endswith(codec.PONG)
    for packet_id in range(1, LIMITS["uplink_window"] + 2):
        topic = str(Uplink(cable.name, UplinkKind.REPORT))
        await cable.feed(mqtt5.PublishPacket(topic, b"", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id).write())
        await asyncio.sleep(0.1)
        assert cable.written.endswith(codec.puback(packet_id))


async def outcome(parts: Sequence[bytes], between: Sequence[str] = (), **limits: Any) -> Outcome:
    """Return what becomes of a stream, after all that must hold of the endpoint was checked."""
    async with stage(**(LIMITS | limits)) as s, neighbour(s) as other:
        cable = s.connect(D1)
        await play(s, cable, parts, between)
        await is_served(s, other)
        found = await judge(s, cable)
        await asyncio.sleep(END_S)  # whoever is silent for so long is gone by then, and whoever lives is not
        assert s.endpoint.connections == 1
        assert other.session.phase is Phase.LIVE
        check_dialogue(cable)
        return found


@given(data=streams, where=cuts, between=st.lists(st.sampled_from(INTERLUDES), max_size=8))
def test_no_stream_kills_wedges_or_disturbs(data: bytes, where: list[int] | int, between: list[str]) -> None:
    run_virtually(outcome(split(data, where), between))


@given(data=streams, where=cuts)
def test_how_a_stream_is_split_changes_nothing(data: bytes, where: list[int] | int) -> None:
    """Limits that depend on what has been stored by then are out of reach here."""
    whole, pieces = (run_virtually(outcome(parts, **WIDE)) for parts in ([data], split(data, where)))

    assert (whole.ended, whole.stored) == (pieces.ended, pieces.stored)
    if not whole.ended:
        assert whole.answers == pieces.answers


@given(connect=plain_connects, rest=st.lists(packets, max_size=20), where=cuts)
def test_everything_before_a_fault_is_stored(connect: bytes, rest: list[bytes], where: list[int] | int) -> None:
    """Compared with the codec alone, which reads packet for packet."""
    data = connect + b"".join(rest)
    expected, own = [], {str(Uplink(D1, kind)) for kind in UplinkKind}
    try:
        for raw in rest:
            packet, _ = codec.read(memoryview(raw), bytes_max=17_408) or (None, 0)
            if packet is None or isinstance(packet, codec.Connect | codec.Disconnect):
                break
            if isinstance(packet, codec.Subscribe) and len(packet.filters) > 8:
                break
            if isinstance(packet, codec.Unsubscribe) and len(packet.patterns) > 8:
                break
            if isinstance(packet, codec.Publish) and packet.topic in own:
                expected.append(packet.payload)
    except codec.BadPacket:
        pass

    found = run_virtually(outcome(split(data, where), **WIDE))

    wills = found.stored[len(expected) :]
    assert list(found.stored[: len(expected)]) == expected
    assert wills in {(), (b"gone",)}


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # streams are long
@pytest.mark.parametrize("ended", ["", "malformed", "protocol_error", "too_large", "disconnected"])
def test_the_streams_get_somewhere(ended: str) -> None:
    """A fuzz of which no stream is stored, or none ends in this way, would prove little."""

    def is_wanted(data: bytes) -> bool:
        found = run_virtually(outcome([data]))
        return (found.ended[0] == ended) if found.ended else bool(found.stored and not ended)

    find(streams, is_wanted, settings=settings(max_examples=20_000, phases=[Stages.generate]))
