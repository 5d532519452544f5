"""Artifacts: bytes by their SHA-256, uploaded as a stream and downloaded in parts."""

import asyncio
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from controller.app import releases
from controller.app.controller import Controller
from controller.app.errors import NotFound
from controller.http import ranges, schemas
from controller.http.auth import EITHER, Context, Operator, OperatorOrDevice
from controller.http.downloads import Content, Download, Slots, begin
from controller.http.problems import documented
from controller.http.routes import READ_ONE, WRITE
from controller.http.routes.releases import require_read
from protocol.ids import Digest, parse_digest

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])

_OCTETS: Final = "application/octet-stream"
_BINARY: Final = {_OCTETS: {"schema": {"type": "string", "format": "binary"}}}
_BODY: Final = {"requestBody": {"required": True, "content": _BINARY}}
_PARTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The whole artifact", "content": _BINARY},
    206: {"description": "The part that `Range` asks for", "content": _BINARY},
    304: {"description": "The caller has it (`If-None-Match`)"},
}
_IMMUTABLE: Final = "private, max-age=31536000, immutable"


@router.put(
    "/{sha256}",
    status_code=201,
    response_model=schemas.Artifact,
    responses={**WRITE, **documented(411)},
    summary="Upload an artifact",
    openapi_extra=_BODY,
)
async def upload_artifact(c: Context, actor: Operator, sha256: str, request: Request) -> schemas.Artifact:
    """Store a stream of bytes with that SHA-256; nothing half-written ever becomes visible."""
    digest = parse_digest(sha256)
    announced = request.headers.get("content-length", "")
    if not announced.isdecimal():
        raise HTTPException(411, "expected the header 'Content-Length'")
    await releases.upload(c, actor, digest=digest, length=int(announced), chunks=request.stream())
    return schemas.Artifact(sha256=digest, length=int(announced))


@router.head(
    "/{sha256}",
    responses={**READ_ONE, **_PARTS},
    summary="Ask for an artifact's length",
    response_class=Response,
    openapi_extra=EITHER,
)
async def head_artifact(c: Context, caller: OperatorOrDevice, sha256: str) -> Response:
    """Answer as GET does, without the bytes."""
    require_read(caller)
    digest = parse_digest(sha256)
    size = await asyncio.to_thread(_size, c, digest)
    return Response(headers={**_headers(digest), "Content-Length": str(size)}, media_type=_OCTETS)


@router.get(
    "/{sha256}",
    responses={**READ_ONE, **documented(416), **_PARTS},
    summary="Download an artifact, or a part of it",
    response_class=Response,
    openapi_extra=EITHER,
)
async def download_artifact(c: Context, caller: OperatorOrDevice, sha256: str, request: Request) -> Response:
    """Return the bytes; with `Range` (and `If-Range`) one part of them, so that a download can go on."""
    require_read(caller)
    digest = parse_digest(sha256)
    # One visit to a thread for everything that waits for the disk: a visit costs more than the work in it.
    found = await asyncio.to_thread(_find, c, digest, request)
    if found.content is None:
        return Response(status_code=found.status, headers=found.headers)
    slots: Slots = request.app.state.downloads
    return Download(found.content, slots, status_code=found.status, headers=found.headers)


class _Found(NamedTuple):
    """The answer to a download, with the beginning of its bytes where it has any."""

    status: int
    headers: dict[str, str]
    content: Content | None


def _find(c: Controller, digest: Digest, request: Request) -> _Found:
    size = _size(c, digest)
    headers = _headers(digest)
    if ranges.is_known(request.headers.get("if-none-match"), headers["ETag"]):
        return _Found(304, headers, None)
    part = _part(request, headers["ETag"], size)
    span = part or ranges.Span(0, size)
    headers["Content-Length"] = str(span.length)
    if part:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{size}"
    chunks = c.artifacts.read(digest, start=span.start, length=span.length)
    return _Found(206 if part else 200, headers, begin(chunks, span.length))


def _size(c: Controller, digest: Digest) -> int:
    size = c.artifacts.size(digest)
    if size is None:
        raise NotFound(f"no artifact {digest} is stored")
    return size


def _headers(digest: Digest) -> dict[str, str]:
    return {"ETag": f'"{digest}"', "Accept-Ranges": "bytes", "Cache-Control": _IMMUTABLE}


def _part(request: Request, etag: str, size: int) -> ranges.Span | None:
    if not ranges.is_current(request.headers.get("if-range"), etag):
        return None
    try:
        return ranges.choose(request.headers.get("range"), size=size)
    except ranges.Unsatisfiable as error:
        raise HTTPException(416, str(error), headers={"Content-Range": f"bytes */{size}"}) from error
