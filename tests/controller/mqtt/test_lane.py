"""A lane over a broker that does what Mosquitto does not."""

import asyncio
from pathlib import Path
from typing import Any

import mqtt5
import pytest
from structlog.testing import capture_logs

from controller.mqtt.limits import LANES
from protocol.ids import PARTITIONS, partition_of
from protocol.topics import DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.world import D1, Pki, until
from tests.controller.mqtt.fake_broker import fake_broker, over

LANE = "tidegate-acme-lane-{:02}"
EVERY = {LANE.format(index) for index in range(LANES)}


async def test_a_lane_keeps_its_session_and_hears_its_partitions() -> None:
    async with fake_broker() as fake, over(fake, receive_max=77) as w:
        await w.stand()
        assert {packet.client_id for packet in fake.connects} == EVERY
        for packet in fake.connects:
            assert not packet.clean_start
            assert (packet.session_expiry_interval, packet.receive_max) == (86_400, 77)
            assert (packet.username, packet.password) == ("controller", b"secret")
        for index in range(LANES):
            asked = fake.filters[LANE.format(index)]
            assert {f.pattern for f in asked} == {f"tg/1/u/{p}/#" for p in range(index, PARTITIONS, LANES)}
            assert all(f.max_qos == mqtt5.QoS.AT_LEAST_ONCE for f in asked)
            assert all(f.retain_handling == mqtt5.RetainHandling.SEND_NEVER for f in asked)


async def test_leaving_keeps_the_session() -> None:
    async with fake_broker() as fake:
        async with over(fake) as w:
            await w.stand()
        await until(lambda: len(fake.leaves) == LANES)
        assert {packet.session_expiry_interval for packet in fake.leaves} == {None}


@pytest.mark.parametrize(
    "code", [mqtt5.SubAckReasonCode.NOT_AUTHORIZED, mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE]
)
async def test_a_lane_does_not_stand_on_a_refused_subscription(code: Any) -> None:
    async with fake_broker() as fake, over(fake) as w:
        fake.grant = code
        await until(lambda: w.broker.counts.ended["not_subscribed"] >= LANES)
        assert w.broker.lanes_standing == 0
        fake.grant = mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE
        await w.stand()


async def test_a_refused_connection_is_tried_again() -> None:
    async with fake_broker() as fake, over(fake) as w:
        fake.accept = lambda _: mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED)
        await until(lambda: w.broker.counts.ended["refused"] >= LANES)
        fake.accept = lambda _: mqtt5.ConnAckPacket()
        await w.stand()


@pytest.mark.parametrize(
    ("code", "hints"),
    [
        (mqtt5.ConnAckReasonCode.NOT_AUTHORIZED, ["the broker may still have older 'passwords': restart it"]),
        (
            mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD,
            ["the broker may still have older 'passwords': restart it"],
        ),
        (mqtt5.ConnAckReasonCode.BANNED, []),
    ],
)
async def test_a_refused_password_is_told_with_a_hint(code: Any, hints: list[str]) -> None:
    async with fake_broker() as fake, over(fake) as w:
        fake.accept = lambda _: mqtt5.ConnAckPacket(reason_code=code)
        with capture_logs() as logs:
            await until(lambda: w.broker.counts.ended["refused"] >= LANES)
    refusals = [entry for entry in logs if entry["event"] == "lane_refused"]
    assert refusals
    assert all([entry["hint"]] == hints if "hint" in entry else hints == [] for entry in refusals)


async def test_a_broker_without_a_word_is_not_waited_for_for_ever() -> None:
    async with fake_broker() as fake, over(fake, answer_timeout_s=0.1) as w:
        fake.accept = lambda _: None
        await until(lambda: w.broker.counts.ended["no_answer"] >= LANES)
        fake.accept = lambda _: mqtt5.ConnAckPacket()
        await w.stand()


@pytest.mark.parametrize("turn_s", [0.0, 1.0])
async def test_what_tls_has_decrypted_already_is_read_on_by_itself(tmp_path: Path, turn_s: float) -> None:
    """No socket becomes readable for it."""
    reports = [
        mqtt5.PublishPacket(str(Uplink(D1, UplinkKind.REPORT)), b"%d" % n, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=n)
        for n in range(1, 51)
    ]
    async with fake_broker(Pki(tmp_path)) as fake, over(fake, turn_s=turn_s) as w:
        await w.stand()
        lane = LANE.format(partition_of(D1) % LANES)
        fake.send(lane, b"".join(report.write() for report in reports))
        await until(lambda: w.inbox.payloads == [report.payload for report in reports])
        await until(lambda: fake.acknowledged == [(lane, report.packet_id) for report in reports])


