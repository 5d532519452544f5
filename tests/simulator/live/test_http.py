"""What simulated devices ask over HTTP: the shared release file, and artifacts."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.clock import system_ms
from controller.signing.installation import initialise
from protocol.ids import AppName, Digest, Name, TenantId, digest_of
from protocol.keys import Ed25519Signing
from protocol.reasons import Reason
from protocol.trust import ReleaseInfo
from protocol.units import Instant
from simulator.live.enrolment import Addresses, EnrolFailed, Papers, _ask, call
from simulator.live.fetching import Fetching
from simulator.live.trust import SharedTrust

BYTES = b"an archive"
RELEASE = ReleaseInfo(
    app=AppName("shop"),
    version="2.0",
    path="shop/2.0",
    sha256=digest_of(BYTES),
    length=len(BYTES),
    counter=1,
    floor=0,
    installer="archive",
)
PAPERS = Papers(name=Name("acme:sim-1"), signer=Ed25519Signing(Ed25519PrivateKey.generate()), pem=b"")


class Server:
    """Answers with what it is given, the last one again and again; counts."""

    def __init__(self, *answers: httpx.Response | httpx.HTTPError) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self), base_url="https://localhost")


def answer(status: int, content: bytes = b"", *, retry_after: str = "1") -> httpx.Response:
    return httpx.Response(status, content=content, headers={"Retry-After": retry_after})


class ArtifactServer(ThreadingHTTPServer):
    """Answers over a real connection with one (status, bytes) after the other, the last one again and again.

    None in their place ends the connection without an answer.
    """

    daemon_threads = True

    def __init__(self, answers: Sequence[tuple[int, bytes] | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answers = list(answers)
        self.seen: list[tuple[str, str]] = []
        self.connection_count = 0

    def next(self) -> tuple[int, bytes] | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ArtifactServer

    def setup(self) -> None:
        super().setup()
        self.server.connection_count += 1

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"]))
        answer = self.server.next()
        if answer is None:
            self.close_connection = True
            return
        status, content = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(*answers: tuple[int, bytes] | None) -> Iterator[ArtifactServer]:
    with ArtifactServer(answers) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def fetching(port: int) -> Iterator[Fetching]:
    made = Fetching(urllib3.HTTPConnectionPool("127.0.0.1", port))
    try:
        yield made
    finally:
        made.close()


BUSY = (503, b"")
GOOD = (200, BYTES)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([GOOD], None),
        ([BUSY, GOOD], None),
        ([BUSY], Reason.DOWNLOAD_FAILED),
        ([None, GOOD], None),
        ([None], Reason.DOWNLOAD_FAILED),
        ([(302, b""), GOOD], Reason.DOWNLOAD_FAILED),
        ([(404, b"")], Reason.DOWNLOAD_FAILED),
        ([(200, b"another one")], Reason.HASH_MISMATCH),
        ([(200, b"an archivf")], Reason.HASH_MISMATCH),
    ],
)
async def test_a_download_is_compared_with_what_was_signed(
    answers: list[tuple[int, bytes] | None], reason: Reason | None
) -> None:
    with serving(*answers) as server, fetching(server.server_port) as downloads:
        fault = await downloads.fetch(PAPERS, (RELEASE,))
    assert (fault.reason if fault else None) is reason
    path, authorization = server.seen[0]
    assert path == f"/v1/artifacts/{Digest(RELEASE.sha256)}"
    assert authorization.startswith("Tidegate-DSSE ")


async def test_downloads_share_a_connection() -> None:
    with serving(GOOD) as server, fetching(server.server_port) as downloads:
        for _ in range(3):
            assert await downloads.fetch(PAPERS, (RELEASE, RELEASE)) is None
    assert (len(server.seen), server.connection_count) == (6, 1)


async def test_a_controller_that_is_not_there_fails_the_download() -> None:
    with serving(GOOD) as server:
        port = server.server_port
    with fetching(port) as downloads:
        fault = await downloads.fetch(PAPERS, (RELEASE,))
    assert fault is not None
    assert (fault.reason, "refused" in fault.detail) == (Reason.DOWNLOAD_FAILED, True)


def shared(folder: Path, server: Server) -> SharedTrust:
    """Return the shared trust of a new installation, whose requests the server answers."""
    keys = initialise(
        folder / "on",
        folder / "off",
        tenant=TenantId("acme"),
        hosts=["localhost"],
        at=Instant(system_ms()),
    )
    trust = SharedTrust(
        Addresses(url="https://localhost", ca=folder / "on" / "ca.crt"),
        fleet_root=keys.fleet_root(),
        release_root=keys.release_root(),
    )
    trust._client = server.client()
    return trust


async def test_whoever_asks_gets_what_a_later_fetch_brought_and_one_fetch_serves_many(tmp_path: Path) -> None:
    server = Server(answer(404))
    trust = shared(tmp_path, server)
    server.answers = [answer(200, (tmp_path / "off" / "releases.json").read_bytes())]
    server.gate.clear()
    first = asyncio.ensure_future(trust.refresh(PAPERS))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(trust.refresh(PAPERS)) for _ in range(20)]
    await asyncio.sleep(0)
    server.gate.set()
    await asyncio.gather(first, *others)
    assert trust.fetch_count == 2
    assert trust.current.releases is not None
    assert trust.current.releases.version == 1
    await trust.close()


@pytest.mark.parametrize(
    ("given", "why"), [(answer(404), "answers 404"), (answer(200, b"{}"), "expected a signed TUF")]
)
async def test_a_fetch_that_fails_leaves_the_trust_as_it_was(tmp_path: Path, given: httpx.Response, why: str) -> None:
    trust = shared(tmp_path, Server(given))
    before = trust.current
    assert await trust.refresh(PAPERS) is before
    assert why in trust.fault
    await trust.close()


async def test_a_kept_connection_that_ends_as_it_is_taken_costs_no_device_its_release(tmp_path: Path) -> None:
    server = Server(answer(404))
    trust = shared(tmp_path, server)
    ended = httpx.RemoteProtocolError("Server disconnected without sending a response.")
    server.answers = [ended, answer(200, (tmp_path / "off" / "releases.json").read_bytes())]
    assert (await trust.refresh(PAPERS)).releases is not None
    await trust.close()


async def test_a_request_is_sent_again_while_the_controller_is_busy_and_given_up_when_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simulator.live.enrolment.RETRY_CAP_MS", 1)
    async with Server(answer(503), httpx.ConnectError("down"), answer(201, b"{}")).client() as client:
        assert (await call(client, "POST", "/v1/enrol", content=b"{}")).status_code == 201
    async with Server(answer(403, b"blocked")).client() as client:
        with pytest.raises(EnrolFailed, match="POST /v1/enrol: 403 blocked"):
            await call(client, "POST", "/v1/enrol", content=b"{}")
    async with Server(answer(503, b"busy")).client() as client:
        with pytest.raises(EnrolFailed, match="503 busy"):
            await call(client, "POST", "/v1/enrol", content=b"{}")


async def test_simulated_devices_refuse_what_they_do_not_speak(tmp_path: Path) -> None:
    enrolled = {
        "name": "acme:sim-1",
        "certificate": "",
        "ca_chain": "",
        "fleet_root": "",
        "release_root": "",
        "mqtt_host": "broker",
        "mqtt_port": 1,
        "mqtt_profile": "mqtt3.1.1",
    }
    async with Server(httpx.Response(201, json=enrolled)).client() as client:
        with pytest.raises(EnrolFailed, match=r"mqtt3\.1\.1.*MQTT 5 alone"):
            await _ask(client, b"{}")
