"""Asking a server that may be hostile: it is slow, endless, sends elsewhere, or speaks something else."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network

import pytest

from controller.checks.asker import BODY_BYTES_MAX, HttpAsker
from controller.checks.reach import Reach
from controller.domain.gates.checks import Answer, AnswerKind, Http, Prometheus

OK, FAILED, NO_DATA = AnswerKind
LOOPBACK = (ip_network("127.0.0.0/8"),)
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def page_of(body: bytes, *, status: str = "200 OK", headers: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n".encode()
    return head + headers + b"\r\n" + body


@asynccontextmanager
async def serving(handle: Handle) -> AsyncIterator[str]:
    """Serve on the loopback, and yield the address."""

    over: list[asyncio.Event] = []

    async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over.append(asyncio.Event())
        place = over[-1]
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await handle(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        place.set()

    server = await asyncio.start_server(whole, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for place in over:
            await asyncio.wait_for(place.wait(), 10)


def says(*parts: bytes, requests: list[bytes] | None = None, ends: bool = True) -> Handle:
    """Return a server that reads a request, says *parts*, and hangs up unless it is to stay silent."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        for part in parts:
            writer.write(part)
            await writer.drain()
        if not ends:
            await reader.read()

    return handle


def asker(*, allows_plain: bool = True, is_allowed: bool = True, answer_s: float = 10.0) -> HttpAsker:
    reach = Reach(LOOPBACK if is_allowed else ())
    return HttpAsker(reach, ssl.create_default_context(), allows_plain=allows_plain, answer_s=answer_s)


async def asked(handle: Handle, *, path: str = "/health", by: HttpAsker | None = None) -> Answer:
    """Ask a page of a server that behaves so."""
    whom = by or asker()
    async with serving(handle) as address:
        answer = await whom.ask(Http(url=address + path))
        await whom.close()
        return answer


async def test_a_page_that_is_as_expected_is_ok() -> None:
    assert await asked(says(page_of(b"fine"))) == Answer(kind=OK, evidence="status 200")


async def test_prometheus_is_asked_an_instant_query() -> None:
    requests: list[bytes] = []
    body = b'{"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, "0.25"]}]}}'
    async with serving(says(page_of(body), requests=requests)) as address:
        answer = await asker().ask(Prometheus(url=address, query='rate(errors{app="shop"}[5m])', below=0.5))
    assert answer == Answer(kind=OK, evidence="0.25, expected below 0.5")
    [request] = requests
    line = b"GET /api/v1/query?query=rate%28errors%7Bapp%3D%22shop%22%7D%5B5m%5D%29 HTTP/1.1\r\n"
    assert request.startswith(line)
    assert b"gzip" not in request


async def test_no_redirect_is_followed() -> None:
    requests: list[bytes] = []
    away = page_of(b"", status="302 Found", headers=b"Location: /elsewhere\r\n")
    answer = await asked(says(away, requests=requests))
    assert answer == Answer(kind=FAILED, evidence="status 302, expected 200..299")
    assert len(requests) == 1


async def test_a_private_address_is_refused_without_a_connection() -> None:
    requests: list[bytes] = []
    answer = await asked(says(page_of(b""), requests=requests), by=asker(is_allowed=False))
    assert answer.kind is NO_DATA
    assert "TIDEGATE_CHECK_NETWORKS" in answer.evidence
    assert requests == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_other_ways_to_write_a_private_address_are_refused_too(host: str) -> None:
    answer = await asker(is_allowed=False).ask(Http(url=f"http://{host}:9/"))
    assert answer.kind is NO_DATA
    assert "public" in answer.evidence or "not known" in answer.evidence


async def test_without_tls_nothing_is_asked_unless_the_operator_allows_it() -> None:
    answer = await asked(says(page_of(b"")), by=asker(allows_plain=False))
    assert answer.kind is NO_DATA
    assert "TIDEGATE_CHECK_PLAIN_HTTP" in answer.evidence


async def test_a_body_that_is_too_long_is_not_read_to_its_end() -> None:
    at_limit = await asked(says(page_of(bytes(BODY_BYTES_MAX))))
    assert at_limit.kind is OK
    above = await asked(says(page_of(bytes(BODY_BYTES_MAX + 1))))
    assert above == Answer(kind=NO_DATA, evidence="the body is longer than 65536 bytes")


async def test_a_body_without_end_is_given_up() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(4_096))
            await writer.drain()

    assert (await asked(endless)).kind is NO_DATA


@pytest.mark.parametrize(
    "parts",
    [(), (b"HTTP/1.1 200 OK\r\n",), (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"12345")],
    ids=["silent", "in the head", "in the body"],
)
async def test_a_server_that_takes_too_long_gives_no_data(parts: tuple[bytes, ...]) -> None:
    answer = await asked(says(*parts, ends=False), by=asker(answer_s=0.2))
    assert answer == Answer(kind=NO_DATA, evidence="no answer within 0.2 s")


async def test_a_server_that_sends_a_byte_now_and_then_is_given_up_all_the_same() -> None:
    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while not reader.at_eof():
            writer.write(b"H")
            await writer.drain()
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.05)

    assert (await asked(dripping, by=asker(answer_s=0.3))).evidence == "no answer within 0.3 s"


@pytest.mark.parametrize(
    "parts",
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
        (),
    ],
    ids=["no HTTP", "endless head", "cut", "broken chunks", "hangs up"],
)
async def test_what_is_no_http_is_no_data(parts: tuple[bytes, ...]) -> None:
    answer = await asked(says(*parts))
    assert answer.kind is NO_DATA
    assert answer.evidence.startswith("the connection failed: ")


async def test_nobody_there_is_no_data_and_the_evidence_names_no_address() -> None:
    answer = await asker().ask(Http(url="http://127.0.0.1:9/?token=secret"))
    assert answer == Answer(kind=NO_DATA, evidence="the connection failed: ConnectError")


async def test_a_server_that_never_answers_to_tls_is_no_data_and_the_connection_is_closed() -> None:
    closed: list[bytes] = []

    async def deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        closed.append(await reader.read())

    async with serving(deaf) as address:
        answer = await asker(answer_s=0.5).ask(Http(url=address.replace("http:", "https:")))
    assert answer == Answer(kind=NO_DATA, evidence="no answer within 0.5 s")
    assert len(closed) == 1
