"""What a real NATS server makes of the configuration that we write for it, gaps included."""

from pathlib import Path

import pytest

from controller.brokers.nats import render
from controller.brokers.plan import Plan
from protocol.errors import InvalidName
from protocol.ids import Name
from protocol.topics import Downlink, DownlinkKind
from simulator.brokers import Kind
from tests.brokers import needs
from tests.controller.brokers.conftest import Start
from tests.controller.brokers.world import D1, D2, LANE, World, up

pytestmark = needs(Kind.NATS)

TO_D1, TO_D2 = (str(Downlink(name, DownlinkKind.COMMAND)) for name in (D1, D2))
REFUSED = "Unspecified error"


@pytest.fixture
def world(start: Start) -> World:
    return start(Kind.NATS)


def test_the_controller_hears_every_device_and_speaks_to_each(world: World) -> None:
    lane, devices = world.lane(), [world.connect(name) for name in (D1, D2)]
    assert lane.subscribe("tg/1/u/#") == "Granted QoS 1"
    for device, name, topic in zip(devices, (D1, D2), (TO_D1, TO_D2), strict=True):
        device.subscribe(f"tg/1/d/{name}/#", qos=0)
        lane.say(topic, topic.encode())
        device.until_heard((topic, topic.encode()))
        device.say(up(name), b"word")
    lane.until(lambda: lane.received == [(up(D1), b"word"), (up(D2), b"word")])


def test_a_device_neither_hears_the_uplink_nor_speaks_on_the_downlink(world: World) -> None:
    lane, nosy, victim = world.lane(), world.connect(D1), world.connect(D2)
    victim.subscribe(f"tg/1/d/{D2}/#", qos=0)
    for topic in ("#", "tg/1/u/#", up(D2)):
        assert nosy.subscribe(topic, qos=0) == REFUSED
    nosy.say(TO_D2, b"forged")
    lane.say(TO_D2, b"true")
    victim.until(lambda: victim.received)
    assert victim.received == [(TO_D2, b"true")]


def test_what_the_configuration_says_of_gaps_is_so(world: World) -> None:
    """If this fails, NATS has learnt something: tell so in the comment of the configuration."""
    lane, other = world.lane(), world.connect(D2)
    lane.subscribe("tg/1/u/#")
    assert other.subscribe(f"tg/1/d/{D1}/#", qos=0) == "Granted QoS 0"
    other.say(up(D1), b"under another name")
    lane.until(lambda: lane.received == [(up(D1), b"under another name")])
    world.client(LANE, world.device(D2), port=world.broker.device_port)
    lane.until(lambda: not lane.is_connected)


@pytest.mark.parametrize("is_shown", [True, False], ids=["certificate", "none"])
def test_nobody_is_the_controller_without_its_password_or_connects_without_a_certificate(
    world: World, is_shown: bool
) -> None:
    certificate = world.device(D1) if is_shown else None
    login = ("tidegate-controller", "guessed")
    assert not world.client(LANE, certificate, port=world.broker.device_port, login=login).is_connected


def test_a_lane_that_is_away_misses_nothing_when_the_broker_is_killed(world: World) -> None:
    lane, device = world.lane(), world.connect(D1)
    lane.subscribe("tg/1/u/#")
    lane.close()
    for number in range(50):
        device.say(up(D1), str(number).encode())
    world.broker.kill()
    world.broker.start()
    again = world.lane()
    assert again.is_session_present
    again.until(lambda: len(again.received) == 50)


def test_devices_with_users_of_their_own_speak_and_hear_as_themselves_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    monkeypatch.setattr("simulator.brokers.nats.render", lambda plan: render(plan, devices=(D1, D2)))
    world = start(Kind.NATS)
    lane, device, other = world.lane(), world.connect(D1), world.connect(D2)
    lane.subscribe("tg/1/u/#")
    assert device.subscribe(f"tg/1/d/{D1}/#", qos=0) == "Granted QoS 0"
    assert other.subscribe(f"tg/1/d/{D1}/#", qos=0) == REFUSED
    other.say(up(D1), b"forged")
    device.say(up(D1), b"true")
    lane.say(TO_D1, b"a command")
    lane.until(lambda: lane.received)
    device.until(lambda: device.received)
    assert lane.received == [(up(D1), b"true")]
    assert device.received == [(TO_D1, b"a command")]
    assert not world.connect(Name("acme:unknown")).is_connected


def test_only_names_of_devices_become_users() -> None:
    plan = Plan(folder="/b", hosts=("localhost",), password="p")
    with pytest.raises(InvalidName):
        render(plan, devices=(Name("acme:d1.>"),))
