"""The client library that agents use, against the endpoint."""

import asyncio
import queue
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from protocol.topics import Downlink, DownlinkKind, Uplink, UplinkKind
from tests.controller.edge.world import D1, D2, World, until, world

REPORT: Final = str(Uplink(D1, UplinkKind.REPORT))
COMMAND: Final = str(Downlink(D1, DownlinkKind.COMMAND))


class Paho:
    """A paho client on its own thread; what happens to it comes out of `events`."""

    def __init__(
        self,
        w: World,
        name: str = D1,
        *,
        client_id: str | None = None,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        manual_ack: bool = False,
    ) -> None:
        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.numbers: queue.Queue[int] = queue.Queue()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name if client_id is None else client_id,
            protocol=version,
            manual_ack=manual_ack,
        )
        self.client.tls_set_context(w.pki.client_context(w.pki.device(name)))
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_publish = self._on_publish
        self.client.on_message = self._on_message
        self._port = w.port

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, _p: Properties | None) -> None:
        self.events.put(("connect", reason.value))

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, _p: Properties | None) -> None:
        self.events.put(("disconnect", reason.value))

    def _on_subscribe(self, _c: Any, _u: Any, _m: int, reasons: list[ReasonCode], _p: Properties | None) -> None:
        self.events.put(("subscribe", [reason.value for reason in reasons]))

    def _on_publish(self, _c: Any, _u: Any, mid: int, reason: ReasonCode, _p: Properties) -> None:
        self.events.put(("publish", (mid, reason.value)))

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        self.numbers.put(message.mid)
        self.events.put(("message", (message.topic, message.payload, message.qos)))

    async def start(self) -> tuple[str, Any]:
        await asyncio.to_thread(self.client.connect, "localhost", self._port, 60)
        self.client.loop_start()
        return await self.event()

    async def event(self) -> tuple[str, Any]:
        return await asyncio.to_thread(self.events.get, timeout=10)

    async def leave(self) -> None:
        self.client.disconnect()
        while (await self.event())[0] != "disconnect":
            pass
        await self.stop()

    async def stop(self) -> None:
        await asyncio.to_thread(self.client.loop_stop)


async def test_paho_connects_subscribes_publishes_and_receives(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = Paho(w)
        assert await device.start() == ("connect", 0)
        topics = [(str(Downlink(D1, kind)), SubscribeOptions(qos=1)) for kind in DownlinkKind]
        device.client.subscribe(topics)
        assert await device.event() == ("subscribe", [1, 1])

        w.inbox.open.clear()
        info = device.client.publish(str(Uplink(D1, UplinkKind.HELLO)), b"hello", qos=1)
        await until(lambda: w.inbox.offers)
        await asyncio.sleep(0.05)
        assert not info.is_published()
        w.inbox.open.set()
        assert await device.event() == ("publish", (info.mid, 0))
        assert w.inbox.payloads == [b"hello"]

        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"go")
        assert await device.event() == ("message", (str(Downlink(D1, DownlinkKind.COMMAND)), b"go", 1))
        await until(lambda: not w.endpoint._live[D1]._unacknowledged)

        device.client.disconnect()
        assert await device.event() == ("disconnect", 0)
        await until(lambda: w.inbox.ended)
        await device.stop()
        assert w.inbox.payloads == [b"hello"]


async def test_paho_acknowledges_a_command_when_it_says_so(tmp_path: Path) -> None:
    async with world(tmp_path, window=2) as w:
        device = Paho(w, manual_ack=True)
        await device.start()
        device.client.subscribe(COMMAND, qos=1)
        await device.event()
        numbers = []
        for payload in (b"1", b"2"):
            assert w.endpoint.write(D1, DownlinkKind.COMMAND, payload)
            assert (await device.event())[1][:2] == (COMMAND, payload)
            numbers.append(device.numbers.get_nowait())
        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"3")

        device.client.ack(numbers[0], 1)
        await until(lambda: len(w.endpoint._live[D1]._unacknowledged) == 1)
        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"3")
        assert (await device.event())[1][:2] == (COMMAND, b"3")
        await device.leave()


async def test_paho_comes_back_by_itself_and_nothing_of_before_with_it(tmp_path: Path) -> None:
    """What it had not acknowledged is the controller's to send again; what it has not heard answered, it repeats."""
    async with world(tmp_path) as w:
        device = Paho(w, manual_ack=True)
        device.client.reconnect_delay_set(1, 1)
        await device.start()
        device.client.subscribe(COMMAND, qos=1)
        await device.event()
        assert w.endpoint.write(D1, DownlinkKind.COMMAND, b"unacknowledged")
        assert (await device.event())[0] == "message"
        w.inbox.open.clear()
        info = device.client.publish(REPORT, b"report", qos=1)
        await until(lambda: w.inbox.offers)
        w.endpoint._live[D1].abort()

        assert (await device.event())[0] == "disconnect"
        assert await device.event() == ("connect", 0)
        w.inbox.open.set()
        assert await device.event() == ("publish", (info.mid, 0))
        assert w.inbox.payloads == [b"report", b"report"]
        assert not w.endpoint.write(D1, DownlinkKind.COMMAND, b"not subscribed any more")
        await device.leave()


async def test_paho_publishes_a_tick_without_an_answer(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = Paho(w)
        await device.start()
        info = device.client.publish(str(Uplink(D1, UplinkKind.TICK)), b"tick", qos=0)
        await until(lambda: w.inbox.payloads == [b"tick"])
        assert info.rc == 0
        await device.leave()


async def test_paho_is_refused_qos_0_for_commands_and_qos_2_for_reports(tmp_path: Path) -> None:
    """QoS 0 down has no window; QoS 2 is above the maximum of our CONNACK, which paho does not look at."""
    async with world(tmp_path) as w:
        device = Paho(w)
        await device.start()
        device.client.subscribe(COMMAND, qos=0)
        assert await device.event() == ("subscribe", [0x83])
        device.client.publish(REPORT, b"twice", qos=2)
        assert await device.event() == ("disconnect", 0x9B)
        await device.stop()
        assert w.inbox.payloads == []


async def test_paho_learns_what_is_forbidden(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        device = Paho(w)
        await device.start()
        device.client.subscribe("#", qos=1)
        assert await device.event() == ("subscribe", [0x87])

        info = device.client.publish(str(Uplink(D2, UplinkKind.REPORT)), b"forged", qos=1)
        assert await device.event() == ("publish", (info.mid, 0x87))

        device.client.disconnect()
        await device.event()
        await device.stop()


async def test_paho_is_told_of_a_takeover_and_its_will_is_published(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        old, new = Paho(w), Paho(w)
        old.client.will_set(str(Uplink(D1, UplinkKind.GONE)), b"nonce", qos=1)
        old.client.reconnect_delay_set(60, 60)
        await old.start()

        assert await new.start() == ("connect", 0)
        assert await old.event() == ("disconnect", 0x8E)
        await until(lambda: w.inbox.payloads == [b"nonce"])

        await old.stop()
        new.client.disconnect()
        await new.event()
        await new.stop()


async def test_paho_with_a_stolen_id_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        thief = Paho(w, D2, client_id=D1)

        assert await thief.start() == ("connect", 0x85)
        await thief.stop()


async def test_paho_with_mqtt_3_learns_that_its_version_is_refused(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        old = Paho(w, version=MQTTProtocolVersion.MQTTv311)

        kind, reason = await old.start()

        await old.stop()
        assert kind == "connect"
        assert reason == 0x84
