"""Losing sight of who is connected: presence is void first, and then everybody who was online is asked for a hello."""

from collections.abc import Collection

import pytest
from structlog.testing import capture_logs

from controller.app import devices, presence, runs
from controller.app.ports import Disposition
from protocol.ids import PARTITIONS, Name, partition_of
from protocol.topics import DownlinkKind
from protocol.units import SECOND
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import ADMIN, INCARNATION, Rig, stage

ALL = range(PARTITIONS)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b", "c")
    rig.connect("a", "b")
    return rig


def online(rig: Rig) -> list[str]:
    listed = run_now(devices.list_devices(rig.controller, ADMIN, labels={})).items
    return [device.device for device in listed if device.online]


def lose_sight(rig: Rig, partitions: Collection[int] = ALL) -> None:
    rig.wait(rig.inbox.lost_sight(partitions))
    rig.pump()


def asked(rig: Rig) -> list[str]:
    return [name for name, device in rig.devices.items() if any(ack.hello_within_ms for ack in device.acks)]


def test_whoever_was_online_counts_as_gone_and_is_asked_for_a_hello(rig: Rig) -> None:
    lose_sight(rig)

    assert (online(rig), asked(rig)) == ([], ["a", "b"])
    (ack,) = rig.devices["a"].acks
    assert (ack.device, ack.incarnation, ack.stored, ack.hello_within_ms) == ("acme:a", INCARNATION, (), 10 * SECOND)


def test_presence_of_an_earlier_life_of_the_transport_is_asked_about_too(rig: Rig) -> None:
    rig.wire.instance = 8
    lose_sight(rig)
    assert asked(rig) == ["a", "b"]


def test_devices_of_other_partitions_are_left_alone(rig: Rig) -> None:
    lose_sight(rig, [partition_of(rig.devices["b"].name)])
    assert (online(rig), asked(rig)) == (["a"], ["b"])


def test_a_device_that_is_void_is_not_released_before_it_says_hello(rig: Rig) -> None:
    lose_sight(rig)
    run = rig.start(stage())
    assert rig.counters(run) == {"queued": 3}

    assert rig.hello("a") is Disposition.STORED
    assert rig.counters(run) == {"queued": 2, "in_progress": 1}


def test_a_device_that_waits_in_a_run_already_is_void_there_too(rig: Rig) -> None:
    rig.lose("a", "b")
    run = rig.start(stage())
    rig.do(runs.pause, run=run, reason="wait")
    rig.connect("a", "b")
    lose_sight(rig)
    rig.do(runs.resume, run=run)
    assert rig.counters(run) == {"queued": 3}


def test_a_request_that_the_transport_cannot_take_is_tried_again_a_little_later(rig: Rig) -> None:
    write = rig.wire.write
    refused: list[Name] = []

    def busy(name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        if len(refused) < 3:
            refused.append(name)
            return False
        return write(name, kind, payload)

    rig.wire.write = busy  # type: ignore[method-assign]
    before = rig.clock.time
    lose_sight(rig)

    assert asked(rig) == ["a", "b"]
    assert rig.clock.time - before == 2 * presence.ASK_AGAIN_MS


def test_whom_the_transport_cannot_reach_is_not_tried_for_ever(rig: Rig) -> None:
    rig.wire.sessions.clear()
    before = rig.clock.time
    with capture_logs() as logs:
        lose_sight(rig)
    assert [(one["event"], one["devices"]) for one in logs] == [("hellos_not_asked", 2)]
    assert rig.clock.time - before == presence.ASK_TRIES * presence.ASK_AGAIN_MS


def test_more_devices_than_one_transaction_takes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PAGE", 2)
    rig.connect("c")
    lose_sight(rig)
    assert (online(rig), asked(rig)) == ([], ["a", "b", "c"])


def test_presence_is_void_before_anybody_is_asked(rig: Rig) -> None:
    """Else a hello in answer could come first, and be voided with the rest."""
    write, seen = rig.wire.write, []

    def noting(name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        seen.append(online(rig))
        return write(name, kind, payload)

    rig.wire.write = noting  # type: ignore[method-assign]
    lose_sight(rig)
    assert seen == [[], []]
