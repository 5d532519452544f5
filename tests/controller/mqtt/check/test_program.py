"""The whole probe: at brokers set up well, at such that let nobody in, and when its time is over."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from controller.clock import monotonic_s
from controller.mqtt.check.catalogue import CHECKS, Family, Verdict
from controller.mqtt.check.doors import check_doors
from controller.mqtt.check.findings import Finding, Report, failed, not_checked, passed
from controller.mqtt.check.peer import Refused
from controller.mqtt.check.program import probe
from controller.mqtt.check.redelivery import PURPOSE as REDELIVERY
from controller.mqtt.check.redelivery import check_redelivery
from controller.mqtt.check.restart import PURPOSE as RESTART
from controller.mqtt.check.restart import check_restart
from controller.mqtt.check.site import DEVICES, FIRST, Site
from protocol.profiles import Profile
from simulator.brokers import Kind
from tests.brokers import needs
from tests.controller.mqtt.check.conftest import Make
from tests.controller.mqtt.check.world import QUICK, World, bad, verdicts

mosquitto = needs(Kind.MOSQUITTO)
nats = needs(Kind.NATS)

PATIENT = msgspec.structs.replace(QUICK, redelivery_s=20.0, prompt_s=10.0, whole_s=100.0)
"""NATS sends again after five seconds, and takes its time over acknowledged subscriptions: on a busy machine, long."""


def by_name(report: Report) -> dict[str, Verdict]:
    return {finding.name: finding.verdict for finding in report.findings}


def left_behind(site: Site) -> list[str]:
    """Return the purposes for which the broker still keeps a session, and what it retains."""
    purposes = ("announcements", "session", "queue", REDELIVERY, RESTART)
    left = []
    for purpose in purposes:
        with site.lane(purpose, site.manner(session_s=1)) as lane:
            left += [purpose] if lane.session_present else []
        site.forget(purpose)
    with site.lane("ears") as ears:
        ears.listen("tg/1/u/#")
        ears.wait(lambda: bool(ears.heard), site.limits.settle_s)
        return left + [heard.topic for heard in ears.heard]


@mosquitto
def test_a_mosquitto_set_up_by_us_is_safe_and_keeps_nothing_of_the_probe(make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    world.broker.start()
    site, said = world.site(), list[str]()

    report = probe(site, say=said.append)

    assert [finding.name for finding in report.findings] == [check.name for check in CHECKS]
    assert {name: verdict for name, verdict in by_name(report).items() if verdict is not Verdict.OK} == {
        "restart": Verdict.NOT_CHECKED
    }
    assert report.verdict is Verdict.OK
    assert report.profile is Profile.MQTT5
    assert left_behind(site) == []
    assert sorted(said) == sorted(f"checking {family}" for family in Family)


@mosquitto
def test_what_has_rights_to_retain_is_cleaned_up(make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    world.edit({"retain_available false": ""})
    world.broker.start()
    site = world.site()

    assert probe(site).of("retained").verdict is Verdict.WARNING
    assert left_behind(site) == []


@nats
def test_nats_gets_its_profile_with_its_warnings(make: Make) -> None:
    world = make(Kind.NATS)
    world.broker.start()
    site = world.site(limits=PATIENT)

    report = probe(site)

    found = by_name(report)
    assert report.profile is Profile.MQTT311_QOS0
    assert found["mqtt5"] is Verdict.WARNING
    assert found["subscriptions"] is Verdict.WARNING
    assert found["redelivery-order"] is Verdict.WARNING
    assert found["redelivery"] is Verdict.OK
    assert found["retained"] is Verdict.WARNING
    assert found["lane-id"] is Verdict.UNSAFE
    assert found["foreign-command"] is Verdict.OK
    assert found["receive-maximum"] is Verdict.NOT_CHECKED
    assert report.verdict is Verdict.UNSAFE
    assert left_behind(msgspec.structs.replace(site, version=MQTTProtocolVersion.MQTTv311)) == []


@mosquitto
def test_an_open_listener_beside_the_others_is_found(make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    world.append(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    world.broker.start()

    found = verdicts(check_doors, world.site(limits=msgspec.structs.replace(QUICK, plain_port=port)))

    assert bad(found) == {"plain": Verdict.UNSAFE}
    assert found["plain"].found == f"let in at 127.0.0.1:{port}, localhost:{port}"


@mosquitto
def test_whoever_has_a_certificate_of_our_own_gets_in(make: Make) -> None:
    """As a stranger and as somebody without certificate, a device of ours is let in: both checks can fail."""
    world = make(Kind.MOSQUITTO)
    world.broker.start()
    site = world.site()
    ours = site.identities.devices[FIRST]
    known = msgspec.structs.replace(site.identities, stranger=ours, nobody=ours)

    found = bad(verdicts(check_doors, msgspec.structs.replace(site, identities=known)))

    assert found == {"certificate": Verdict.UNSAFE, "foreign-certificate": Verdict.UNSAFE}


@mosquitto
def test_a_broker_of_another_authority_is_not_trusted_and_nothing_more_is_asked(make: Make, tmp_path: Path) -> None:
    world = make(Kind.MOSQUITTO)
    world.broker.start()
    other = World(Kind.MOSQUITTO, tmp_path / "other", world.broker.processes)
    mistaken = other.site().identities

    report = probe(msgspec.structs.replace(world.site(), identities=mistaken))

    assert report.of("tls").verdict is Verdict.UNSAFE
    assert "certificate verify failed" in report.of("tls").found
    assert report.of("plain").verdict is Verdict.OK
    assert report.profile is None
    assert report.of("traffic") == not_checked("traffic", "nobody was let in; there is no trusted TLS")


@mosquitto
def test_a_name_that_does_not_resolve_is_one_finding(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    site = make(Kind.MOSQUITTO).site()
    report = probe(msgspec.structs.replace(site, devices=msgspec.structs.replace(site.devices, host="broker.test")))

    assert report.of("reachable") == failed("reachable", "unreachable: broker.test does not resolve here")
    assert {one.verdict for one in report.findings if one.name != "reachable"} == {Verdict.NOT_CHECKED}
    assert report.profile is None


@mosquitto
def test_a_certificate_for_another_name_is_told_with_what_to_add(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda host, *rest: resolve("localhost" if host == "broker.test" else host, *rest)
    )
    world = make(Kind.MOSQUITTO)
    world.broker.start()
    site = world.site()
    elsewhere = msgspec.structs.replace(site.devices, host="broker.test")

    found = verdicts(check_doors_until_refused, msgspec.structs.replace(site, devices=elsewhere))

    assert found["tls"].verdict is Verdict.UNSAFE
    assert found["tls"].found.endswith("; write its certificate anew, with --host broker.test too")


def check_doors_until_refused(site: Site) -> Iterator[Finding]:
    with suppress(Refused):
        yield from check_doors(site)


@mosquitto
def test_where_no_tls_is_spoken_everything_about_it_is_unsafe(make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    world.append(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    world.broker.start()
    site = world.site()
    door = msgspec.structs.replace(site.controller, host="127.0.0.1", port=port, context=None)

    report = probe(msgspec.structs.replace(site, controller=door, devices=door))

    unsafe = {name for name, verdict in by_name(report).items() if verdict is Verdict.UNSAFE}
    assert {"tls", "plain", "certificate", "foreign-certificate", "device-id", "lane-id", "foreign-uplink"} <= unsafe
    assert report.of("old-tls").verdict is Verdict.NOT_CHECKED
    assert report.profile is Profile.MQTT5


@contextmanager
def silent() -> Iterator[int]:
    """Listen, accept, and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for one in held:
                one.close()


