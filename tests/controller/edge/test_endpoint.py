"""The endpoint with real sockets and mutual TLS on loopback."""

import asyncio
from contextlib import suppress
from pathlib import Path

import mqtt5
import pytest

from controller.app.errors import StorageUnavailable
from controller.app.ports import Disposition
from controller.edge.limits import Limits
from controller.edge.session import Session
from controller.edge.wire import Pause
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.world import D1, D2, Pki, World, until, world


async def test_a_report_is_acknowledged_only_after_it_is_stored(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        w.inbox.open.clear()
        packet_id = device.publish(b"report")

        await until(lambda: w.inbox.offers)
        await device.silence()
        w.inbox.open.set()
        ack = await device.packet()

        assert (ack.packet_id, ack.reason_code) == (packet_id, mqtt5.PubAckReasonCode.SUCCESS)
        assert w.inbox.payloads == [b"report"]
        assert (w.inbox.messages[0].name, w.inbox.messages[0].kind) == (D1, UplinkKind.REPORT)


async def test_the_disposition_becomes_the_reason_code(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.inbox.answers = {b"bad": Disposition.MALFORMED, b"forged": Disposition.UNTRUSTED}
        device = await w.device()

        found = []
        for payload in (b"good", b"bad", b"forged"):
            device.publish(payload)
            found.append((await device.packet()).reason_code)

        assert found == [0x00, 0x99, 0x87]


async def test_what_cannot_be_stored_is_offered_again_and_not_acknowledged(tmp_path: Path) -> None:
    async with world(tmp_path, retry_first_s=0.1, retry_max_s=0.1) as w:
        w.inbox.failures = 2
        device = await w.device()
        device.publish(b"report")

        await until(lambda: w.inbox.offers == 1)
        await device.silence(0.05)
        assert w.inbox.payloads == []

        ack = await device.packet()
        assert ack.reason_code == 0
        assert w.inbox.payloads == [b"report"]
        assert w.endpoint.counts.batches_failed == 2


async def test_a_command_reaches_the_device(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()

        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"command")

        packet = await device.packet()
        assert (packet.topic, packet.payload) == (str(Downlink(D1, DownlinkKind.COMMAND)), b"command")
        assert packet.qos == mqtt5.QoS.AT_LEAST_ONCE


async def test_a_full_window_refuses_until_the_device_acknowledges(tmp_path: Path) -> None:
    async with world(tmp_path, window=3) as w:
        device = await w.device()

        written = [w.endpoint.write(D1, DownlinkKind.COMMAND, b"%d" % i) for i in range(5)]
        assert written == [True, True, True, False, False]

        first = await device.packet()
        device.send(mqtt5.PubAckPacket(first.packet_id).write())
        await until(lambda: w.endpoint.write(D1, DownlinkKind.COMMAND, b"next"))
        assert [(await device.packet()).payload for _ in range(3)] == [b"1", b"2", b"next"]
        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"more")


async def test_the_devices_own_maxima_bound_what_it_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.device(receive_max=1, max_packet_size=200)

        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"x" * 200)
        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"x" * 100)
        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"x")


async def test_packet_ids_are_not_reused_while_they_are_open(tmp_path: Path) -> None:
    async with world(tmp_path, window=2, packets_per_second=1e9) as w:
        device = await w.device()
        session = w.endpoint._live[D1]
        session._packet_id = 65_533
        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"stays open")
        first = await device.packet()
        session._packet_id = 65_533

        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"next")

        assert (first.packet_id, (await device.packet()).packet_id) == (65_534, 65_535)
        device.send(mqtt5.PubAckPacket(65_535).write())
        await until(lambda: w.endpoint.write(D1, DownlinkKind.COMMAND, b"after"))
        assert (await device.packet()).packet_id == 1


