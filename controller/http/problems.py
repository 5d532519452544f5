"""Every error as a problem document (RFC 9457), also those of the framework and those nobody foresaw."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from controller.app.errors import ControllerError, EnvironmentFault, InvalidDefinition
from controller.domain.validation import Fault
from protocol.errors import ProtocolError, UntrustedMessage

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:tidegate:problem:"
RETRY_AFTER_SECONDS: Final = 5
HEADERS: Final[Mapping[str, str]] = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

_log = structlog.get_logger()


class FaultModel(BaseModel):
    """One thing wrong with what was sent: its place, and what was expected there."""

    model_config = ConfigDict(from_attributes=True)

    place: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457). `faults` is there when more can be said than `detail` holds."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    faults: list[FaultModel] | None = None


def problem_response(
    request: Request,
    *,
    status: int,
    slug: str,
    detail: str,
    faults: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the problem as a response; `slug` names its kind within ours."""
    problem = Problem(
        type=TYPE_PREFIX + slug,
        title=slug.replace("-", " ").capitalize(),
        status=status,
        detail=detail,
        instance=request.url.path,
        faults=[FaultModel.model_validate(fault) for fault in faults] or None,
    )
    challenge = {"WWW-Authenticate": "Bearer, Tidegate-DSSE"} if status == HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=status,
        headers={**HEADERS, **challenge, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


async def _controller_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ControllerError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, EnvironmentFault):
        return await _unexpected(request, error)
    faults = error.faults if isinstance(error, InvalidDefinition) else ()
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if isinstance(error, EnvironmentFault) else None
    return problem_response(
        request, status=error.status, slug=error.slug, detail=str(error), faults=faults, headers=headers
    )


async def _protocol_error(request: Request, error: Exception) -> Response:
    """Answer for what a caller sent in the wire's own forms: names, digests, envelopes."""
    if isinstance(error, UntrustedMessage):
        return problem_response(request, status=401, slug="not-authenticated", detail=str(error))
    return problem_response(request, status=422, slug="invalid-request", detail=str(error))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = error.errors()
    if any(detail["type"] == "json_invalid" for detail in details):
        return problem_response(request, status=400, slug="bad-request", detail="the body is no valid JSON")
    sent = request.headers.get("content-type", "none")
    faults = [_fault_of(detail, sent) for detail in details]
    return problem_response(
        request,
        status=422,
        slug="invalid-request",
        detail="the request is not valid; 'faults' lists why",
        faults=faults,
    )


def _fault_of(detail: Mapping[str, Any], sent: str) -> Fault:
    if tuple(detail["loc"]) == ("body",) and isinstance(detail.get("input"), bytes):  # only JSON is parsed
        return Fault(place="body", message=f"expected JSON, with 'Content-Type: application/json'; found {sent[:100]}")
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    return Fault(place=place.removeprefix("."), message=detail["msg"].removeprefix("Value error, "))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    slug = status.phrase.lower().replace(" ", "-")
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    detail = error.detail if error.detail != status.phrase else _DETAILS.get(status, status.description)
    return problem_response(request, status=status, slug=slug, detail=detail, headers=headers)


_DETAILS: Final[Mapping[int, str]] = {
    HTTPStatus.NOT_FOUND: "there is nothing at this address",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take that method; see the header 'Allow'",
}


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes of a path; the framework names those of the first one only."""
    methods: set[str] = set()
    for route in request.app.state.flat_routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)


async def _disconnected(request: Request, _error: Exception) -> Response:
    return problem_response(request, status=400, slug="bad-request", detail="the connection ended within the body")


async def _unexpected(request: Request, error: Exception) -> Response:
    """Answer for a bug: the log gets the story, the caller only that there is one."""
    _log.error("unexpected_error", method=request.method, path=request.url.path, exc_info=error)
    return problem_response(request, status=500, slug="internal", detail="an unexpected error; the log says more")


def install(app: FastAPI) -> None:
    """Answer every error of *app* with a problem document."""
    app.add_exception_handler(ControllerError, _controller_error)
    app.add_exception_handler(ProtocolError, _protocol_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    app.add_exception_handler(Exception, _unexpected)


_MEANINGS: Final[Mapping[int, str]] = {
    400: "The request cannot be read",
    401: "Nobody we know sent this",
    403: "The caller lacks the permission",
    404: "There is no such thing",
    405: "The address does not take this method",
    409: "The thing is not in a state that allows this",
    411: "The length of the body has to be said",
    413: "The body is too large",
    415: "The body is of another type",
    412: "The thing is another one by now than the edit was made from; `ETag` of a `GET` says which",
    416: "The range lies outside the artifact",
    422: "The request's content breaks a rule; `faults` lists which",
    428: "The edit lacks `If-Match` with the `ETag` it was made from, or `If-None-Match: *` to create",
    503: "The controller cannot do this now; try again after `Retry-After`",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI responses for problems of these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}
