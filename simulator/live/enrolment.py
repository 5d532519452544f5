"""Enrol many devices over HTTPS with one claim; all key material stays in this process."""

import asyncio
import base64
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import msgspec
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.core.backoff import full_jitter
from agent.identity import new_tls_key, signing_request
from protocol.ids import Name
from protocol.keys import Ed25519Signing
from protocol.profiles import Profile

IN_FLIGHT_MAX: Final = 8
TRIES_MAX: Final = 6
RETRY_BASE_MS: Final = 200
RETRY_CAP_MS: Final = 5_000
_JSON: Final = {"Content-Type": "application/json"}
_WHATEVER: Final = {**_JSON, "If-Match": "*"}
_BUSY: Final = frozenset({429, 502, 503, 504})


class EnrolFailed(Exception):
    """The controller cannot be reached, or takes a device not in; the message says why."""


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where the controller's API is, and the file with the CA that its certificate must chain to."""

    url: str
    ca: Path

    def context(self) -> ssl.SSLContext:
        """Return a TLS context that trusts this CA and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=self.ca)
        return context

    def client(self, *, token: str = "") -> httpx.AsyncClient:
        """Return an HTTP client, with an operator's *token* where one is given."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, verify=self.context(), headers=headers, timeout=30, trust_env=False)

    def pool(self, *, size: int) -> urllib3.HTTPConnectionPool:
        """Return *size* connections for threads to share."""
        url = urllib3.util.parse_url(self.url)
        return urllib3.HTTPSConnectionPool(url.host or "", url.port, maxsize=size, ssl_context=self.context())


class Papers(msgspec.Struct, frozen=True, kw_only=True):
    """What one device holds after its enrolment; `pem` is certificate, chain and TLS key in one."""

    name: Name
    signer: Ed25519Signing
    pem: bytes


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What all devices of one controller share."""

    papers: tuple[Papers, ...]
    fleet_root: bytes
    release_root: bytes
    mqtt_host: str
    mqtt_port: int
    mqtt_profile: Profile = Profile.MQTT5


class _Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    name: Name
    certificate: str
    ca_chain: str
    fleet_root: bytes
    release_root: bytes
    mqtt_host: str
    mqtt_port: int
    mqtt_profile: Profile = Profile.MQTT5


class _Keys(msgspec.Struct, frozen=True):
    """A device's three keys, as they go into its request and its papers."""

    signer: Ed25519Signing
    sealing_public: bytes
    tls_pem: bytes
    csr: str


def _draw_keys(device: str) -> _Keys:
    tls = new_tls_key()
    return _Keys(
        Ed25519Signing(Ed25519PrivateKey.generate()),
        X25519PrivateKey.generate().public_key().public_bytes_raw(),
        tls.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        signing_request(tls, device),
    )


async def enrol(
    devices: Mapping[str, str],
    *,
    addresses: Addresses,
    claim: str,
    on_enrolled: Callable[[int], None] = lambda _: None,
) -> Fleet:
    """Enrol *devices*, some at a time.

    Args:
        devices: their ids, and the model that each says it is.
        addresses: the controller.
        claim: a claim token that is good for all of them.
        on_enrolled: told how many are done.

    Raises:
        EnrolFailed: when one is refused, the controller stays unreachable, or devices are to speak MQTT 3.1.1.
    """
    room = asyncio.Semaphore(IN_FLIGHT_MAX)
    done: list[Papers | None] = [None] * len(devices)
    given: list[_Enrolled] = []

    async def one(index: int, device: str, client: httpx.AsyncClient) -> None:
        async with room:
            keys = await asyncio.to_thread(_draw_keys, device)
            enrolled = await _ask(client, _body(keys, device, claim=claim, model=devices[device]))
            pem = f"{enrolled.certificate.strip()}\n{enrolled.ca_chain.strip()}\n".encode() + keys.tls_pem
            done[index] = Papers(name=enrolled.name, signer=keys.signer, pem=pem)
            given[:1] = [enrolled]
            on_enrolled(sum(papers is not None for papers in done))

    try:
        async with addresses.client() as client, asyncio.TaskGroup() as tasks:
            for index, device in enumerate(devices):
                tasks.create_task(one(index, device, client))
    except* EnrolFailed as group:
        raise group.exceptions[0] from None
    first = given[0]
    return Fleet(
        papers=tuple(papers for papers in done if papers is not None),
        fleet_root=first.fleet_root,
        release_root=first.release_root,
        mqtt_host=first.mqtt_host,
        mqtt_port=first.mqtt_port,
        mqtt_profile=first.mqtt_profile,
    )


def _body(keys: _Keys, device: str, *, claim: str, model: str) -> bytes:
    return msgspec.json.encode(
        {
            "token": claim,
            "device": device,
            "model": model,
            "hardware_id": f"simulated-{device}",
            "csr": keys.csr,
            "signing_key": base64.b64encode(keys.signer.public).decode(),
            "sealing_key": base64.b64encode(keys.sealing_public).decode(),
        }
    )


async def _ask(client: httpx.AsyncClient, body: bytes) -> _Enrolled:
    answer = await call(client, "POST", "/v1/enrol", content=body)
    try:
        enrolled = msgspec.json.decode(answer.content, type=_Enrolled)
    except msgspec.MsgspecError as error:
        raise EnrolFailed(f"the controller's answer to an enrolment cannot be used: {error}") from error
    if not enrolled.mqtt_profile.is_mqtt5:
        why = "simulated devices speak MQTT 5 alone: run agents, or use a broker of MQTT 5"
        raise EnrolFailed(f"devices are to speak {enrolled.mqtt_profile}, and {why}")
    return enrolled


async def call(
    client: httpx.AsyncClient, method: str, path: str, *, content: bytes, headers: Mapping[str, str] = _JSON
) -> httpx.Response:
    """Send one request with a JSON body, again after a fault that may pass.

    Raises:
        EnrolFailed: when it stays unanswered, or the answer is no success.
    """
    why = ""
    for attempt in range(TRIES_MAX):
        try:
            answer = await client.request(method, path, content=content, headers=headers)
            if answer.is_success:
                return answer
            why = f"{answer.status_code} {answer.text[:300]}"
            if answer.status_code not in _BUSY:
                break
        except httpx.HTTPError as error:
            why = f"{type(error).__name__} {error}"
        wait = full_jitter(attempt=attempt, base_ms=RETRY_BASE_MS, cap_ms=RETRY_CAP_MS, seed=f"{path}{attempt}")
        await asyncio.sleep(wait / 1_000)
    raise EnrolFailed(f"{method} {path}: {why}")


async def label(labels: Sequence[tuple[str, dict[str, str]]], *, addresses: Addresses, token: str) -> None:
    """Set the labels of devices, as an operator.

    Raises:
        EnrolFailed: when the controller refuses or stays unreachable.
    """
    room = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def one(client: httpx.AsyncClient, device: str, wanted: dict[str, str]) -> None:
        async with room:
            body = msgspec.json.encode({"labels": wanted})
            await call(client, "PUT", f"/v1/devices/{device}/labels", content=body, headers=_WHATEVER)

    try:
        async with addresses.client(token=token) as client, asyncio.TaskGroup() as tasks:
            for device, wanted in labels:
                tasks.create_task(one(client, device, wanted))
    except* EnrolFailed as group:
        raise group.exceptions[0] from None
