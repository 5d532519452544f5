"""Peers that mean harm, or are broken: each is refused, and nobody else notices."""

import asyncio
import random
import socket
import ssl
from pathlib import Path
from typing import Any

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.app.errors import NotAuthenticated
from controller.bucket import Bucket
from controller.edge.identity import name_of_peer
from controller.signing.authority import Authority
from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.world import D1, D2, TENANT, Client, World, now, until, world


def name_of(reason: Any) -> str:
    """Return a reason code's name; the library's enumerations have no `name`."""
    return repr(reason).partition(".")[2].partition(":")[0]


def code(packet: Any) -> str:
    return name_of(packet.reason_code)


async def works(w: World, device: Client) -> None:
    """Check that a device is served as if nothing had happened."""
    device.publish(b"still here")
    assert (await device.packet()).reason_code == 0
    assert w.endpoint.write(device.name, DownlinkKind.COMMAND, b"go")
    packet = await device.packet()
    device.send(mqtt5.PubAckPacket(packet.packet_id).write())


# --- who is it ------------------------------------------------------------------------------------------------


async def test_a_client_id_of_another_device_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        victim = await w.device(D1)
        thief = await w.client(D2)

        assert code(await thief.connect(D1)) == "CLIENT_ID_NOT_VALID"
        assert await thief.packet() is None
        await works(w, victim)
        assert w.endpoint.session(D2) == 0


async def test_a_blocked_device_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.inbox.blocked.add(D1)
        client = await w.client()

        assert code(await client.connect()) == "NOT_AUTHORIZED"
        assert await client.packet() is None
        assert w.inbox.ended == []
        assert w.endpoint.counts.connects_refused["not_authorized"] == 1


async def test_a_check_that_fails_lets_nobody_in(tmp_path: Path) -> None:
    async with world(tmp_path, connect_timeout_s=0.1) as w:
        w.inbox.check_error = OSError("no database")
        assert code(await (await w.client()).connect()) == "SERVER_UNAVAILABLE"

        w.inbox.check_error = None
        w.inbox.checks_open.clear()
        assert code(await (await w.client()).connect()) == "SERVER_UNAVAILABLE"


async def test_a_certificate_of_another_tenant_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        stranger = await w.client("other:d1")
        stranger.send(mqtt5.ConnectPacket("other:d1").write())

        assert await stranger.packet() is None
        assert w.endpoint.counts.ended["certificate"] == 1


