"""Enrolment and renewal: how the device gets its certificate and the roots it believes in."""

import base64
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agent.errors import AlreadyEnrolled, ClaimRefused, ConfigError, EnrolRefused, Misdirected
from agent.files import write_whole
from agent.https import Answer, Https
from agent.identity import Enrolment, Identity, new_tls_key, signing_request
from agent.retry import retrying
from protocol.errors import ProtocolError
from protocol.ids import Name, split_name
from protocol.profiles import Profile


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What the device asks to be enrolled as."""

    token: str
    device: str
    model: str
    hardware_id: str


class _Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    name: Name
    certificate: str
    ca_chain: str
    fleet_root: bytes
    release_root: bytes
    mqtt_host: str
    mqtt_port: int
    mqtt_profile: Profile = Profile.MQTT5


class _Renewed(msgspec.Struct, frozen=True, kw_only=True):
    certificate: str
    ca_chain: str


def enrol(
    claim: Claim, *, controller: str, ca: Path, identity: Identity, sleep: Callable[[float], object]
) -> Enrolment:
    """Enrol this device and keep what it is given; a second try after a fault is safe.

    Args:
        claim: who it is, with the claim token.
        controller: the controller's address, ``https://host:port``.
        ca: the file with the CA that the controller's certificate must chain to.
        identity: where keys and papers are kept.
        sleep: waits between tries.

    Raises:
        ConfigError: when the address is no https, or the CA file is missing or no CA.
        AlreadyEnrolled: when other hardware is enrolled by that name.
        ClaimRefused: when the controller does not accept the claim token.
        EnrolRefused: when it refuses for another reason, or gives what cannot be used.
        Misdirected: when what is there is not the controller of that CA; it is not tried again.
        Unreachable: when the controller cannot be reached.
    """
    key = new_tls_key()
    body = msgspec.json.encode(
        {
            **msgspec.to_builtins(claim),
            "csr": signing_request(key, claim.device),
            "signing_key": base64.b64encode(identity.signer().public).decode(),
            "sealing_key": base64.b64encode(identity.sealing_public()).decode(),
        }
    )
    _require_https(controller)
    https = Https(controller, ca)
    answer = retrying(sleep=sleep, but_not=(Misdirected,))(https.call, "POST", "/v1/enrol", body=body)
    given = _parse(answer, HTTPStatus.CREATED, _Enrolled)
    _check_documents(given)
    identity.keep_certificate(key, given.certificate, given.ca_chain)
    write_whole(identity.ca, ca.read_bytes())
    write_whole(identity.fleet_root, given.fleet_root)
    write_whole(identity.release_root, given.release_root)
    enrolment = Enrolment(
        name=given.name,
        model=claim.model,
        controller=controller,
        mqtt_host=given.mqtt_host,
        mqtt_port=given.mqtt_port,
        mqtt_profile=given.mqtt_profile,
    )
    identity.keep_enrolment(enrolment)
    return enrolment


def _require_https(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_https = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or out of range
        is_https = False
    if not is_https:
        raise ConfigError(f"{url}: expected https://host:port")


def _parse(answer: Answer, expected: HTTPStatus, kind: Any) -> Any:
    if answer.status != expected:
        raise _refusal(answer)
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError as error:
        raise EnrolRefused(f"the controller's answer cannot be used: {error}") from error


def _refusal(answer: Answer) -> EnrolRefused:
    message = f"the controller answers {answer.status}: {answer.problem}"
    match answer.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return ClaimRefused(message)
        case HTTPStatus.CONFLICT:
            return AlreadyEnrolled(message)
        case _:
            return EnrolRefused(message)


def _check_documents(given: _Enrolled) -> None:
    """Refuse roots now that could not be used later."""
    from protocol.trust import parse_root, read_fleet_root

    try:
        split_name(given.name)
        read_fleet_root(given.fleet_root)
        parse_root(given.release_root)
    except ProtocolError as error:
        raise EnrolRefused(f"the controller's answer cannot be used: {error}") from error


def renew(https: Https, identity: Identity, name: Name) -> None:
    """Get a new certificate for a new key, and put both in force at once.

    Raises:
        EnrolRefused: when the controller refuses.
        Unreachable: when the controller cannot be reached.
    """
    key = new_tls_key()
    body = msgspec.json.encode({"csr": signing_request(key, name)})
    answer = https.call("POST", "/v1/device/renew", body=body)
    renewed = _parse(answer, HTTPStatus.OK, _Renewed)
    identity.keep_certificate(key, renewed.certificate, renewed.ca_chain)
