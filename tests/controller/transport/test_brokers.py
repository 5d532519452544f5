"""What befalls a broker, and the lanes at it: they come back by themselves, and say what they may have missed."""

import asyncio
import socket
import ssl
from collections import Counter
from typing import Final

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from structlog.testing import capture_logs

from controller.address import parse_broker
from controller.mqtt.limits import LANES
from protocol.ids import PARTITIONS, partition_of
from protocol.topics import DownlinkKind, UplinkKind
from tests.controller.edge.world import D1, TENANT, until
from tests.controller.transport.brokered import OverBroker
from tests.controller.transport.device import REFUSED
from tests.controller.transport.inboxes import RecordingInbox
from tests.controller.transport.promises import Promise
from tests.controller.transport.test_sessions import greet, reached
from tests.controller.transport.ways import Bounds

EVERYTHING: Final = set(range(PARTITIONS))
LANE: Final = f"tidegate-{TENANT}-lane-{partition_of(D1) % 16:02}"
"""The lane of D1."""


async def test_at_its_start_the_transport_has_lost_sight_of_every_partition_once(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    await brokered.start(inbox)
    await until(lambda: inbox.unseen == EVERYTHING)

    await asyncio.sleep(0.1)
    told = Counter(partition for partitions in inbox.lost for partition in partitions)
    assert set(told.values()) == {1}


async def test_a_next_life_has_lost_sight_again_though_its_sessions_are_there(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    await brokered.start(inbox)
    await brokered.stop()
    later = RecordingInbox()

    await brokered.start(later)

    await until(lambda: later.unseen == EVERYTHING)


async def test_a_loss_of_sight_that_could_not_be_noted_is_told_again(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    inbox.lost_failures = 2
    transport = await brokered.start(inbox)
    await until(lambda: inbox.unseen == EVERYTHING)

    device = brokered.device()
    await greet(device, inbox)
    await reached(device, transport, b"command")
    assert inbox.lost_failures == 0


async def test_lanes_that_find_their_sessions_again_have_lost_sight_of_nobody(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    transport = await brokered.start(inbox)
    device = brokered.device()
    await greet(device, inbox)
    await until(lambda: inbox.unseen == EVERYTHING)
    await reached(device, transport, b"before")  # so that the hello's acknowledgement, sent earlier, is there too
    before = len(inbox.lost), transport.session(D1)

    assert brokered.lanes is not None
    counts = brokered.lanes.counts
    connected = counts.connected

    break_connections(brokered)
    device.say(b"while cut")
    await until(lambda: counts.connected == connected + LANES)

    await until(lambda: inbox.payloads.count(b"while cut") == 1)
    await reached(device, transport, b"command")
    assert (len(inbox.lost), transport.session(D1)) == before


def break_connections(brokered: OverBroker) -> None:
    """Have the network break every lane's connection."""
    assert brokered.lanes is not None
    for lane in brokered.lanes._lanes:
        assert lane._connection is not None
        assert lane._connection._socket is not None
        lane._connection._socket.shutdown(socket.SHUT_RDWR)


async def test_what_waits_at_the_broker_survives_its_restart_in_good_order(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    waiting = await left_waiting(brokered, inbox)
    await asyncio.to_thread(brokered.broker.stop)
    await asyncio.to_thread(brokered.broker.start)
    later = RecordingInbox()
    await brokered.start(later)

    await until(lambda: set(later.payloads) >= waiting)


async def test_what_waits_at_the_broker_survives_that_it_is_killed(brokered: OverBroker, inbox: RecordingInbox) -> None:
    brokered.needs(Promise.SURVIVES_KILL)
    waiting = await left_waiting(brokered, inbox)
    await asyncio.to_thread(brokered.broker.kill)
    await asyncio.to_thread(brokered.broker.start)
    later = RecordingInbox()
    await brokered.start(later)

    await until(lambda: set(later.payloads) >= waiting)


async def left_waiting(brokered: OverBroker, inbox: RecordingInbox) -> set[bytes]:
    """Have a device say something while the controller is away; return what the broker acknowledged."""
    await brokered.start(inbox)
    device = brokered.device()
    await greet(device, inbox)
    await brokered.stop()
    payloads = [b"%d" % number for number in range(20)]
    for payload in payloads:
        await device.answered(device.say(payload))
    return set(payloads)


async def test_a_broker_that_forgot_everything_is_used_as_a_new_one(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    transport = await brokered.start(inbox)
    device = brokered.device()
    await greet(device, inbox)
    await until(lambda: inbox.unseen == EVERYTHING)
    inbox.lost.clear()

    await asyncio.to_thread(brokered.broker.kill)
    brokered.broker.forget()
    await asyncio.to_thread(brokered.broker.start)
    await brokered.standing()

    await until(lambda: inbox.unseen == EVERYTHING)
    assert transport.session(D1) == 0
    back = brokered.device()
    await greet(back, inbox, hello=b"back")
    await reached(back, transport, b"command")


async def test_a_broker_that_was_killed_is_used_again_and_messages_go_both_ways(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    transport = await brokered.start(inbox)
    device = brokered.device()
    await greet(device, inbox)

    await asyncio.to_thread(brokered.broker.kill)
    await until(lambda: not transport.write(D1, DownlinkKind.ACK, b"while dead"))
    await asyncio.to_thread(brokered.broker.start)
    await brokered.standing()

    back = brokered.device()
    await greet(back, inbox, hello=b"back")
    await reached(back, transport, b"command")
    back.say(b"report")
    await until(lambda: b"report" in inbox.payloads)
    assert b"while dead" not in back.received


async def test_a_broker_that_stands_still_is_given_up_and_found_again(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    transport = await brokered.start(inbox, Bounds(keepalive_s=1))
    device = brokered.device()
    await greet(device, inbox)

    await brokered.stall(device)
    await until(lambda: not transport.write(D1, DownlinkKind.ACK, b"while still"))
    await until(lambda: brokered.lanes is not None and brokered.lanes.lanes_standing == 0)
    await brokered.go_on(device)
    await brokered.standing()

    await greet(device, inbox, hello=b"again") if device.ends else device.say(b"again", UplinkKind.HELLO)
    await reached(device, transport, b"command")


async def test_a_lane_that_is_taken_over_says_so_aloud_and_does_not_kick_back_for_ever(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    transport = await brokered.start(inbox)
    assert brokered.lanes is not None
    with capture_logs() as told:
        thief = Rival(brokered)
        async with asyncio.timeout(20):
            while not any(line["event"] == "lane_taken_over" for line in told) or not thief.is_connected:
                await thief.insist()
                await asyncio.sleep(0.1)
        kicks = thief.ends
        await asyncio.sleep(1.5)

    assert thief.is_connected
    assert thief.ends == kicks, "the lane waits instead of kicking back"
    assert {line["log_level"] for line in told if line["event"] == "lane_taken_over"} == {"error"}
    assert brokered.lanes.lanes_standing == 15
    assert not transport.write(D1, DownlinkKind.ACK, b"not ours")
    await thief.leave()


async def test_a_device_that_shows_a_lanes_client_id_takes_no_lane_over(
    brokered: OverBroker, inbox: RecordingInbox
) -> None:
    brokered.needs(Promise.BINDS_CLIENT_ID)
    transport = await brokered.start(inbox)
    assert brokered.lanes is not None
    thief = brokered.device(D1, client_id=LANE)
    await thief.connect()
    await asyncio.sleep(0.3)

    assert brokered.lanes.lanes_standing == 16
    assert brokered.lanes.counts.taken_over == 0
    device = brokered.device()
    await greet(device, inbox)
    await reached(device, transport, b"command")


@pytest.mark.parametrize("password", ["", "guessed"])
async def test_a_devices_certificate_opens_no_lane(brokered: OverBroker, inbox: RecordingInbox, password: str) -> None:
    brokered.needs(Promise.BINDS_CLIENT_ID)
    await brokered.start(inbox)
    assert brokered.lanes is not None
    thief = Rival(brokered, password=password, context=brokered.pki.client_context(brokered.pki.device(D1)))

    await thief.insist()

    assert not thief.is_connected
    assert brokered.lanes.lanes_standing == 16


class Rival:
    """Somebody else who connects as a lane does."""

    def __init__(
        self, brokered: OverBroker, *, password: str | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self._address = parse_broker(brokered.broker.url)
        is_mqtt5 = brokered.profile.is_mqtt5
        self.is_connected = False
        self.ends = 0
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=LANE,
            protocol=MQTTProtocolVersion.MQTTv5 if is_mqtt5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if is_mqtt5 else False,
            reconnect_on_failure=False,
        )
        self._client.tls_set_context(context or brokered.new_context())
        self._client.username_pw_set(self._address.user, self._address.password if password is None else password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect

    def _on_connect(self, _c: object, _u: object, _f: object, code: ReasonCode, _p: object) -> None:
        self.is_connected = code.value < REFUSED

    def _on_disconnect(self, _c: object, _u: object, _f: object, _r: object, _p: object) -> None:
        self.is_connected = False
        self.ends += 1

    async def insist(self) -> None:
        """Connect, unless connected."""
        if self.is_connected:
            return
        await self.stop()
        ended = self.ends
        await asyncio.to_thread(self._client.connect, self._address.host, self._address.port, 60)
        self._client.loop_start()
        await until(lambda: self.is_connected or self.ends > ended)

    async def leave(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        await until(lambda: not self.is_connected)
        await self.stop()

    async def stop(self) -> None:
        """End the thread."""
        await asyncio.to_thread(self._client.loop_stop)
        self._client._reset_sockets(sockpair_only=True)