@mosquitto
def test_a_broker_that_says_nothing_is_given_up_soon(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.mqtt.check.doors.ANSWER_S", 0.2)
    monkeypatch.setattr("controller.mqtt.check.peer.ANSWER_S", 0.2)
    site = make(Kind.MOSQUITTO).site()
    with silent() as port:
        door = msgspec.structs.replace(site.controller, host="127.0.0.1", port=port)

        began = site.now_s()
        report = probe(msgspec.structs.replace(site, controller=door, devices=door))

    assert site.now_s() - began < 10
    assert report.of("tls").verdict is Verdict.UNSAFE
    assert "timed out" in report.of("tls").found
    assert report.profile is None


@mosquitto
def test_what_there_was_no_time_for_is_not_held_against_the_broker(make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    world.broker.start()
    late_s = 0.0
    site = world.site(now_s=lambda: monotonic_s() + late_s)

    def say(text: str) -> None:
        nonlocal late_s
        late_s = 1_000.0 if text == f"checking {Family.CAPACITY}" else late_s

    report = probe(site, say=say)

    late = [finding for finding in report.findings if finding.found == "the probe ran out of time"]
    assert {"shared-reading", "subscriptions"} <= {finding.name for finding in late}
    assert report.of("resumption").verdict is Verdict.OK
    assert {finding.verdict for finding in report.findings} <= {Verdict.OK, Verdict.NOT_CHECKED}
    assert left_behind(world.site()) == []


@mosquitto
def test_a_broker_without_any_time_is_not_judged(make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    world.broker.start()

    report = probe(world.site(limits=msgspec.structs.replace(QUICK, whole_s=0.0)))

    assert report.of("traffic").verdict is Verdict.NOT_CHECKED
    assert "ran out of time" in report.of("traffic").found
    assert report.profile is None


@mosquitto
@pytest.mark.parametrize("is_killed", [True, False])
def test_a_restart_shows_what_is_kept(make: Make, *, is_killed: bool) -> None:
    world = make(Kind.MOSQUITTO)
    world.broker.start()

    def restart() -> None:
        (world.broker.kill if is_killed else world.broker.stop)()
        world.broker.start()

    site = world.site(restart=restart)
    [found] = check_restart(site)

    if is_killed:
        assert found == failed("restart", "the session is gone, and 100 acknowledged messages with it")
    else:
        assert found == passed("restart", "the session is kept, with 100 of 100 messages")
    assert left_behind(site) == []


@mosquitto
def test_a_restart_of_something_else_is_noticed(make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    world.broker.start()
    site = world.site(restart=lambda: None)

    [found] = check_restart(site)

    assert found == not_checked("restart", "the command ended no connection: it restarts something else")
    assert left_behind(site) == []


@mosquitto
def test_a_restart_that_fails_is_told(make: Make) -> None:
    world = make(Kind.MOSQUITTO)
    world.broker.start()

    def restart() -> None:
        raise Refused("no such service")

    site = world.site(restart=restart)

    assert list(check_restart(site)) == [not_checked("restart", "no such service")]
    assert left_behind(site) == []


@nats
def test_a_slow_redelivery_is_told(make: Make) -> None:
    world = make(Kind.NATS)
    world.broker.start()
    limits = msgspec.structs.replace(QUICK, redelivery_s=20.0, prompt_s=2.0, redelivered=100)
    site = world.site(limits=limits, version=MQTTProtocolVersion.MQTTv311)

    found = verdicts(check_redelivery, site)

    assert found["redelivery"].verdict is Verdict.OK
    assert found["redelivery-delay"].verdict is Verdict.WARNING


@mosquitto
def test_certificates_of_the_probe_are_those_of_throw_away_devices(make: Make) -> None:
    identities = make(Kind.MOSQUITTO).site().identities
    assert set(identities.devices) == set(DEVICES)
    contexts = (*identities.devices.values(), identities.controller, identities.stranger, identities.nobody)
    assert all(context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname for context in contexts)
