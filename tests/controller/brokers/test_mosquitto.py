"""What a real Mosquitto makes of the configuration that we write for it."""

import socket
import ssl
import warnings
from pathlib import Path

import pytest

from controller.brokers.plan import PACKET_BYTES_MAX
from controller.clock import SystemClock
from controller.signing.authority import CONTROLLER_NAME, Authority
from protocol.messages import MESSAGE_BYTES_MAX
from protocol.topics import Downlink, DownlinkKind, UplinkKind
from simulator.brokers import ADDRESS, HOST, Kind
from tests.brokers import needs
from tests.controller.brokers.conftest import Start
from tests.controller.brokers.world import D1, D2, LANE, TENANT, World, up

pytestmark = needs(Kind.MOSQUITTO)

REFUSED = "Not authorized"
TO_D1, TO_D2 = (str(Downlink(name, DownlinkKind.COMMAND)) for name in (D1, D2))


@pytest.fixture
def world(start: Start) -> World:
    return start(Kind.MOSQUITTO)


@pytest.mark.parametrize("is_mqtt5", [False, True], ids=["3.1.1", "5"])
def test_the_controller_hears_every_device_and_speaks_to_each(world: World, is_mqtt5: bool) -> None:
    lane = world.lane(is_mqtt5=is_mqtt5)
    assert lane.subscribe("tg/1/u/#").startswith("Granted QoS 1")
    devices = [world.connect(name) for name in (D1, D2)]
    for device, topic in zip(devices, (TO_D1, TO_D2), strict=True):
        device.subscribe(topic)
        lane.say(topic, topic.encode())
        device.until_heard((topic, topic.encode()))
    for device, name in zip(devices, (D1, D2), strict=True):
        device.say(up(name), b"word")
    lane.until(lambda: lane.received == [(up(D1), b"word"), (up(D2), b"word")])


def test_a_device_speaks_under_its_own_name_alone(world: World) -> None:
    lane, device = world.lane(), world.connect(D1)
    lane.subscribe("tg/1/u/#")
    for topic in (up(D2), TO_D2, TO_D1, "tg/1/u/0", "other", f"tg/1/u/0/{D1}x/report"):
        device.say(topic, b"forged")
    device.say(up(D1), b"true")
    lane.until(lambda: lane.received)
    assert lane.received == [(up(D1), b"true")]


def test_a_device_hears_only_what_is_for_it(world: World) -> None:
    lane, nosy, other = world.lane(), world.connect(D1), world.connect(D2)
    for topic in ("#", "tg/#", "tg/1/d/#", "tg/1/d/+/cmd", TO_D2, "tg/1/u/#", up(D2), "$SYS/#"):
        nosy.subscribe(topic)
    other.say(up(D2), b"a report")
    lane.say(TO_D2, b"a command")
    lane.say(TO_D1, b"its own")
    nosy.until(lambda: nosy.received)
    assert set(nosy.received) == {(TO_D1, b"its own")}


def test_a_device_is_who_its_certificate_says_whatever_client_id_it_names(world: World) -> None:
    lane, victim = world.lane(), world.connect(D1)
    thief = world.client(D1, world.device(D2), port=world.broker.device_port)
    world.client(LANE, world.device(D2), port=world.broker.device_port)
    victim.say(up(D1), b"still here")
    assert victim.is_connected
    assert lane.is_connected
    thief.until(lambda: not thief.is_connected)  # by the next one, who is the same device


@pytest.mark.parametrize("client_id", [LANE, D1], ids=["a lane's", "a device's"])
@pytest.mark.parametrize(
    "login",
    [None, (CONTROLLER_NAME, ""), (CONTROLLER_NAME, "guessed"), (D2, "guessed")],
    ids=["none", "no password", "wrong password", "own name"],
)
def test_a_device_takes_no_session_over_at_the_controllers_listener(
    world: World, client_id: str, login: tuple[str, str] | None
) -> None:
    lane, victim = world.lane(), world.connect(D1)
    thief = world.client(client_id, world.device(D2), port=world.broker.controller_port, login=login)
    assert (thief.is_connected, thief.answer) == (False, REFUSED)
    victim.say(up(D1), b"still here")
    lane.say(TO_D1, b"still here")
    assert victim.is_connected
    assert lane.is_connected


