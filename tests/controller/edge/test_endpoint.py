"""The endpoint with real sockets and mutual TLS on loopback."""

from pathlib import Path

import mqtt5

from controller.app.ports import Disposition
from protocol.topics import Downlink, DownlinkKind, UplinkKind
from tests.controller.edge.world import D1, until, world


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