async def test_certificates_that_do_not_count_do_not_get_through_the_handshake(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        foreign = w.pki.device(D1, authority=Authority.create(TENANT, at=now()))
        server = tmp_path / "as-client.pem"
        issued = w.pki.authority.server_certificate(["localhost"], at=now())
        server.write_bytes(issued.key_pem + issued.certificate_pem)

        for certificate in (None, foreign, server):
            client = await w.connect_with(w.pki.client_context(certificate))
            client.send(mqtt5.ConnectPacket(D1).write())
            assert await client.packet() is None
        await until(lambda: w.endpoint.counts.handshakes_failed.total() == 3)
        assert w.endpoint.connections == 0
        assert w.endpoint.counts.handshakes_failed["PEER_DID_NOT_RETURN_A_CERTIFICATE"] == 1
        assert w.endpoint.counts.handshakes_failed["CERTIFICATE_VERIFY_FAILED"] == 2


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        context = w.pki.client_context(w.pki.device(D1))
        context.maximum_version = ssl.TLSVersion.TLSv1_2

        with pytest.raises((ssl.SSLError, ConnectionError)):
            await w.connect_with(context)


@pytest.mark.parametrize(
    "names",
    [
        (),
        (("DNS", "acme:d1"),),
        (("URI", "urn:other:acme:d1"),),
        (("URI", "urn:tidegate:acme:d1"), ("URI", "urn:tidegate:acme:d2")),
        (("URI", "urn:tidegate:acme:d1"), ("DNS", "x")),
        (("URI", "urn:tidegate:acme"),),
        (("URI", "urn:tidegate:acme:+"),),
        (("URI", "urn:tidegate:acme:a/b"),),
        (("URI", "urn:tidegate:other:d1"),),
        (("URI", "urn:tidegate:acme:d1:x"),),
    ],
)
def test_only_exactly_one_name_of_ours_identifies(names: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(NotAuthenticated):
        name_of_peer({"subjectAltName": names}, TENANT)
    with pytest.raises(NotAuthenticated):
        name_of_peer(None, TENANT)


def test_the_name_is_the_one_in_the_certificate() -> None:
    assert name_of_peer({"subjectAltName": (("URI", "urn:tidegate:acme:d1"),)}, TENANT) == D1


# --- what may it do -------------------------------------------------------------------------------------------

FOREIGN_UP = [
    str(Uplink(D2, UplinkKind.REPORT)),
    str(Downlink(D1, DownlinkKind.COMMAND)),
    str(Downlink(D2, DownlinkKind.COMMAND)),
    "tg/1/u/0/acme:d1/report",
    "tg/1/u/170/acme:d1/other",
    str(Uplink(D1, UplinkKind.REPORT)) + "/x",
    "$SYS/x",
]


@pytest.mark.parametrize("topic", FOREIGN_UP)
async def test_a_device_publishes_only_to_its_own_topics(tmp_path: Path, topic: str) -> None:
    async with world(tmp_path) as w:
        device = await w.device()
        device.publish(b"forged", topic)
        assert code(await device.packet()) == "NOT_AUTHORIZED"
        device.send(mqtt5.PublishPacket(topic, b"forged").write())

        await works(w, device)

        assert w.inbox.payloads == [b"still here"]
        assert w.endpoint.counts.forbidden_publishes == 2


async def test_a_device_subscribes_only_to_its_own_topics(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = await w.client()
        await device.connect()
        own, foreign = (str(Downlink(n, DownlinkKind.COMMAND)) for n in (D1, D2))
        answer = await device.subscribe(own, foreign, "#", f"tg/1/d/{D1}/+", "$share/g/" + own, device.up())

        codes = [name_of(reason) for reason in answer.reason_codes]
        assert codes == ["GRANTED_QOS_AT_LEAST_ONCE", *["NOT_AUTHORIZED"] * 5]
        assert w.endpoint.counts.forbidden_subscribes == 5
        low = await device.subscribe(str(Downlink(D1, DownlinkKind.ACK)), qos=mqtt5.QoS.AT_MOST_ONCE)
        assert name_of(low.reason_codes[0]) == "IMPLEMENTATION_SPECIFIC_ERROR"


@pytest.mark.parametrize(
    ("will", "expected"),
    [
        (mqtt5.Will(str(Uplink(D2, UplinkKind.GONE)), payload=b""), "NOT_AUTHORIZED"),
        (mqtt5.Will(str(Uplink(D1, UplinkKind.REPORT)), payload=b""), "NOT_AUTHORIZED"),
        (mqtt5.Will(str(Uplink(D1, UplinkKind.GONE)), retain=True), "RETAIN_NOT_SUPPORTED"),
        (mqtt5.Will(str(Uplink(D1, UplinkKind.GONE)), qos=mqtt5.QoS.EXACTLY_ONCE), "QUALITY_NOT_SUPPORTED"),
    ],
)
async def test_a_will_is_checked_at_connect(tmp_path: Path, will: mqtt5.Will, expected: str) -> None:
    async with world(tmp_path) as w:
        client = await w.client()

        assert code(await client.connect(will=will)) == expected
        assert await client.packet() is None


# --- what does it send ----------------------------------------------------------------------------------------


async def test_mqtt_3_gets_an_answer_that_it_understands(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for hello in (b"\x00\x04MQTT\x04", b"\x00\x06MQIsdp\x03"):
            body = hello + b"\x02\x00\x3c\x00\x00"
            client = await w.client()
            client.send(bytes([0x10, len(body)]) + body)

            assert await client.reader.read(100) == b"\x20\x02\x00\x01"
        assert w.endpoint.counts.ended["old_protocol"] == 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x32\xff\xff\x7f", "PACKET_TOO_LARGE"),
        (b"\x00\x00", "MALFORMED_PACKET"),
        (b"\x30\x05\x00\x02\xff\xfe\x00", "MALFORMED_PACKET"),
        (b"\x34\x06\x00\x01a\x00\x01\x00", "QOS_NOT_SUPPORTED"),
        (b"\x30\x07\x00\x01a\x03\x23\x00\x01", "TOPIC_ALIAS_INVALID"),
        (mqtt5.ConnectPacket(D1).write(), "PROTOCOL_ERROR"),
        (mqtt5.ConnAckPacket().write(), "PROTOCOL_ERROR"),
        (mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a")] * 9).write(), "QUOTA_EXCEEDED"),
        (mqtt5.UnsubscribePacket(1, ["a"] * 9).write(), "QUOTA_EXCEEDED"),
    ],
)
async def test_a_session_that_breaks_the_protocol_is_ended_with_the_reason(
    tmp_path: Path, data: bytes, expected: str
) -> None:
    async with world(tmp_path) as w:
        other, bad = await w.device(D2), await w.client()
        await bad.connect(will=bad.will())
        bad.send(data)

        assert code(await bad.packet()) == expected
        assert await bad.packet() is None
        await until(lambda: w.inbox.ended)
        assert w.inbox.payloads == [b"gone"]
        await works(w, other)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xc0\x00", "PROTOCOL_ERROR"),
        (b"\x10\xff\xff\x7f", "PACKET_TOO_LARGE"),
        (b"\xff\xff\xff\xff\xff", "MALFORMED_PACKET"),
        (mqtt5.ConnectPacket(D1, authentication_method="SCRAM").write(), "BAD_AUTHENTICATION_METHOD"),
        (b"\x30\x07\x00\x01a\x03\x23\x00\x01", "PROTOCOL_ERROR"),
    ],
)
async def test_who_does_not_begin_with_connect_is_refused(tmp_path: Path, data: bytes, expected: str) -> None:
    async with world(tmp_path) as w:
        client = await w.client()
        client.send(data)

        assert code(await client.packet()) == expected
        assert await client.packet() is None


async def test_more_unanswered_messages_than_announced_end_the_session(tmp_path: Path) -> None:
    async with world(tmp_path, uplink_window=3) as w:
        device = await w.device()
        w.inbox.open.clear()
        for _ in range(4):
            device.publish(b"x")

        assert code(await device.packet()) == "RECEIVE_MAX_EXCEEDED"


async def test_a_flood_is_slowed_down_and_nobody_else_is(tmp_path: Path) -> None:
    async with world(tmp_path, packets_per_second=50.0, packets_burst=20) as w:
        flood, other = await w.device(D1), await w.device(D2)
        flood.send(mqtt5.PingReqPacket().write() * 5_000)
        await until(lambda: w.endpoint.counts.throttled)

        await works(w, other)
        await flood.packet()
        await asyncio.sleep(0.2)
        assert w.endpoint.counts.throttled < 100
        assert w.endpoint.session(D1) > 0


async def test_who_asks_and_never_reads_is_not_read_either_and_cut_in_the_end(tmp_path: Path) -> None:
    limits = {"packets_per_second": 1e9, "packets_burst": 10**9, "write_buffer_bytes_max": 2_000}
    async with world(tmp_path, keepalive_factor=0.3, **limits) as w:
        w.endpoint._listeners[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        deaf = await w.device(keep_alive=1)
        deaf.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]

        async def ask() -> None:
            while not deaf.writer.is_closing():
                deaf.send(mqtt5.PingReqPacket().write() * 8_000)
                await asyncio.sleep(0.01)

        asking = asyncio.create_task(ask())
        await until(lambda: w.endpoint.counts.ended["keepalive"])
        asking.cancel()
        assert w.endpoint.session(D1) == 0


async def test_a_device_that_does_not_read_is_written_to_only_so_far(tmp_path: Path) -> None:
    async with world(tmp_path, window=60_000, write_buffer_bytes_max=100_000) as w:
        deaf = await w.device()
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        written = 0
        while w.endpoint.write(D1, DownlinkKind.COMMAND, b"x" * 10_000):
            written += 1
            await asyncio.sleep(0)
            assert written < 5_000

        assert w.endpoint._live[D1].unsent_bytes <= 150_000


async def test_plain_text_and_silence_at_the_socket_keep_nobody_out(tmp_path: Path) -> None:
    async with world(tmp_path, handshakes_max=2, handshake_slot_s=0.02, handshake_timeout_s=1.5) as w:
        idle = [await asyncio.open_connection("127.0.0.1", w.port) for _ in range(10)]
        _, plain = await asyncio.open_connection("127.0.0.1", w.port)
        plain.write(mqtt5.ConnectPacket(D1).write())

        async with asyncio.timeout(1.4):
            await works(w, await w.device())

        await until(lambda: w.endpoint.counts.handshakes_failed.total() == 11)
        for _, writer in [*idle, (None, plain)]:
            writer.close()


async def test_more_connections_than_allowed_are_closed_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, connections_max=1) as w:
        device = await w.device()

        with pytest.raises((ConnectionError, ssl.SSLError)):
            await w.client(D2)
        assert w.endpoint.counts.connects_refused["full"] == 1
        await works(w, device)


