"""The transport over a real broker: what devices say is stored and acknowledged, what they are told arrives."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
import structlog

from controller.app.errors import NotFound
from controller.app.ports import Disposition
from controller.mqtt.limits import LANES
from controller.signing.authority import Authority
from protocol.ids import PARTITIONS, Name, partition_of
from protocol.messages import MESSAGE_BYTES_MAX
from protocol.profiles import Profile
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.world import D1, D2, TENANT, Pki, now, until
from tests.controller.mqtt.world import Inbox, Mosquitto, World, needs_mosquitto, world

pytestmark = needs_mosquitto

COMMAND = str(Downlink(D1, DownlinkKind.COMMAND))


def names_of_lanes() -> list[Name]:
    """Return a device for each lane."""
    names = (Name(f"acme:device-{number}") for number in range(1_000))
    return list({partition_of(name) % LANES: name for name in names}.values())


def lane_of(w: World, name: Name) -> Any:
    return w.broker._lanes[partition_of(name) % LANES]


@pytest.mark.parametrize("profile", list(Profile))
async def test_messages_go_both_ways(tmp_path: Path, profile: Profile) -> None:
    async with world(tmp_path, profile=profile) as w:
        device = await w.greet()
        device.say(UplinkKind.REPORT, b"report")
        device.say(UplinkKind.TICK, b"tick", qos=0)
        await until(lambda: w.inbox.payloads == [b"hello", b"report", b"tick"])

        assert w.broker.write(D1, DownlinkKind.COMMAND, b"command")
        await until(lambda: device.heard == [(COMMAND, b"command")])
        await until(lambda: w.broker.unsettled == 0)


async def test_every_partition_is_heard(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        names: dict[int, Name] = {}
        number = 0
        while len(names) < PARTITIONS:
            name = Name(f"acme:device-{number}")
            names.setdefault(partition_of(name), name)
            number += 1
        for name in names.values():
            device.publish(str(Uplink(name, UplinkKind.REPORT)), name.encode())
        await until(lambda: len(w.inbox.messages) == PARTITIONS)
        assert {message.name for message in w.inbox.messages} == set(names.values())


# --- durability ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [Profile.MQTT5, Profile.MQTT311])
async def test_what_was_not_stored_is_offered_to_the_next_life(tmp_path: Path, profile: Profile) -> None:
    async with world(tmp_path, profile=profile, intake={"drain_timeout_s": 0.1}) as w:
        device = await w.device()
        w.inbox.open.clear()
        device.say(UplinkKind.REPORT, b"report")
        await until(lambda: w.inbox.offers)
        await w.broker.stop()
        assert w.inbox.messages == []

        inbox = Inbox()
        w.new_broker(inbox)
        await until(lambda: inbox.payloads == [b"report"])


async def test_what_was_stored_is_not_offered_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        device.say(UplinkKind.REPORT, b"first")
        await until(lambda: w.inbox.payloads == [b"first"])
        await w.broker.stop()
        device.say(UplinkKind.REPORT, b"while nobody is there")

        inbox = Inbox()
        w.new_broker(inbox)
        await until(lambda: inbox.payloads == [b"while nobody is there"])


async def test_a_batch_that_is_refused_is_stored_later(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        w.inbox.failures = 2
        device.say(UplinkKind.REPORT, b"report")
        await until(lambda: w.inbox.payloads == [b"report"])
        assert w.broker.counts.batches_failed == 2


async def test_an_acknowledgement_never_reaches_another_connection(tmp_path: Path) -> None:
    """Message ids begin anew: one that was meant for the connection before would drop a message that nobody stored."""
    async with world(tmp_path) as w:
        device = await w.device()
        w.inbox.open.clear()
        device.say(UplinkKind.REPORT, b"report")
        await until(lambda: w.inbox.offers)
        lane = lane_of(w, D1)
        first = lane._connection
        first.close()
        await until(lambda: lane._connection is not first and lane.stands)
        w.inbox.open.set()

        await until(lambda: w.inbox.payloads == [b"report", b"report"])
        assert w.broker.counts.acknowledgements_dropped == 1


# --- presence -----------------------------------------------------------------------------------------------------


async def test_a_session_lasts_from_the_hello_to_the_will(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.greet()
        assert (w.broker.session(D1), w.broker.session(D2), w.broker.session_count) == (1, 0, 1)
        device.vanish()
        await until(lambda: w.broker.session_count == 0)
        assert w.inbox.payloads == [b"hello", b"gone"]


async def test_a_hello_begins_a_session_once_it_is_stored_and_a_refused_one_begins_none(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.inbox.answers[b"forged"] = Disposition.UNTRUSTED
        device = await w.device(D1)
        device.say(UplinkKind.HELLO, b"forged")
        await until(lambda: w.broker.counts.dispositions[Disposition.UNTRUSTED])
        assert w.broker.session(D1) == 0
        w.inbox.open.clear()
        device.say(UplinkKind.HELLO, b"hello")
        await until(lambda: w.broker.depth or w.inbox.payloads[-1] == b"hello")
        assert not w.broker.write(D1, DownlinkKind.COMMAND, b"command")
        w.inbox.open.set()
        await until(lambda: w.broker.write(D1, DownlinkKind.COMMAND, b"command"))


async def test_a_block_also_ends_the_session_that_a_hello_was_to_begin(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device(D1)
        w.inbox.open.clear()
        device.say(UplinkKind.HELLO, b"hello")
        await until(lambda: w.broker.counts.received)
        w.broker.close(D1, reason="blocked")
        w.inbox.open.set()
        await until(lambda: w.broker.counts.dispositions[Disposition.STORED])
        assert w.broker.session(D1) == 0


async def test_a_stale_will_ends_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.inbox.answers[b"gone"] = Disposition.STALE
        device = await w.greet()
        device.vanish()
        await until(lambda: w.inbox.payloads == [b"hello", b"gone"])
        await until(lambda: w.broker.counts.dispositions[Disposition.STALE])
        assert w.broker.session(D1) == 1


async def test_a_closed_session_is_forgotten_and_noted(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.greet()
        w.broker.close(D1, reason="blocked")
        w.broker.close(D2, reason="blocked")
        assert w.broker.session(D1) == 0
        await until(lambda: w.inbox.ended == [(D1, 1)])


async def test_sight_is_lost_at_a_start_and_when_the_broker_forgot_the_session(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await until(lambda: sorted(w.inbox.lost) == list(range(PARTITIONS)))
        w.inbox.lost.clear()
        await w.greet()

        lane = lane_of(w, D1)
        first = lane._connection
        first.close()
        await until(lambda: lane._connection is not first and lane.stands)
        assert w.broker.session(D1) == 1, "the broker still had the session"

        w.inbox.lost_failures = 2
        w.mosquitto.kill()
        await until(lambda: w.broker.faults)
        await w.mosquitto.start()
        await w.stand()
        await until(lambda: sorted(w.inbox.lost) == list(range(PARTITIONS)))
        assert w.broker.session(D1) == 0


# --- what is sent -------------------------------------------------------------------------------------------------


async def test_a_command_needs_a_session_and_an_acknowledgement_does_not(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        assert not w.broker.write(D1, DownlinkKind.COMMAND, b"command")
        assert w.broker.write(D1, DownlinkKind.ACK, b"say hello")
        await until(lambda: device.heard == [(str(Downlink(D1, DownlinkKind.ACK)), b"say hello")])
        assert (w.broker.counts.written, w.broker.counts.write_refused) == (1, 1)


async def test_a_broker_that_does_not_answer_fills_the_window_and_is_caught_up_with(tmp_path: Path) -> None:
    async with world(tmp_path, window=5) as w:
        device = await w.greet()
        w.mosquitto.freeze(is_on=True)
        try:
            taken = [w.broker.write(D1, DownlinkKind.COMMAND, b"%d" % n) for n in range(8)]
        finally:
            w.mosquitto.freeze(is_on=False)
        assert taken == [True] * 5 + [False] * 3
        await until(lambda: [payload for _, payload in device.heard] == [b"0", b"1", b"2", b"3", b"4"])
        await until(lambda: w.broker.unsettled == 0)
        assert w.broker.write(D1, DownlinkKind.COMMAND, b"again")


async def test_without_acknowledgements_the_unsent_bytes_are_bounded(tmp_path: Path) -> None:
    async with world(tmp_path, profile=Profile.MQTT311_QOS0, unsent_bytes_max=50_000) as w:
        await w.greet()
        w.mosquitto.freeze(is_on=True)
        try:
            taken = 0
            while w.broker.write(D1, DownlinkKind.COMMAND, bytes(10_000)):
                taken += 1
                await asyncio.sleep(0)
                assert taken < 5_000
        finally:
            w.mosquitto.freeze(is_on=False)
        await until(lambda: w.broker.unsettled == 0)


async def test_nothing_is_taken_while_the_broker_is_away_and_nothing_old_is_sent_later(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.mosquitto.freeze(is_on=True)
        assert w.broker.write(D1, DownlinkKind.ACK, b"lost with its connection")
        w.mosquitto.kill()
        await until(lambda: w.broker.lanes_standing == 0)
        assert not w.broker.write(D1, DownlinkKind.ACK, b"refused")
        await w.mosquitto.start()
        await w.stand()
        device = await w.device()
        assert w.broker.write(D1, DownlinkKind.ACK, b"new")
        await until(lambda: device.heard)
        assert [payload for _, payload in device.heard] == [b"new"]


# --- what is foreign ----------------------------------------------------------------------------------------------


async def test_what_no_device_sent_like_this_is_acknowledged_and_counted(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        partition = partition_of(D1)
        device.publish(f"tg/1/u/{partition}/{D1}/secret", b"x")
        device.publish(f"tg/1/u/{(partition + 1) % PARTITIONS}/{D1}/report", b"x")
        device.publish(str(Uplink(Name("other:d1"), UplinkKind.REPORT)), b"x")
        device.publish(str(Uplink(D1, UplinkKind.REPORT)), bytes(MESSAGE_BYTES_MAX + 1))
        device.say(UplinkKind.REPORT, b"good")
        await until(lambda: w.inbox.payloads == [b"good"])
        await until(lambda: w.broker.counts.messages_refused.total() == 4)
        assert w.broker.counts.messages_refused == {"topic": 3, "oversize": 1}
        await w.broker.stop()

        inbox = Inbox()
        w.new_broker(inbox)
        await w.stand()
        device.say(UplinkKind.REPORT, b"next")
        await until(lambda: inbox.payloads == [b"next"])
        assert w.broker.counts.received == 1, "none is offered again"


@pytest.mark.parametrize("profile", [Profile.MQTT5, Profile.MQTT311])
async def test_a_retained_message_is_never_a_devices_word(tmp_path: Path, profile: Profile) -> None:
    """With MQTT 5 the broker is asked not to send any."""
    async with world(tmp_path, profile=profile, is_started=False) as w:
        await w.mosquitto.start()
        device = await w.device()
        device.say(UplinkKind.REPORT, b"retained", retain=True)
        w.new_broker()
        await w.stand()
        device.say(UplinkKind.REPORT, b"good")
        await until(lambda: w.inbox.payloads == [b"good"])
        assert w.broker.counts.messages_refused["retained"] == (profile is not Profile.MQTT5)


# --- back-pressure ------------------------------------------------------------------------------------------------


async def test_a_slow_inbox_stops_the_reading_until_it_caught_up(tmp_path: Path) -> None:
    async with world(tmp_path, intake={"intake_high": 20, "intake_low": 10, "batch_max": 10}, turn_s=0) as w:
        device = await w.device()
        w.inbox.open.clear()
        for number in range(1_000):
            device.say(UplinkKind.REPORT, b"%d" % number)
        await until(lambda: w.broker.counts.paused)
        await asyncio.sleep(0.1)
        assert w.broker.depth < 20 + LANES

        w.inbox.open.set()
        await until(lambda: len(w.inbox.messages) == 1_000)
        assert w.inbox.payloads == [b"%d" % number for number in range(1_000)]


async def test_no_connection_is_made_while_the_inbox_is_full(tmp_path: Path) -> None:
    """Each would bring what is not acknowledged once more, for as long as the database is away."""
    async with world(tmp_path, intake={"intake_high": 1, "intake_low": 0}) as w:
        device = await w.device()
        w.inbox.open.clear()
        device.say(UplinkKind.REPORT, b"report")
        await until(lambda: w.broker.counts.paused)
        w.mosquitto.kill()
        await w.mosquitto.start()
        for name in names_of_lanes():
            lane_of(w, name)._connection.close()
        await asyncio.sleep(0.3)
        assert w.broker.lanes_standing == 0
        w.inbox.open.set()
        await w.stand()


# --- when something is wrong --------------------------------------------------------------------------------------


async def test_a_broker_that_falls_silent_is_given_up_and_found_again(tmp_path: Path) -> None:
    async with world(tmp_path, keepalive_s=1) as w:
        w.mosquitto.freeze(is_on=True)
        try:
            await until(lambda: w.broker.lanes_standing == 0)
        finally:
            w.mosquitto.freeze(is_on=False)
        await w.stand()


async def test_two_controllers_do_not_kick_each_other_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path, early_s=2.0) as w:
        first = w.broker
        second = w.new_broker(Inbox())
        await until(lambda: first.counts.taken_over + second.counts.taken_over >= LANES)
        await until(lambda: first.lanes_standing + second.lanes_standing == LANES)
        connects = first.counts.connected + second.counts.connected
        await asyncio.sleep(1.0)
        assert first.counts.connected + second.counts.connected == connects, "who was kicked out stays away"
        assert connects < LANES * 10


async def test_a_broker_of_another_authority_is_not_spoken_to(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with world(tmp_path, is_started=False) as w:
        w.mosquitto = Mosquitto(Pki(tmp_path / "other"))
        await w.mosquitto.start()
        w.new_broker()
        await until(lambda: w.broker.counts.ended["unreachable"] >= LANES)
        assert w.broker.faults == ("0 of 16 sessions at the broker stand: see the log for why",)
    gc.collect()  # a socket that was left open would say so now


async def test_a_refused_certificate_is_told(tmp_path: Path) -> None:
    """It is, after the handshake, and Mosquitto has no word for it; what paho knows, only its log tells."""
    async with world(tmp_path, is_started=False) as w:
        await w.mosquitto.start()
        w.certificate_from = Authority.create(TENANT, at=now())
        with structlog.testing.capture_logs() as logs:
            w.new_broker()
            await until(lambda: w.broker.counts.ended["lost"] + w.broker.counts.ended["unreachable"] >= LANES)
        assert {line["event"] for line in logs} == {"lane_refused"}
        assert all("certificates" in line["hint"] and "_ssl.c" in line["reason"] for line in logs), logs


async def test_a_key_that_is_missing_for_a_while_does_not_end_a_lane(tmp_path: Path) -> None:
    async with world(tmp_path, is_started=False) as w:
        await w.mosquitto.start()
        broker, missing = w.new_broker(), [True]
        make = broker.new_context

        def new_context() -> Any:
            if missing:
                raise NotFound("there is no ca.pem")
            return make()

        broker.new_context = new_context  # type: ignore[method-assign]
        await until(lambda: broker.counts.ended["fault"] >= LANES)
        missing.clear()
        await w.stand()


async def test_stopping_takes_no_longer_because_the_broker_is_frozen(tmp_path: Path) -> None:
    async with world(tmp_path, shutdown_timeout_s=0.2) as w:
        w.mosquitto.freeze(is_on=True)
        try:
            async with asyncio.timeout(3):
                await w.broker.stop()
        finally:
            w.mosquitto.freeze(is_on=False)


async def test_stopping_twice_and_before_anything_stands_is_harmless(tmp_path: Path) -> None:
    async with world(tmp_path, is_started=False) as w:
        broker = w.new_broker()
        await asyncio.gather(broker.stop(), broker.stop())
        await broker.stop()
