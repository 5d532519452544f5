"""The link: what counts as a connection, what ends one, and what is never sent."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import mqtt5
import pytest

from agent import clock, mqtt
from agent.enrol import Claim, enrol
from agent.identity import Identity
from agent.mqtt import Down, Link, News, Received, Released, Settings, Up
from protocol.codec import decode
from protocol.messages import MESSAGE_BYTES_MAX, Gone
from protocol.topics import DownlinkKind, UplinkKind
from tests.agent.hub import Hub


class Bench:
    def __init__(self, folder: Path) -> None:
        self.hub = Hub(folder)
        identity = Identity(folder / "identity")
        claim = Claim(token="good", device="kiosk-17", model="", hardware_id="")
        given = enrol(claim, controller=self.hub.url, ca=self.hub.ca, identity=identity, sleep=lambda _s: None)
        settings = Settings(
            host=given.mqtt_host,
            port=given.mqtt_port,
            name=given.name,
            ca=identity.ca,
            device_pem=identity.device_pem,
        )
        self.news: queue.Queue[News] = queue.Queue()
        self.link = Link(settings, self.news.put, spread_ms=lambda: 0)

    def next(self, kind: type[News]) -> News:
        while True:
            found = self.news.get(timeout=15)
            if isinstance(found, kind):
                return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(mqtt, "BACKOFF_BASE_MS", 10)
    monkeypatch.setattr(mqtt, "BACKOFF_CAP_MS", 200)
    monkeypatch.setattr(mqtt, "WATCH_SECONDS", 0.05)
    bench = Bench(tmp_path)
    bench.link.start()
    yield bench
    bench.link.stop(seconds=5)
    bench.hub.close()


def test_messages_go_both_ways_and_the_will_says_which_connection_is_gone(bench: Bench) -> None:
    up = bench.next(Up)
    bench.hub.send_raw(b"bytes")
    assert bench.next(Received) == Received(kind=DownlinkKind.COMMAND, raw=b"bytes")
    bench.link.stop(seconds=5)
    bench.next(Down)
    bench.hub.until(lambda: bench.hub.disconnects)
    assert bench.hub.disconnects == ["4"]
    assert isinstance(up, Up)
    assert decode(bench.hub.wills[0], Gone).connection == up.nonce


def test_each_connection_has_a_nonce_of_its_own(bench: Bench) -> None:
    first = bench.next(Up)
    bench.hub.cut()
    bench.next(Down)
    assert bench.next(Up) != first
    bench.link.reconnect()
    bench.next(Down)
    bench.next(Up)


def test_a_refused_report_is_released_with_its_code(bench: Bench) -> None:
    bench.next(Up)
    bench.hub.puback = mqtt5.PubAckReasonCode.NOT_AUTHORIZED
    bench.hub.acks = False
    bench.hub.deaf = True
    bench.link.publish(UplinkKind.REPORT, b"report", qos=1, report_seq=7)
    assert bench.next(Released) == Released(report_seq=7, code=0x87)


def test_what_is_too_long_is_never_handed_to_paho(bench: Bench) -> None:
    bench.next(Up)
    bench.hub.deaf = True
    bench.link.publish(UplinkKind.REPORT, bytes(MESSAGE_BYTES_MAX + 1), qos=1, report_seq=1)
    bench.link.publish(UplinkKind.REPORT, bytes(10), qos=1, report_seq=2)
    assert bench.next(Released) == Released(report_seq=2, code=0)


def test_refused_subscriptions_and_connects_are_no_connection(bench: Bench) -> None:
    bench.next(Up)
    bench.hub.suback = mqtt5.SubAckReasonCode.NOT_AUTHORIZED
    bench.hub.cut()
    bench.next(Down)
    bench.hub.until(lambda: bench.hub.subscribe_count >= 3)
    assert bench.news.empty()
    bench.hub.connack = mqtt5.ConnAckReasonCode.NOT_AUTHORIZED
    bench.hub.until(lambda: bench.hub.refused_count >= 2)
    bench.hub.suback = mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE
    bench.hub.connack = mqtt5.ConnAckReasonCode.SUCCESS
    bench.next(Up)


def test_a_silent_or_suspended_connection_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.next(Up)
    now = clock.boottime_ms()
    with monkeypatch.context() as patch:
        patch.setattr(mqtt, "boottime_ms", lambda: now + 751_000)
        bench.next(Down)
    bench.next(Up)
    slept = clock.suspended_ms()
    with monkeypatch.context() as patch:
        patch.setattr(mqtt, "suspended_ms", lambda: slept + 11_000)
        bench.next(Down)
    bench.next(Up)


def test_an_exception_in_a_callback_ends_the_connection_not_the_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.next(Up)
    failed = threading.Event()

    def fail(_topic: str) -> None:
        failed.set()
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(mqtt, "parse", fail)
        bench.hub.send_raw(b"bytes")
        assert failed.wait(5)
        bench.next(Down)
    bench.next(Up)
    bench.hub.send_raw(b"again")
    assert bench.next(Received) == Received(kind=DownlinkKind.COMMAND, raw=b"again")


def test_a_burst_of_reports_is_answered_one_by_one(bench: Bench) -> None:
    """Publishing while paho calls back with answers: a lock held around both once stopped everything."""
    bench.next(Up)
    bench.hub.deaf = True
    for report_seq in range(1, 501):
        bench.link.publish(UplinkKind.REPORT, b"report", qos=1, report_seq=report_seq)
        bench.link.publish(UplinkKind.TICK, b"tick", qos=0)
    answered = {bench.next(Released) for _ in range(500)}
    assert answered == {Released(report_seq=n, code=0) for n in range(1, 501)}