async def test_too_many_ended_sessions_to_be_noted_hold_new_ones_back(tmp_path: Path) -> None:
    async with world(tmp_path, farewells_max=0) as w:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await w.client()


async def test_a_socket_that_cannot_be_accepted_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.edge.acceptor.ACCEPT_RETRY_S", 0.01)
    async with world(tmp_path) as w:
        loop = asyncio.get_running_loop()
        accept, failures = loop.sock_accept, [OSError(24, "Too many open files"), OSError()]

        async def flaky(listener: socket.socket) -> Any:
            if failures:
                raise failures.pop()
            return await accept(listener)

        monkeypatch.setattr(loop, "sock_accept", flaky)
        await works(w, await w.device())


async def test_junk_of_many_never_disturbs_one(tmp_path: Path) -> None:
    rng = random.Random(7)
    async with world(tmp_path) as w:
        good = await w.device(D2)
        for _ in range(30):
            bad = await w.client()
            if rng.random() < 0.5:
                await bad.connect()
            bad.send(rng.randbytes(rng.randrange(1, 3_000)))
            if rng.random() < 0.3:
                bad.cut()
            await works(w, good)
            if rng.random() < 0.5:
                bad.cut()
        assert w.endpoint.session(D2) > 0


async def test_log_lines_about_peers_are_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with world(tmp_path, log_lines_burst=3, log_lines_per_second=30.0) as w:
        device = await w.device()
        for _ in range(50):
            device.publish(b"x", "forbidden")
        for _ in range(50):
            await device.packet()
        await asyncio.sleep(0.1)
        device.publish(b"x", "forbidden")
        await device.packet()

        lines = [line for line in capsys.readouterr().out.splitlines() if "publish_forbidden" in line]
        assert 3 <= len(lines) <= 20
        assert "suppressed" in lines[-1]


@given(st.lists(st.sampled_from(["take", "wait"]), max_size=60))
def test_a_bucket_never_gives_more_than_its_rate_and_burst(steps: list[str]) -> None:
    bucket, at, taken = Bucket(rate=2, burst=5), 0.0, 0
    for step in steps:
        if step == "take":
            taken += bucket.take(at)
        else:
            at += 0.25
    assert taken <= 5 + 2 * at