async def test_nothing_is_written_to_who_is_not_there_or_not_subscribed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"")
        client = await w.client()
        await client.connect()
        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"")
        command = str(Downlink(D1, DownlinkKind.COMMAND))
        await client.subscribe(command)

        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"")
        assert not w.endpoint.write(D1, DownlinkKind.ACK, b"")
        assert w.endpoint.counts.write_refused == 3

        await client.packet()
        client.send(mqtt5.UnsubscribePacket(9, [command, "other"]).write())
        unsuback = await client.packet()
        assert [str(code) for code in unsuback.reason_codes] == [
            str(mqtt5.UnsubAckReasonCode.SUCCESS),
            str(mqtt5.UnsubAckReasonCode.NO_SUBSCRIPTION_EXISTED),
        ]
        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"")


async def test_connack_announces_what_the_endpoint_does_not_do(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.client()
        connack = await client.connect("", keep_alive=0)

        assert connack.assigned_client_id == D1
        assert connack.server_keep_alive == 300
        assert connack.max_qos == mqtt5.QoS.AT_LEAST_ONCE
        assert connack.max_packet_size == 17_408
        assert (connack.receive_max, connack.topic_alias_max) == (64, 0)
        assert not connack.session_present
        assert not any(
            (
                connack.retain_available,
                connack.wildcard_subscription_available,
                connack.shared_subscription_available,
                connack.subscription_id_available,
            )
        )
        other = await w.client(D2)
        assert (await other.connect(keep_alive=60)).server_keep_alive is None


async def test_a_new_session_takes_over_and_the_old_one_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        old = await w.device(will=mqtt5.Will(str(Uplink(D1, UplinkKind.GONE)), payload=b"old"))
        first = w.endpoint.session(D1)
        new = await w.device()

        assert (await old.packet()).reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
        assert await old.packet() is None
        assert 0 < first < w.endpoint.session(D1)
        await until(lambda: w.inbox.ended)
        assert (w.inbox.payloads, w.inbox.ended) == ([b"old"], [(D1, first)])
        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"hi")
        assert (await new.packet()).payload == b"hi"
        assert (w.endpoint.counts.taken_over, w.endpoint.session_count) == (1, 1)


async def test_a_message_of_a_session_that_ended_meanwhile_is_stored_and_nobody_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        old = await w.device()
        w.inbox.open.clear()
        old.publish(b"last words")
        await until(lambda: w.inbox.offers)
        new = await w.device()
        w.inbox.open.set()

        await until(lambda: w.inbox.ended)

        assert w.inbox.payloads == [b"last words"]
        await new.silence()


async def test_the_will_is_published_on_a_cut_and_the_end_noted_after_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.client()
        await device.connect(will=device.will(b"nonce"))
        number = w.endpoint.session(D1)
        device.publish(b"before")
        await device.packet()
        device.cut()

        await until(lambda: w.inbox.ended)

        assert [(m.kind, m.payload) for m in w.inbox.messages] == [
            (UplinkKind.REPORT, b"before"),
            (UplinkKind.GONE, b"nonce"),
        ]
        assert w.inbox.ended == [(D1, number)]
        assert w.endpoint.session(D1) == 0


