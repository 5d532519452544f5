"""The routes of the API, one module for each noun."""

from typing import Annotated, Final

from fastapi import Path, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request

from controller.app.errors import InvalidRequest
from controller.http.problems import documented
from protocol.units import INTEGER_MAX

LIMIT_MAX: Final = 500

READ: Final = documented(401, 403, 422, 503)
READ_ONE: Final = documented(401, 403, 404, 422, 503)
WRITE: Final = documented(400, 401, 403, 404, 409, 413, 422, 503)
EDIT: Final = {**WRITE, **documented(412, 428)}
MAYBE_EDIT: Final = {**WRITE, **documented(412)}

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="how many at most")]
Cursor = Annotated[str | None, Query(max_length=512, description="the `cursor` of the page before")]
After = Annotated[int, Query(ge=0, le=INTEGER_MAX, description="only entries with a greater id")]
Id = Annotated[str, Path(min_length=1, max_length=128)]


def pairs_of(texts: list[str], *, what: str) -> dict[str, str]:
    """Return what several ``key=value`` of a query string say.

    Raises:
        InvalidRequest: when one is no such text.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidRequest(f"{what} {text[:80]!r}: expected 'key=value', such as 'region=eu'")
        pairs[key] = value
    return pairs


def media_type(request: Request) -> str:
    """Return the media type of a request's body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media_type(request: Request, *expected: str) -> None:
    """Go on only with a body of one of these types.

    Raises:
        HTTPException: 415 otherwise.
    """
    if media_type(request) not in expected:
        raise HTTPException(415, f"expected a body of type {' or '.join(expected)}")
