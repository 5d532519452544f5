"""Asking over HTTP, within limits: no redirect is followed, no body read beyond 64 kB, nothing waited for beyond 10 s.

What is told of a failure names no URL: it may hold a token.
"""

import asyncio
import ssl
from typing import Final, assert_never
from urllib.parse import urlencode, urlsplit

import httpcore

from controller.checks.answers import no_data, page, samples
from controller.checks.reach import Reach, Unreachable
from controller.domain.gates.checks import Answer, Http, Prometheus

BODY_BYTES_MAX: Final = 65_536
ANSWER_S: Final = 10.0
CONNECTIONS_MAX: Final = 32
CONNECT_SHARE: Final = 0.4
"""Of the time for an answer, what the connection and then TLS may take each: both end by themselves, and close it."""
_HEADERS: Final = (
    (b"Accept", b"application/json, */*"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"tidegate"),
)


class TooLarge(Exception):
    """A body is longer than is read."""


class HttpAsker:
    """Puts the questions of checks; a connection for each, to an address that was looked at.

    Args:
        reach: which addresses may be reached.
        tls: how servers are known.
        allows_plain: whether `http` will do, without TLS.
        answer_s: how long an answer may take, in seconds.
    """

    def __init__(self, reach: Reach, tls: ssl.SSLContext, *, allows_plain: bool, answer_s: float = ANSWER_S) -> None:
        self._allows_plain = allows_plain
        self._answer_s = answer_s
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls, network_backend=reach, max_connections=CONNECTIONS_MAX, max_keepalive_connections=0
        )

    async def ask(self, source: Http | Prometheus) -> Answer:
        """Return what is answered; no data where nothing is."""
        url = url_of(source)
        if urlsplit(url).scheme != "https" and not self._allows_plain:
            return no_data("it is no https, and TIDEGATE_CHECK_PLAIN_HTTP does not allow that")
        try:
            async with asyncio.timeout(self._answer_s):
                status, body = await self._get(url)
        except Unreachable as error:
            return no_data(str(error))
        except TooLarge:
            return no_data(f"the body is longer than {BODY_BYTES_MAX} bytes")
        except (TimeoutError, httpcore.TimeoutException):
            return no_data(f"no answer within {self._answer_s:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            return no_data(f"the connection failed: {type(error).__name__}")
        return answer_of(source, status, body)

    async def _get(self, url: str) -> tuple[int, bytes]:
        body = bytearray()
        steps = {"timeout": {"connect": CONNECT_SHARE * self._answer_s}}
        async with self._pool.stream("GET", url, headers=_HEADERS, extensions=steps) as response:
            async for chunk in response.aiter_stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise TooLarge
            return response.status, bytes(body)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


def url_of(source: Http | Prometheus) -> str:
    """Return what is asked for.

    >>> url_of(Prometheus(url="https://prometheus.example/", query="up == 0", below=1))
    'https://prometheus.example/api/v1/query?query=up+%3D%3D+0'
    """
    match source:
        case Http():
            return source.url
        case Prometheus():
            return f"{source.url.rstrip('/')}/api/v1/query?{urlencode({'query': source.query})}"
        case _:
            assert_never(source)


def answer_of(source: Http | Prometheus, status: int, body: bytes) -> Answer:
    """Return what a response says."""
    return page(source, status, body) if isinstance(source, Http) else samples(source, status, body)
