"""The link: what counts as a connection, what ends one, and what is never sent."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mqtt5
import pytest

from agent import clock, connection, mqtt
from agent.connection import Down, News, Received, Released, Settings, Up
from agent.enrol import Claim, enrol
from agent.identity import Identity
from agent.mqtt import Link
from protocol.codec import decode
from protocol.messages import MESSAGE_BYTES_MAX, Gone
from protocol.profiles import Profile
from protocol.topics import DownlinkKind, UplinkKind
from tests.agent.hub import Hub
from tests.agent.old_hub import OldHub


class Bench:
    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub = hub
        identity = Identity(folder / "identity")
        claim = Claim(token="good", device="kiosk-17", model="", hardware_id="")
        given = enrol(claim, controller=self.hub.url, ca=self.hub.ca, identity=identity, sleep=lambda _s: None)
        settings = Settings(
            host=given.mqtt_host,
            port=given.mqtt_port,
            name=given.name,
            ca=identity.ca,
            device_pem=identity.device_pem,
            profile=given.mqtt_profile,
        )
        self.news: queue.Queue[News] = queue.Queue()
        self.link = Link(settings, self.news.put, spread_ms=lambda: 0)

    def next(self, kind: type[News]) -> News:
        while True:
            found = self.news.get(timeout=15)
            if isinstance(found, kind):
                return found


@contextmanager
def running(hub: Hub, folder: Path) -> Iterator[Bench]:
    bench = Bench(hub, folder)
    bench.link.start()
    yield bench
    bench.link.stop(seconds=5)
    hub.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "BACKOFF_BASE_MS", 10)
    monkeypatch.setattr(mqtt, "BACKOFF_CAP_MS", 200)
    monkeypatch.setattr(connection, "WATCH_SECONDS", 0.05)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with running(Hub(tmp_path), tmp_path) as bench:
        yield bench


@pytest.fixture(params=[Profile.MQTT311, Profile.MQTT311_QOS0])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with running(OldHub(tmp_path, request.param), tmp_path) as bench:
        yield bench


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
        patch.setattr(connection, "boottime_ms", lambda: now + 751_000)
        bench.next(Down)
    bench.next(Up)
    slept = clock.suspended_ms()
    with monkeypatch.context() as patch:
        patch.setattr(connection, "suspended_ms", lambda: slept + 11_000)
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
        patch.setattr(connection, "parse", fail)
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


# --- MQTT 3.1.1 ---


def hub_of(bench: Bench) -> OldHub:
    assert isinstance(bench.hub, OldHub)
    return bench.hub


def test_mqtt_3_1_1_is_spoken_where_the_enrolment_says_so(old: Bench) -> None:
    up, hub = old.next(Up), hub_of(old)
    assert (hub.level, hub.is_clean) == (4, True)
    assert hub.asked_qos == [hub.profile.downlink_qos] * 2
    hub.send_raw(b"bytes")
    assert old.next(Received) == Received(kind=DownlinkKind.COMMAND, raw=b"bytes")
    assert isinstance(up, Up)
    assert decode(hub.wills[0], Gone).connection == up.nonce


def test_in_mqtt_3_1_1_a_report_is_released_without_a_reason(old: Bench) -> None:
    old.next(Up)
    old.hub.deaf = True
    old.link.publish(UplinkKind.REPORT, b"report", qos=1, report_seq=7)
    assert old.next(Released) == Released(report_seq=7, code=0)


def test_in_mqtt_3_1_1_no_goodbye_is_said_as_it_would_take_the_will_away(old: Bench) -> None:
    old.next(Up)
    old.link.stop(seconds=5)
    old.next(Down)
    hub_of(old).until(lambda: hub_of(old).ended_count)
    assert hub_of(old).disconnects == []


def test_in_mqtt_3_1_1_refused_subscriptions_and_connects_are_no_connection(old: Bench) -> None:
    old.next(Up)
    hub = hub_of(old)
    hub.granted = 0x80
    hub.cut()
    old.next(Down)
    hub.until(lambda: hub.subscribe_count >= 3)
    assert old.news.empty()
    hub.return_code = 5
    hub.until(lambda: hub.refused_count >= 2)
    hub.granted, hub.return_code = None, 0
    old.next(Up)