def test_the_lanes_password_is_no_use_at_the_devices_listener(world: World) -> None:
    lane = world.lane()
    lane.subscribe("tg/1/u/#")
    url = world.broker.url
    password = url.partition("@")[0].rpartition(":")[2]
    thief = world.client(LANE, world.device(D2), port=world.broker.device_port, login=(CONTROLLER_NAME, password))
    thief.say(TO_D1, b"forged")
    thief.say(up(D1), b"forged")
    thief.say(up(D2), b"true")
    lane.until(lambda: lane.received)
    assert lane.received == [(up(D2), b"true")]


@pytest.mark.parametrize("listener", ["device_port", "controller_port"])
def test_nobody_connects_without_a_certificate_of_the_installation(world: World, listener: str, tmp_path: Path) -> None:
    foreign = Authority.create(TENANT, at=SystemClock().now())
    password = world.broker.url.partition("@")[0].rpartition(":")[2]
    options = {"port": getattr(world.broker, listener), "login": (CONTROLLER_NAME, password)}
    for certificate in (None, world.device(D1, authority=foreign)):
        client = world.client(D1, certificate, **options)
        assert not client.is_connected
        assert client.answer not in {"", "Success"}


@pytest.mark.parametrize("listener", ["device_port", "controller_port"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_old_versions_of_tls_are_refused(world: World, version: ssl.TLSVersion, listener: str) -> None:
    handshake(world, listener, ssl.TLSVersion.TLSv1_3)
    with pytest.raises(ssl.SSLError, match="alert protocol version"):
        handshake(world, listener, version)


def handshake(world: World, listener: str, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(world.broker.ca))
    context.load_cert_chain(world.device(D1))
    context.set_ciphers("ALL:@SECLEVEL=0")  # else we would refuse TLS 1.1 ourselves
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
    plain = socket.create_connection((ADDRESS, getattr(world.broker, listener)), timeout=5)
    with plain, context.wrap_socket(plain, server_hostname=HOST) as connection:
        assert connection.version() == "TLSv1.3"


def test_the_largest_message_passes_and_one_that_no_device_sends_ends_the_connection(world: World) -> None:
    lane, device = world.lane(), world.connect(D1)
    lane.subscribe("tg/1/u/#")
    device.say(up(D1), bytes(MESSAGE_BYTES_MAX))
    lane.until(lambda: lane.received == [(up(D1), bytes(MESSAGE_BYTES_MAX))])
    assert device.say(up(D1), bytes(PACKET_BYTES_MAX)) == ""
    assert not device.is_connected


def test_nothing_is_retained(world: World) -> None:
    device = world.connect(D1)
    assert device.say(up(D1), b"kept for ever", retain=True) == ""
    assert not device.is_connected


def test_a_lane_that_is_away_misses_nothing_and_a_restart_of_the_broker_keeps_it(world: World) -> None:
    lane, device = world.lane(), world.connect(D1)
    lane.subscribe("tg/1/u/#")
    lane.close()
    expected = [(up(D1, UplinkKind.REPORT), str(number).encode()) for number in range(1_500)]
    for topic, payload in expected[:-1]:
        device.paho.publish(topic, payload, qos=1)
    device.say(*expected[-1])
    device.close()
    world.broker.stop()
    world.broker.start()
    again = world.lane()
    assert again.is_session_present
    again.until(lambda: len(again.received) == len(expected))
    assert again.received == expected


def test_a_broker_that_lost_its_disk_knows_no_session(world: World) -> None:
    world.lane().close()
    world.broker.stop()
    world.broker.forget()
    world.broker.start()
    assert not world.lane().is_session_present


def test_a_broker_that_was_killed_comes_back_at_the_same_ports(world: World) -> None:
    before = world.connect(D1)
    world.broker.kill()
    before.until(lambda: not before.is_connected)
    world.broker.start()
    assert world.connect(D1).is_connected
