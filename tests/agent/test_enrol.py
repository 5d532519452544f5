"""Enrolment, renewal, identity and trust on disk, against a controller that is just enough."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import urllib3
from cryptography import x509

from agent.enrol import Claim, enrol, renew
from agent.errors import (
    AlreadyEnrolled,
    ClaimRefused,
    ConfigError,
    EnrolRefused,
    Misdirected,
    ReleasesRefused,
    Unreachable,
)
from agent.files import link_whole, remove, sole_user, write_whole
from agent.https import Answer, Https, unreachable
from agent.https import Identity as Caller
from agent.identity import Enrolment, Identity
from agent.trust import TrustStore
from protocol.profiles import Profile
from protocol.trust import instant_of
from protocol.units import Instant
from tests.agent import papers
from tests.agent.hub import Hub
from tests.agent.papers import NOW, YEAR, Trustees
from tests.protocol.samples import STRANGE_KEY_PEM

AT = instant_of(NOW)
CLAIM = Claim(token="good", device="kiosk-17", model="kiosk-1", hardware_id="42")


def no_sleep(_seconds: float) -> None:
    pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    yield hub
    hub.close()


@pytest.fixture
def identity(tmp_path: Path, hub: Hub) -> Identity:
    identity = Identity(tmp_path / "identity")
    enrol(CLAIM, controller=hub.url, ca=hub.ca, identity=identity, sleep=no_sleep)
    return identity


def https(hub: Hub, identity: Identity) -> Https:
    caller = Caller(name=hub.name, signer=identity.signer(), now=lambda: Instant(0))
    return Https(hub.url, hub.ca, identity=caller)


def test_an_enrolment_keeps_keys_and_papers_for_the_agent_alone(hub: Hub, identity: Identity) -> None:
    assert identity.enrolment() == Enrolment(
        name=hub.name,
        model="kiosk-1",
        controller=hub.url,
        mqtt_host="127.0.0.1",
        mqtt_port=hub._listener.getsockname()[1],
    )
    modes = {path.stat().st_mode & 0o777 for path in identity.folder.iterdir()}
    assert modes == {0o600}
    assert identity.folder.stat().st_mode & 0o777 == 0o700
    assert identity.signer().public == hub.device_key


def test_a_second_try_keeps_the_keys(hub: Hub, identity: Identity) -> None:
    before = hub.device_key
    enrol(CLAIM, controller=hub.url, ca=hub.ca, identity=identity, sleep=no_sleep)
    assert hub.device_key == before


def test_a_refusal_and_a_useless_answer_are_told(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = Identity(tmp_path / "other")
    bad = Claim(token="bad", device="kiosk-17", model="", hardware_id="")
    with pytest.raises(ClaimRefused, match="403: unknown claim token"):
        enrol(bad, controller=hub.url, ca=hub.ca, identity=identity, sleep=no_sleep)
    good = json.loads(hub.enrol(json.dumps(asked(hub)).encode()))
    for change in ({"fleet_root": "e30="}, {"name": "no name"}, {"certificate": 5}):
        monkeypatch.setattr(hub, "enrol", lambda body, change=change: json.dumps({**good, **change}).encode())
        with pytest.raises(EnrolRefused, match="cannot be used"):
            enrol(CLAIM, controller=hub.url, ca=hub.ca, identity=identity, sleep=no_sleep)
    assert not identity.is_enrolled


def asked(hub: Hub) -> dict[str, str]:
    from agent.identity import new_tls_key, signing_request

    key = "A" * 43 + "="
    return {"csr": signing_request(new_tls_key(), "x"), "signing_key": key, "sealing_key": key}


def test_a_missing_ca_and_an_absent_controller_are_told(hub: Hub, tmp_path: Path) -> None:
    identity = Identity(tmp_path / "other")
    with pytest.raises(ConfigError, match="missing does not exist"):
        enrol(CLAIM, controller=hub.url, ca=tmp_path / "missing", identity=identity, sleep=no_sleep)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ConfigError, match="text holds no PEM certificate"):
        enrol(CLAIM, controller=hub.url, ca=tmp_path / "text", identity=identity, sleep=no_sleep)
    with pytest.raises(Unreachable, match=r"is the controller running \(tidegate serve\)\?"):
        enrol(CLAIM, controller="https://127.0.0.1:1", ca=hub.ca, identity=identity, sleep=no_sleep)


@pytest.mark.parametrize("url", ["localhost:8443", "http://localhost:8443", "https://", "https://h:port"])
def test_an_address_of_another_form_is_told(url: str, hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": expected https://host:port$"):
        enrol(CLAIM, controller=url, ca=hub.ca, identity=Identity(tmp_path / "other"), sleep=no_sleep)


def never(_seconds: float) -> None:
    raise AssertionError("another try cannot help")


def test_a_controller_that_cannot_be_trusted_is_told_at_once(hub: Hub, tmp_path: Path) -> None:
    identity = Identity(tmp_path / "other")
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(papers.Authority().pem)
    with pytest.raises(Misdirected, match=rf"is not signed by {stranger}: is that ca.crt"):
        enrol(CLAIM, controller=hub.url, ca=stranger, identity=identity, sleep=never)
    assert not identity.is_enrolled


def certificate_error(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (certificate_error(62, ""), "the certificate of the controller is not for gate: use one of its names"),
        (certificate_error(20, ""), "the certificate of https://gate:1 is not signed by ca.crt: "),
        (certificate_error(10, "has expired"), "the certificate of https://gate:1 is not valid: has expired"),
        (ssl.SSLError(1, "alert"), "https://gate:1 answers no HTTPS: is that the MQTT port?"),
        (socket.gaierror(-2, "unknown"), "https://gate:1 cannot be reached: there is no host of that name"),
        (TimeoutError("late"), "https://gate:1 cannot be reached: failed"),
    ],
)
def test_what_hinders_a_connection_is_told(cause: OSError, told: str) -> None:
    error = urllib3.exceptions.HTTPError("failed")
    error.__cause__ = cause
    assert str(unreachable(error, "https://gate:1", Path("ca.crt"))).startswith(told)


def test_a_name_of_other_hardware_is_told(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Https, "call", lambda *_args, **_kwargs: Answer(status=409, body=b'{"detail":"choose another"}')
    )
    with pytest.raises(AlreadyEnrolled, match="409: choose another"):
        enrol(CLAIM, controller=hub.url, ca=hub.ca, identity=Identity(tmp_path / "other"), sleep=no_sleep)


def test_a_renewal_is_signed_and_brings_a_new_key(hub: Hub, identity: Identity) -> None:
    before = identity.device_pem.read_bytes()
    renew(https(hub, identity), identity, hub.name)
    after = identity.device_pem.read_bytes()
    old, new = (x509.load_pem_x509_certificate(pem) for pem in (before, after))
    assert old.public_key() != new.public_key()
    assert b"PRIVATE KEY" in after
    stranger = Identity(identity.folder.parent / "stranger")
    with pytest.raises((EnrolRefused, Unreachable)):
        renew(https(hub, stranger), identity, hub.name)
    assert identity.device_pem.read_bytes() == after


def test_a_renewal_is_due_at_two_thirds_of_the_life(identity: Identity) -> None:
    begin = NOW - timedelta(hours=1)
    life = timedelta(days=7, hours=1)
    assert identity.renewal_due_ms() == pytest.approx(instant_of(begin + life * 2 / 3), abs=1_000)


@pytest.mark.parametrize("content", [b"broken", STRANGE_KEY_PEM])
@pytest.mark.parametrize("name", ["enrolment.json", "signing.pem", "sealing.pem"])
def test_a_broken_paper_is_named(identity: Identity, name: str, content: bytes) -> None:
    (identity.folder / name).write_bytes(content)
    read = {"enrolment.json": identity.enrolment, "signing.pem": identity.signer}
    with pytest.raises(ConfigError, match=name):
        read.get(name, identity.sealing_public)()


def test_a_device_without_enrolment_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run 'tidegate-agent enrol' first"):
        Identity(tmp_path).enrolment()


# --- trust ---


def custom(**changes: Any) -> dict[str, Any]:
    said = {"app": "shop", "version": "1.0", "counter": 1, "floor": 1, "installer": "archive"}
    return {**said, **changes}


def store(identity: Identity, folder: Path) -> TrustStore:
    return TrustStore(
        fleet_root=identity.fleet_root, release_root=identity.release_root, releases=folder / "releases.json"
    )


def test_a_release_file_is_fetched_verified_and_kept(hub: Hub, identity: Identity, tmp_path: Path) -> None:
    trust = store(identity, tmp_path)
    assert trust.load(at=AT, version_min=0).releases is None
    hub.files["shop/1.0"] = (b"bytes", custom())
    fresh = trust.refresh(https(hub, identity), at=AT, version_min=0)
    assert fresh.releases is not None
    assert fresh.releases.releases["shop/1.0"].length == 5
    again = store(identity, tmp_path)
    assert again.load(at=AT, version_min=1).releases == fresh.releases
    assert again.load(at=AT, version_min=2).releases is None, "older than one seen before"
    assert again.load(at=instant_of(NOW + YEAR), version_min=0).releases is None, "expired"


def test_a_release_file_that_is_older_or_of_others_is_refused(
    hub: Hub, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = store(identity, tmp_path)
    client = https(hub, identity)
    with pytest.raises(ReleasesRefused, match="version 1: 2 was seen"):
        trust.refresh(client, at=AT, version_min=2)
    genuine = hub.trustees
    monkeypatch.setattr(hub, "trustees", Trustees())
    with pytest.raises(ReleasesRefused):
        trust.refresh(client, at=AT, version_min=0)
    monkeypatch.setattr(hub, "trustees", genuine)
    monkeypatch.setattr(papers, "NOW", NOW - timedelta(days=800))
    with pytest.raises(ReleasesRefused, match="expired"):
        trust.refresh(client, at=AT, version_min=0)
    stranger = Https(hub.url, hub.ca, identity=None)
    monkeypatch.setattr(hub, "check", lambda *_: False)
    with pytest.raises(ReleasesRefused, match="answers 401"):
        trust.refresh(stranger, at=AT, version_min=0)


def test_broken_roots_are_named(identity: Identity, tmp_path: Path) -> None:
    identity.fleet_root.write_bytes(b"{}")
    with pytest.raises(ConfigError, match="enrol the device again"):
        store(identity, tmp_path)


# --- answers and files ---


def test_a_problem_says_what_it_says() -> None:
    assert Answer(status=400, body=b'{"title":"Bad","detail":"why"}').problem == "why"
    assert Answer(status=400, body=b'{"title":"Bad"}').problem == "Bad"
    assert Answer(status=400, body=b"<html>").problem == "<html>"


def test_a_file_is_replaced_whole_and_a_link_too(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_whole(path, b"one")
    write_whole(path, b"two", mode=0o644)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o644)
    for target in ("file", "other"):
        link_whole(path.with_name("link"), target)
        assert path.with_name("link").readlink().name == target
    remove(tmp_path / "deep")
    assert not (tmp_path / "deep").exists()


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    with sole_user(tmp_path / "lock") as first:
        with sole_user(tmp_path / "lock") as second:
            assert (first, second) == (True, False)
        assert threading.active_count() >= 1


def test_an_enrolment_tells_how_to_speak_mqtt(hub: Hub, tmp_path: Path) -> None:
    hub.told = {"mqtt_profile": "mqtt3.1.1-qos0"}
    identity = Identity(tmp_path / "other")
    enrol(CLAIM, controller=hub.url, ca=hub.ca, identity=identity, sleep=no_sleep)
    assert identity.enrolment().mqtt_profile is Profile.MQTT311_QOS0


def test_an_enrolment_of_before_there_were_profiles_speaks_mqtt_5(identity: Identity) -> None:
    path = identity.folder / "enrolment.json"
    kept = msgspec.json.decode(path.read_bytes())
    del kept["mqtt_profile"]
    path.write_bytes(msgspec.json.encode(kept))
    assert identity.enrolment().mqtt_profile is Profile.MQTT5


def test_a_way_to_speak_that_this_agent_does_not_know_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.told = {"mqtt_profile": "mqtt6"}
    with pytest.raises(EnrolRefused, match="mqtt6"):
        enrol(CLAIM, controller=hub.url, ca=hub.ca, identity=Identity(tmp_path / "other"), sleep=no_sleep)
