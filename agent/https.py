"""HTTPS to the controller: pinned to one CA, each request signed by the device."""

import base64
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import urllib3

from agent.clock import new_nonce
from agent.errors import ConfigError, Misdirected, Unreachable
from protocol.codec import encode
from protocol.envelope import SigningKey, seal
from protocol.ids import Name, digest_of
from protocol.messages import DeviceRequest, PayloadType
from protocol.units import Instant

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
ANSWER_BYTES_MAX: Final = 5_000_000
_CHUNK: Final = 65_536
DETAIL_LENGTH_MAX: Final = 500

# X509_V_ERR_* of OpenSSL's x509_vfy.h: the host name or the address is another; no trusted certificate signed it.
_OTHER_NAME: Final = frozenset({62, 64})
_NOT_SIGNED: Final = frozenset({2, 7, 18, 19, 20, 21})


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    status: int
    body: bytes

    @property
    def problem(self) -> str:
        """What an RFC 9457 problem says, or the body's beginning."""
        try:
            told = msgspec.json.decode(self.body, type=dict[str, object])
        except msgspec.MsgspecError:
            return self.body[:DETAIL_LENGTH_MAX].decode(errors="replace")
        return str(told.get("detail") or told.get("title") or "")[:DETAIL_LENGTH_MAX]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs requests: the device's name and key, and its trusted time, 0 where it has none."""

    name: Name
    signer: SigningKey
    now: Callable[[], Instant]


def pinned(ca: Path) -> ssl.SSLContext:
    """Return a TLS context that trusts the certificates of the file *ca* and nothing else.

    Raises:
        ConfigError: when there is no such file, or no certificate in it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=ca)
    except FileNotFoundError as error:
        raise ConfigError(f"{ca} does not exist") from error
    except ssl.SSLError as error:
        raise ConfigError(f"{ca} holds no PEM certificate") from error
    except OSError as error:
        raise ConfigError(f"{ca} cannot be read: {error.strerror}") from error
    return context


def unreachable(error: urllib3.exceptions.HTTPError, url: str, ca: Path) -> Unreachable:
    """Return what an error of the connection means, and what to do about it."""
    root = _root(error)
    match root:
        case ssl.SSLCertVerificationError():
            return Misdirected(_distrust(root, url, ca))
        case ssl.SSLError():
            return Misdirected(f"{url} answers no HTTPS: is that the MQTT port?")
        case ConnectionRefusedError():
            return Unreachable(f"{url} cannot be reached: is the controller running (tidegate serve)?")
        case socket.gaierror():
            return Unreachable(f"{url} cannot be reached: there is no host of that name")
    return Unreachable(f"{url} cannot be reached: {error}")


def _distrust(error: ssl.SSLCertVerificationError, url: str, ca: Path) -> str:
    if error.verify_code in _OTHER_NAME:
        host = urllib3.util.parse_url(url).host
        return (
            f"the certificate of the controller is not for {host}: use one of its names, "
            "or add it with tidegate init --host"
        )
    if error.verify_code in _NOT_SIGNED:
        return f"the certificate of {url} is not signed by {ca}: is that ca.crt of the controller's installation?"
    return f"the certificate of {url} is not valid: {error.verify_message}"


def _root(error: BaseException) -> BaseException:
    """Return the error of the operating system or of TLS that lies below, the error itself where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause or error


class Https:
    """A client of one controller."""

    def __init__(self, base_url: str, ca: Path, *, identity: Identity | None = None) -> None:
        """Take the address (``https://host:port``), the pinned CA, and who signs the requests."""
        self._base_url = base_url.rstrip("/")
        self._ca = ca
        self._identity = identity
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        self._pool = urllib3.PoolManager(ssl_context=pinned(ca), retries=False, timeout=timeout, maxsize=2, num_pools=2)

    def call(self, method: str, path: str, *, body: bytes = b"") -> Answer:
        """Send one request and return the whole answer.

        Raises:
            Unreachable: when there is no answer, a redirect, one that is too long, or 429 and 502 to 504.
        """
        with self.stream(method, path, body=body) as response:
            data = b""
            try:
                for chunk in response.stream(_CHUNK, decode_content=True):
                    data += chunk
                    if len(data) > ANSWER_BYTES_MAX:
                        raise Unreachable(f"{path}: the answer is longer than {ANSWER_BYTES_MAX} bytes")
            except urllib3.exceptions.HTTPError as error:
                raise Unreachable(f"{path}: {error}") from error
            if response.status in {429, 502, 503, 504}:
                raise Unreachable(f"{path}: the controller answers {response.status}")
            return Answer(status=response.status, body=data)

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send one request and yield the answer, its body unread; the connection goes with the block.

        Raises:
            Unreachable: when there is no answer; `Misdirected` when that is not our controller.
        """
        sent = {"Accept-Encoding": "identity", **(headers or {}), **self._authorization(method, path, body)}
        if body:
            sent["Content-Type"] = "application/json"
        try:
            response = self._pool.request(
                method,
                self._base_url + path,
                body=body or None,
                headers=sent,
                preload_content=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(error, self._base_url, self._ca) from error
        try:
            yield response
        finally:
            response.close()

    def _authorization(self, method: str, path: str, body: bytes) -> dict[str, str]:
        if self._identity is None:
            return {}
        request = DeviceRequest(
            device=self._identity.name,
            method=method,
            path=path,
            at=self._identity.now(),
            nonce=new_nonce(),
            body_sha256=digest_of(body),
        )
        raw = seal(encode(request), PayloadType.REQUEST, self._identity.signer)
        return {"Authorization": "Tidegate-DSSE " + base64.b64encode(raw).decode()}