async def test_silence_ends_a_connection_whatever_paho_believes() -> None:
    async with fake_broker() as fake, over(fake, keepalive_s=1, silence_factor=0.1) as w:
        await until(lambda: w.broker.counts.ended["silent"] >= LANES)
        assert w.broker.counts.connected >= LANES


async def test_who_is_told_that_the_session_was_taken_over_stays_away() -> None:
    async with fake_broker() as fake, over(fake) as w:
        await w.stand()
        taken = mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)
        fake.send(LANE.format(3), taken)
        await until(lambda: w.broker.counts.taken_over)
        await asyncio.sleep(0.3)
        assert (w.broker.lanes_standing, len(fake.connects)) == (LANES - 1, LANES)
        assert w.broker.faults


async def test_a_lane_that_lost_the_installation_does_not_come_back() -> None:
    holds = True
    async with fake_broker() as fake, over(fake, may_hold=lambda: holds, taken_over_wait_s=0.05) as w:
        await w.stand()
        holds = False
        fake.writers[LANE.format(3)].close()
        await until(lambda: w.broker.lanes_standing == LANES - 1)
        await asyncio.sleep(0.3)
        assert len(fake.connects) == LANES
        holds = True
        await w.stand()


async def test_what_the_broker_can_take_is_respected() -> None:
    async with fake_broker() as fake, over(fake) as w:
        fake.answers_publishes = False
        fake.accept = lambda _: mqtt5.ConnAckPacket(receive_max=2, max_packet_size=1_000)
        await w.stand()
        assert not w.broker.write(D1, DownlinkKind.ACK, bytes(1_000))
        assert [w.broker.write(D1, DownlinkKind.ACK, b"ack") for _ in range(3)] == [True, True, False]
        await until(lambda: len(fake.publishes) == 2)


async def test_a_publish_that_the_broker_refuses_is_counted() -> None:
    async with fake_broker() as fake, over(fake) as w:
        fake.answers_publishes = False
        await w.stand()
        assert w.broker.write(D1, DownlinkKind.ACK, b"ack")
        await until(lambda: fake.publishes)
        packet_id = fake.publishes[0].packet_id
        assert packet_id is not None
        refusal = mqtt5.PubAckPacket(packet_id, reason_code=mqtt5.PubAckReasonCode.NOT_AUTHORIZED)
        for client_id in EVERY:
            fake.send(client_id, refusal)
        await until(lambda: w.broker.counts.publishes_refused)
        assert w.broker.unsettled == 0


async def test_a_fault_of_ours_in_a_callback_ends_the_connection_and_not_the_lane(monkeypatch: Any) -> None:
    async with fake_broker() as fake, over(fake) as w:
        await w.stand()

        def fail(*_: Any) -> None:
            monkeypatch.undo()
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(w.broker, "take", fail)
        report = mqtt5.PublishPacket(
            str(Uplink(D1, UplinkKind.REPORT)), b"report", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1
        )
        fake.send(LANE.format(partition_of(D1) % LANES), report)
        await until(lambda: w.broker.counts.ended["fault"])
        await w.stand()
        assert len(fake.connects) == LANES + 1


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\x30\x02\xff\xff", b"\x32\x05\x00\x02\xc3\x28\x00", b"\x00\x00"])
async def test_what_is_not_mqtt_ends_the_connection_and_not_the_lane(garbage: bytes) -> None:
    async with fake_broker() as fake, over(fake) as w:
        await w.stand()
        fake.send(LANE.format(3), garbage)
        await until(lambda: len(fake.connects) > LANES)
        await w.stand()


async def test_a_topic_that_is_no_text_is_acknowledged_and_counted() -> None:
    async with fake_broker() as fake, over(fake) as w:
        await w.stand()
        fake.send(LANE.format(3), b"\x32\x07\x00\x02\xc3\x28\x00\x05\x00")
        await until(lambda: fake.acknowledged == [(LANE.format(3), 5)])
        assert w.broker.counts.messages_refused == {"topic": 1}


async def test_a_message_in_the_wrong_lane_is_acknowledged_and_counted() -> None:
    async with fake_broker() as fake, over(fake) as w:
        await w.stand()
        report = mqtt5.PublishPacket(
            str(Uplink(D1, UplinkKind.REPORT)), b"report", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1
        )
        wrong = LANE.format((partition_of(D1) + 1) % LANES)
        fake.send(wrong, report)
        await until(lambda: fake.acknowledged == [(wrong, 1)])
        assert w.broker.counts.messages_refused == {"partition": 1}
