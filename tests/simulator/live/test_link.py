"""The MQTT client of simulated devices, against a transport that keeps what is written."""

import asyncio
from collections.abc import Sequence

import mqtt5
import pytest

from protocol.ids import Name
from protocol.topics import Downlink, DownlinkKind, UplinkKind
from simulator.live import link as links
from simulator.live.link import Link, Topics
from tests.simulator.instant_loop import run_virtually

NAME = Name("acme:sim-1")
COMMANDS = str(Downlink(NAME, DownlinkKind.COMMAND))


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False
        self.is_over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.is_aborted = self.is_over = True

    def close(self) -> None:
        self.is_over = True

    def is_closing(self) -> bool:
        return self.is_over

    def packets(self) -> list[mqtt5.Packet]:
        return [mqtt5.read(memoryview(data))[0] for data in self.written]


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def up(self, link: Link) -> None:
        self.told.append("up")

    def came(self, kind: DownlinkKind, payload: bytes) -> None:
        self.told.append((kind, payload))

    def settled(self, token: int) -> None:
        self.told.append(token)

    def lost(self, link: Link, why: str) -> None:
        self.told.append(why)


def connected() -> tuple[Link, Wire, Owner]:
    owner, wire = Owner(), Wire()
    link = Link(owner, name=NAME, topics=Topics.of(NAME), will=b"gone", nonce="n")
    link.connection_made(wire)
    return link, wire, owner


def hear(link: Link, *data: bytes) -> None:
    """Let bytes arrive as the loop would."""
    for part in data:
        buffer = link.get_buffer(len(part))
        buffer[: len(part)] = part
        link.buffer_updated(len(part))


def accept(link: Link) -> None:
    hear(link, mqtt5.ConnAckPacket().write())
    granted = [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * 2
    hear(link, mqtt5.SubAckPacket(1, granted).write())


def message(payload: bytes, packet_id: int) -> bytes:
    return mqtt5.PublishPacket(COMMANDS, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id).write()


async def test_it_connects_with_a_will_subscribes_and_is_up_then() -> None:
    link, wire, owner = connected()
    [connect] = wire.packets()
    assert isinstance(connect, mqtt5.ConnectPacket)
    assert (connect.client_id, connect.clean_start) == (NAME, True)
    assert connect.will is not None
    assert (connect.will.payload, connect.will.topic.rpartition("/")[2]) == (b"gone", "gone")
    accept(link)
    subscribe = wire.packets()[1]
    assert isinstance(subscribe, mqtt5.SubscribePacket)
    assert [f.pattern.rpartition("/")[2] for f in subscribe.topic_filters] == ["cmd", "ack"]
    assert owner.told == ["up"]
    link.leave()


async def test_a_device_that_leaves_has_its_will_published() -> None:
    """A broker tells the controller in no other way."""
    link, wire, owner = connected()
    accept(link)
    link.leave()
    goodbye = wire.packets()[-1]
    assert isinstance(goodbye, mqtt5.DisconnectPacket)
    assert goodbye.reason_code is mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE
    assert owner.told[0] == "up"


async def test_a_message_is_acknowledged_once_the_device_has_taken_it_however_its_bytes_come() -> None:
    link, wire, owner = connected()
    accept(link)
    whole = message(b"one", 7) + message(b"two", 8)
    hear(link, whole[:5], whole[5:40], whole[40:])
    assert owner.told == ["up", (DownlinkKind.COMMAND, b"one"), (DownlinkKind.COMMAND, b"two")]
    acks = [packet.packet_id for packet in wire.packets() if isinstance(packet, mqtt5.PubAckPacket)]
    assert acks == [7, 8]
    link.leave()


async def test_an_acknowledgement_gives_back_the_token_of_its_message() -> None:
    link, wire, owner = connected()
    accept(link)
    link.publish(UplinkKind.REPORT, b"r", token=41)
    link.publish(UplinkKind.TICK, b"t", token=None)
    report, tick = wire.packets()[2:]
    assert isinstance(report, mqtt5.PublishPacket)
    assert isinstance(tick, mqtt5.PublishPacket)
    assert report.packet_id is not None
    assert tick.packet_id is None
    hear(link, mqtt5.PubAckPacket(report.packet_id).write() * 2)
    assert owner.told == ["up", 41]
    link.leave()


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        (
            [mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED, reason_str="blocked").write()],
            "CONNECT is refused: not_authorized blocked",
        ),
        (
            [
                mqtt5.ConnAckPacket().write(),
                mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]).write(),
            ],
            "a subscription is refused",
        ),
        (
            [mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write()],
            "the server says session_taken_over",
        ),
        ([b"\xf3\x00"], "malformed packet"),
    ],
)
async def test_what_goes_wrong_ends_the_connection_once_with_its_reason(heard: Sequence[bytes], why: str) -> None:
    link, wire, owner = connected()
    hear(link, *heard)
    link.connection_lost(None)
    [told] = owner.told
    assert isinstance(told, str)
    assert told.startswith(why)
    assert wire.is_aborted


async def test_a_broken_connection_says_why() -> None:
    link, _, owner = connected()
    link.connection_lost(ConnectionResetError("reset by peer"))
    assert owner.told == ["reset by peer"]


def test_it_pings_within_the_keepalive_that_the_server_asked_for() -> None:
    async def play() -> list[bytes]:
        link, wire, _ = connected()
        hear(link, mqtt5.ConnAckPacket(server_keep_alive=30).write())
        await asyncio.sleep(25)
        hear(link, mqtt5.PingRespPacket().write())
        await asyncio.sleep(20)
        link.leave()
        await asyncio.sleep(60)
        return wire.written

    written = run_virtually(play())
    assert written.count(mqtt5.PingReqPacket().write()) == 2
    assert isinstance(mqtt5.read(memoryview(written[-1]))[0], mqtt5.DisconnectPacket)


def test_a_server_that_is_not_heard_between_two_pings_is_gone() -> None:
    async def ping() -> tuple[list[object], bool]:
        link, wire, owner = connected()
        hear(link, mqtt5.ConnAckPacket(server_keep_alive=30).write())
        await asyncio.sleep(21)
        hear(link, mqtt5.PingRespPacket().write())
        await asyncio.sleep(20)
        assert not link.is_over
        await asyncio.sleep(20)
        return owner.told, wire.is_aborted

    assert run_virtually(ping()) == (["nothing is heard"], True)


def test_a_server_that_never_answers_is_given_up() -> None:
    async def wait() -> list[object]:
        _, _, owner = connected()
        await asyncio.sleep(links.CONNECT_SECONDS + 1)
        return owner.told

    assert run_virtually(wait()) == ["CONNECT stays unanswered"]


async def test_numbers_of_packets_come_round_and_skip_those_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PACKET_ID_MAX", 3)
    link, wire, _ = connected()
    for token in (1, 2, 3):
        link.publish(UplinkKind.REPORT, b"r", token=token)
    hear(link, mqtt5.PubAckPacket(3).write())
    link.publish(UplinkKind.REPORT, b"r", token=4)
    ids = [packet.packet_id for packet in wire.packets() if isinstance(packet, mqtt5.PublishPacket)]
    assert ids == [2, 3, 1, 3]
    link.leave()