async def test_a_clean_goodbye_publishes_no_will(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.client()
        await device.connect(will=device.will())
        device.goodbye()

        await until(lambda: w.inbox.ended)
        assert w.inbox.messages == []
        assert await device.packet() is None


async def test_a_goodbye_with_will_publishes_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.client()
        await device.connect(will=device.will())
        device.goodbye(mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE)

        await until(lambda: w.inbox.ended)
        assert w.inbox.payloads == [b"gone"]


async def test_a_device_at_rest_is_not_looked_at_and_one_that_is_gone_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []
    sweep = Session.sweep

    def noting(session: Session, at: float) -> None:
        swept.append(session.name)
        sweep(session, at)

    monkeypatch.setattr(Session, "sweep", noting)
    async with world(tmp_path, sweep_s=0.01) as w:
        rested, short_lived = await w.device(keep_alive=300), await w.client(D2)
        await short_lived.connect(keep_alive=1)

        await until(lambda: D2 in swept)
        assert D1 not in swept

        rested.cut()
        await until(lambda: w.endpoint.session_count <= 1)
        await until(lambda: all(session.name != D1 for session in w.endpoint._rounds._places))


async def test_a_silent_device_is_cut_after_one_and_a_half_keepalives(tmp_path: Path) -> None:
    async with world(tmp_path, keepalive_factor=0.2) as w:
        silent, alive = await w.client(), await w.client(D2)
        await silent.connect(keep_alive=1, will=silent.will())
        await alive.connect(keep_alive=1)

        async def ping() -> None:
            while True:
                alive.send(mqtt5.PingReqPacket().write())
                await asyncio.sleep(0.05)

        pinging = asyncio.create_task(ping())
        await until(lambda: w.inbox.ended)
        pinging.cancel()

        assert (await silent.packet()).reason_code == mqtt5.DisconnectReasonCode.KEEP_ALIVE_TIMEOUT
        assert w.inbox.payloads == [b"gone"]
        assert w.endpoint.session(D2) > 0
        assert w.endpoint.counts.keepalive_ended == 1


async def test_who_never_says_connect_is_cut(tmp_path: Path) -> None:
    async with world(tmp_path, connect_timeout_s=0.1) as w:
        client = await w.client()

        assert await client.packet() is None
        assert w.inbox.ended == []


async def test_order_is_kept_within_a_session(tmp_path: Path) -> None:
    async with world(tmp_path, batch_max=7) as w:
        device = await w.device()
        expected = [b"%d" % i for i in range(60)]
        for payload in expected:
            device.publish(payload)

        acks = [(await device.packet()).packet_id for _ in expected]

        assert acks == sorted(acks)
        assert w.inbox.payloads == expected
        assert max(map(len, w.inbox.batches)) <= 7


async def test_the_next_batch_gathers_while_one_is_stored(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        w.inbox.open.clear()
        device.publish(b"first")
        await until(lambda: w.inbox.offers == 1)
        for i in range(20):
            device.publish(b"%d" % i)
        await until(lambda: w.endpoint.depth == 20)
        w.inbox.open.set()

        await until(lambda: len(w.inbox.messages) == 21)
        assert [len(batch) for batch in w.inbox.batches] == [1, 20]


async def test_a_full_queue_stops_reading_and_goes_on_when_it_is_short_again(tmp_path: Path) -> None:
    async with world(tmp_path, intake_high=10, intake_low=4, batch_max=5) as w:
        devices = [await w.device(name) for name in (D1, D2)]
        w.inbox.open.clear()
        for i in range(40):
            for device in devices:
                device.publish(b"%d" % i)
        await until(lambda: w.endpoint.counts.paused)
        await asyncio.sleep(0.05)

        assert w.endpoint.depth <= 11
        late = await w.client("acme:d3")
        assert (await late.connect()).reason_code == mqtt5.ConnAckReasonCode.SUCCESS
        late.publish(b"late")
        await late.silence(0.05)
        w.inbox.open.set()

        for device in devices:
            for _ in range(40):
                await device.packet()
        await late.packet()
        assert len(w.inbox.messages) == 81
        assert [m.payload for m in w.inbox.messages if m.name == D1] == [b"%d" % i for i in range(40)]


async def test_back_pressure_is_no_reason_to_call_a_device_dead(tmp_path: Path) -> None:
    async with world(tmp_path, intake_high=1, intake_low=0, keepalive_factor=0.2) as w:
        device = await w.client()
        await device.connect(keep_alive=1)
        w.inbox.open.clear()
        device.publish(b"1")
        device.publish(b"2")
        await until(lambda: w.endpoint.counts.paused)
        await asyncio.sleep(0.4)

        assert w.endpoint.session(D1) > 0
        w.inbox.open.set()
        assert [(await device.packet()).packet_id for _ in range(2)] == [1, 2]


async def test_ticks_come_without_acknowledgement(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        device.send(mqtt5.PublishPacket(device.up(UplinkKind.TICK), b"tick").write())

        await until(lambda: w.inbox.messages)
        assert w.inbox.messages[0].kind is UplinkKind.TICK
        await device.silence(0.05)


async def test_a_session_can_be_closed_by_name(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        w.endpoint.close(D1, reason="blocked")

        assert (await device.packet()).reason_code == mqtt5.DisconnectReasonCode.ADMINISTRATIVE_ACTION
        assert await device.packet() is None
        assert w.endpoint.session(D1) == 0
        w.endpoint.close(D1, reason="blocked")


async def test_a_device_that_is_closed_while_it_is_checked_does_not_get_in(tmp_path: Path) -> None:
    """The check may have read the database just before the device was blocked."""
    async with world(tmp_path) as w:
        client = await w.client()
        w.inbox.checks_open.clear()
        client.send(mqtt5.ConnectPacket(D1).write())
        await until(lambda: w.endpoint._checks)
        w.endpoint.close(D1, reason="blocked")
        w.inbox.checks_open.set()

        assert await client.packet() is None
        assert w.endpoint.session(D1) == 0


async def test_what_follows_connect_at_once_waits_for_the_check(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.client()
        w.inbox.checks_open.clear()
        client.send(mqtt5.ConnectPacket(D1).write())
        client.publish(b"eager")
        await until(lambda: w.endpoint._checks)
        await asyncio.sleep(0.05)
        assert w.inbox.offers == 0
        w.inbox.checks_open.set()

        assert [type(await client.packet()).__name__ for _ in range(2)] == ["ConnAckPacket", "PubAckPacket"]


async def test_a_clean_stop_stores_what_has_come_and_says_goodbye(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.client()
        await device.connect(will=device.will())
        w.inbox.open.clear()
        device.publish(b"report")
        await until(lambda: w.inbox.offers)
        stopping = asyncio.create_task(w.endpoint.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        w.inbox.open.set()
        found = [await device.packet() for _ in range(3)]
        await stopping

        assert found[0].packet_id == 1
        assert found[1].reason_code == mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN
        assert found[2] is None
        assert w.inbox.payloads == [b"report", b"gone"]
        assert len(w.inbox.ended) == 1
        with pytest.raises(ConnectionRefusedError):
            await w.client()


async def test_a_stop_is_bounded_and_acknowledges_nothing_unstored(tmp_path: Path) -> None:
    async with world(tmp_path, drain_timeout_s=0.1) as w:
        device = await w.device()
        silent = await w.client(D2)
        w.inbox.open.clear()
        device.publish(b"report")
        await until(lambda: w.inbox.offers)
        await w.endpoint.stop()

        assert (await device.packet()).reason_code == mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN
        assert await silent.packet() is None
        assert w.inbox.payloads == []


async def test_farewells_are_tried_again_but_not_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path, farewell_tries_max=2) as w:
        w.inbox.ended_failures = 3
        for name in (D1, D2):
            device = await w.device(name)
            device.cut()
            await until(lambda name=name: w.endpoint.session(name) == 0)

        await until(lambda: w.inbox.ended)

        assert [name for name, _ in w.inbox.ended] == [D2]
        assert w.endpoint.counts.farewells_lost == 1


async def test_the_instance_is_what_the_controller_drew(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert (w.endpoint.instance, w.endpoint.connections) == (7, 0)


async def test_an_address_that_is_taken_is_the_environments_fault(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with pytest.raises(StorageUnavailable, match="listen"):
            w.endpoint.listen("127.0.0.1", w.port)


async def test_what_one_session_has_waiting_may_fill_the_queue_again(tmp_path: Path) -> None:
    """The others must go on waiting then, and come first the next time."""
    async with world(tmp_path, intake_high=2, intake_low=0) as w:
        names = [D1, D2]
        for name in names:
            await w.device(name)
        w.inbox.open.clear()
        w.endpoint._intake._press(is_on=True)
        for name in names:
            session = w.endpoint._live[name]
            session._tail += mqtt5.PublishPacket(str(Uplink(name, UplinkKind.TICK)), b"x").write() * 5

        w.endpoint._intake._press(is_on=False)
        assert w.endpoint.depth == 2
        assert w.endpoint._live[D1].pauses & w.endpoint._live[D2].pauses & Pause.PRESSURE

        w.inbox.open.set()
        await until(lambda: len(w.inbox.messages) == 10)
        assert {m.name for m in w.inbox.messages[:4]} == {D1, D2}


async def test_the_queue_stays_bounded_and_fair_however_much_waits(tmp_path: Path) -> None:
    async with world(tmp_path, intake_high=20, intake_low=10, batch_max=10) as w:
        devices = [await w.device(f"acme:d{i}") for i in range(8)]
        w.inbox.open.clear()
        for device in devices:
            for i in range(60):
                device.publish(b"%d" % i)
        await until(lambda: w.endpoint.counts.paused)
        await asyncio.sleep(0.05)
        w.inbox.open.set()

        for device in devices:
            for _ in range(60):
                await device.packet()

        assert max(w.inbox.depths) <= 20
        first_half = {message.name for message in w.inbox.messages[:240]}
        assert len(first_half) >= 4
        assert len(w.inbox.messages) == 480


async def test_a_stop_ends_handshakes_under_way(tmp_path: Path) -> None:
    async with world(tmp_path, handshakes_max=1, handshake_slot_s=5.0) as w:
        idle = [await asyncio.open_connection("127.0.0.1", w.port) for _ in range(3)]
        await until(lambda: w.endpoint.counts.accepted == 3)

        await w.endpoint.stop()
        await w.endpoint.stop()

        for reader, writer in idle:
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_a_second_stop_waits_for_the_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        w.inbox.open.clear()
        device.publish(b"report")
        await until(lambda: w.inbox.offers)
        stops = [asyncio.create_task(w.endpoint.stop()) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert not any(stop.done() for stop in stops)
        w.inbox.open.set()
        await asyncio.gather(*stops)


async def test_a_device_that_reads_again_is_served_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        session = w.endpoint._live[D1]
        session.pause_writing()
        device.publish(b"report")
        await device.silence()
        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"x")

        session.resume_writing()
        session.resume_writing()

        assert (await device.packet()).packet_id > 0
        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"x")


async def test_a_device_that_is_checked_during_a_stop_is_told_to_come_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.client()
        w.endpoint._is_stopping = True

        answer = await client.connect()

        w.endpoint._is_stopping = False
        assert "SERVER_BUSY" in repr(answer.reason_code)


async def test_an_inbox_that_breaks_its_contract_is_not_believed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        right = w.inbox.receive
        w.inbox.receive = lambda batch: asyncio.sleep(0, result=[])  # type: ignore[method-assign]
        device.publish(b"report")
        await until(lambda: w.endpoint.counts.batches_failed)
        await device.silence(0.05)
        w.inbox.receive = right  # type: ignore[method-assign]

        assert (await device.packet()).reason_code == 0


async def test_a_device_that_gives_up_while_it_is_checked_is_gone_after_the_check(tmp_path: Path) -> None:
    """A paused TLS connection does not show that its peer has left, so this is learnt late."""
    async with world(tmp_path) as w:
        client = await w.client()
        w.inbox.checks_open.clear()
        client.send(mqtt5.ConnectPacket(D1).write())
        await until(lambda: w.endpoint._checks)
        client.cut()
        await asyncio.sleep(0.05)
        w.inbox.checks_open.set()

        await until(lambda: w.inbox.ended)
        await until(lambda: not w.endpoint.connections)
        assert w.endpoint.session_count == 0


async def test_a_stop_cuts_who_does_not_say_goodbye(tmp_path: Path) -> None:
    async with world(tmp_path, shutdown_timeout_s=0.1) as w:
        deaf = await w.device()
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]

        await w.endpoint.stop()

        assert w.endpoint.connections == 0


async def test_an_endpoint_that_never_ran_can_be_stopped(tmp_path: Path) -> None:
    made = World(Pki(tmp_path), Limits())
    made.endpoint.listen("127.0.0.1", 0)

    await made.endpoint.stop()
