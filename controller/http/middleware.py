"""What holds for every request: a limit for its body, and headers that make browsers careful with the answer."""

import re
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.documents import BYTES_MAX
from controller.http.problems import HEADERS, problem_response
from protocol.trust import DOCUMENT_BYTES_MAX

ARTIFACT_BYTES_MAX: Final = 8 * 1024**3

_LIMITS: Final = (
    (re.compile(r"/v1/artifacts/[^/]+"), ARTIFACT_BYTES_MAX),
    (re.compile(r"/v1/releases/targets\.json"), DOCUMENT_BYTES_MAX),
)


def limit_of(path: str) -> int:
    """Return how many bytes the body of a request to *path* may have."""
    return next((limit for pattern, limit in _LIMITS if pattern.fullmatch(path)), BYTES_MAX)


class BodyLimit:
    """Refuses bodies beyond the limit of their address, by what they announce and by what they send.

    The framework's own limit answers in plain text where a body is announced but never read; this one with a problem.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = limit_of(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            response = problem_response(Request(scope), status=413, slug="content-too-large", detail=_too_large(limit))
            await response(scope, receive, send)
            return
        await self._app(scope, _limited(receive, limit), send)


def _limited(receive: Receive, limit: int) -> Receive:
    received = 0

    async def receive_within() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return receive_within


def _too_large(limit: int) -> str:
    return f"the body is too large: expected at most {limit} bytes"


class CarefulHeaders:
    """Adds the headers of `problems.HEADERS` to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)
