"""The HTTP client of the command line: one place for TLS, tokens, retries, pages and problems."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import httpx
import tenacity

from controller.cli.connection import explain, is_passing, require_https, tls_context
from controller.cli.contexts import Context
from controller.cli.events import END, ServerEvent, events_of
from controller.cli.failures import CliError, ExitCode, code_of
from controller.clock import SystemChance

ATTEMPTS_MAX: Final = 4
KEY_BYTES: Final = 16
PAGE_LIMIT: Final = 200
LOG_PAGE_LIMIT: Final = 500
LOG_PAGES_MAX: Final = 20_000
TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
LAST_ID: Final = "Last-Event-ID"
STREAMS_MAX: Final = 10_000
"""How often a stream is asked for again; the controller ends each after a quarter of an hour."""
STREAM_WAIT_S: Final = 1.0
UPLOAD_TIMEOUT: Final = httpx.Timeout(600.0, connect=10.0)

Params = Mapping[str, str | int | bool | list[str] | None]

_again: Final = tenacity.Retrying(
    retry=tenacity.retry_if_exception(is_passing),
    stop=tenacity.stop_after_attempt(ATTEMPTS_MAX),
    wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
    reraise=True,
)


def open_transport(context: Context) -> httpx.BaseTransport:
    """Return how requests travel: HTTPS that trusts the context's CA, or the system's without one."""
    return httpx.HTTPTransport(verify=tls_context(context.ca))


class Entries(NamedTuple):
    """Some entries of a log, oldest first, and how many there are with those left out."""

    shown: list[Any]
    total: int


class Tagged(NamedTuple):
    """Something that can be edited: its JSON, and the headers with which only this version of it is edited."""

    data: Any
    match: Mapping[str, str]


NEW: Final[Mapping[str, str]] = {"If-None-Match": "*"}
"""What is sent to create, and to change nothing that is there."""
ANY: Final[Mapping[str, str]] = {"If-Match": "*"}
"""What is sent to change something whatever it is by now."""


class Client:
    """Speaks to one controller as one token."""

    def __init__(self, context: Context) -> None:
        require_https(context.url)
        if not context.token:
            raise CliError(
                "no token: set TIDEGATE_TOKEN or --token; the first one is in admin.token of the installation's folder",
                code=ExitCode.NOT_ALLOWED,
            )
        headers = {"Authorization": f"Bearer {context.token}"}
        self._context = context
        self._has_answered = False
        self._http = httpx.Client(
            transport=open_transport(context), base_url=context.url, headers=headers, timeout=TIMEOUT
        )

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def get(self, path: str, params: Params | None = None) -> Any:
        """Return the JSON at *path*."""
        return self._send_again("GET", path, params).json()

    def read(self, path: str) -> Tagged:
        """Return the JSON at *path* to be edited."""
        response = self._send_again("GET", path, None)
        return Tagged(response.json(), {"If-Match": response.headers["ETag"]})

    def find(self, path: str) -> Tagged:
        """Return the JSON at *path* to be edited, and None to be created where there is nothing."""
        try:
            return self.read(path)
        except CliError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return Tagged(None, NEW)
            raise

    def get_bytes(self, path: str, *, accept: str = "*/*", params: Params | None = None) -> bytes:
        """Return the bytes at *path*."""
        return self._send_again("GET", path, params, accept=accept).content

    def exists(self, path: str) -> bool:
        """Say whether there is something at *path*."""
        try:
            self._send_again("HEAD", path, None)
        except CliError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        match: Mapping[str, str] = MappingProxyType({}),
        params: Params | None = None,
    ) -> Any:
        """Send *body* as JSON; return the JSON of the answer, None where there is none.

        *match* is of what was read, so that nothing else is edited.

        What is lost on the way is sent again, under one Idempotency-Key: it has one effect.
        """
        headers = {"Idempotency-Key": SystemChance().token(KEY_BYTES), **match}
        send = self._http.request if method == "DELETE" else partial(_again.copy(), self._http.request)
        response = self._checked(lambda: send(method, path, json=body, headers=headers, params=params))
        return response.json() if response.content else None

    def put_bytes(
        self, path: str, content: bytes, *, media_type: str, match: Mapping[str, str] = MappingProxyType({})
    ) -> Any:
        """Send *content* as it is."""
        headers = {"Content-Type": media_type, **match}
        return self._checked(lambda: self._http.put(path, content=content, headers=headers)).json()

    def upload(self, path: str, file: Path, *, length: int, on_bytes: Callable[[int], None]) -> None:
        """Send a file in chunks; *on_bytes* is told the size of each one sent."""
        headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        chunks = _chunks(file, on_bytes)
        self._checked(lambda: self._http.put(path, content=chunks, headers=headers, timeout=UPLOAD_TIMEOUT))

    def items(
        self, path: str, params: Params, *, limit: int, on_left: Callable[[], None] = lambda: None
    ) -> Iterator[Any]:
        """Yield at most *limit* items of a paged list, fetching pages as needed; *on_left* is told of more."""
        cursor: str | None = None
        while limit > 0:
            page = self.get(path, {**params, "cursor": cursor, "limit": min(limit, PAGE_LIMIT)})
            yield from page["items"][:limit]
            limit -= len(page["items"])
            cursor = page["cursor"]
            if cursor is None or not page["items"]:
                return
        on_left()

    def entries(self, path: str, *, after: int, limit: int) -> list[Any]:
        """Return at most *limit* entries of a log that lie after an id, fetching pages as needed."""
        found: list[Any] = []
        for page in self._log_pages(path, after=after, limit=limit):
            found += page
        return found

    def newest(self, path: str, *, limit: int) -> Entries:
        """Return the last *limit* entries of a log; the API gives logs from the beginning, so all pages are read."""
        kept: deque[Any] = deque(maxlen=limit)
        total = 0
        for page in self._log_pages(path, after=0, limit=LOG_PAGES_MAX * LOG_PAGE_LIMIT):
            kept.extend(page)
            total += len(page)
        return Entries(list(kept), total)

    def stream(self, path: str, *, after: int) -> Iterator[ServerEvent]:
        """Yield the server-sent events at *path* that come after an id, until one is `end`.

        A stream that breaks off is asked for again from the last id on.
        """
        headers = {"Accept": "text/event-stream"}
        for _ in range(STREAMS_MAX):
            try:
                with self._http.stream("GET", path, headers={**headers, LAST_ID: str(after)}) as response:
                    self._require_success(response)
                    for event in events_of(response.iter_lines()):
                        yield event
                        after = max(after, event.id)
                        if event.kind == END:
                            return
            except httpx.TransportError as error:
                if not self._has_answered or not is_passing(error):
                    raise explain(error, self._context, has_answered=self._has_answered) from error
            time.sleep(STREAM_WAIT_S)

    def _log_pages(self, path: str, *, after: int, limit: int) -> Iterator[list[Any]]:
        while limit > 0:
            asked = min(limit, LOG_PAGE_LIMIT)
            page = self.get(path, {"after": after, "limit": asked})
            yield page
            if len(page) < asked:
                return
            limit -= len(page)
            after = page[-1]["id"]

    def _send_again(self, method: str, path: str, params: Params | None, *, accept: str = "*/*") -> httpx.Response:
        given = {key: value for key, value in (params or {}).items() if value is not None}
        return self._checked(
            lambda: _again.copy()(self._http.request, method, path, params=given, headers={"Accept": accept})
        )

    def _checked(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            response = send()
        except httpx.InvalidURL as error:
            raise CliError(f"{self._context.url} is no address: {error}", code=ExitCode.USAGE) from error
        except httpx.HTTPError as error:
            raise explain(error, self._context, has_answered=self._has_answered) from error
        self._require_success(response)
        return response

    def _require_success(self, response: httpx.Response) -> None:
        self._has_answered = True
        if not response.is_success:
            response.read()
            raise _error_of(response)


def _chunks(file: Path, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(256 * 1024):
            yield chunk
            on_bytes(len(chunk))


def _error_of(response: httpx.Response) -> CliError:
    status = response.status_code
    is_problem = response.headers.get("content-type", "").partition(";")[0] == "application/problem+json"
    if not is_problem or not response.content:
        return CliError(
            f"the controller answered {status} {response.reason_phrase}", code=code_of(status), status=status
        )
    problem = response.json()
    faults = [f"{fault['place']}: {fault['message']}".removeprefix(": ") for fault in problem.get("faults", ())]
    return CliError(f"{problem['title']}: {problem['detail']}", code=code_of(status), details=faults, status=status)
