"""Releases: what the release key signed, as a list and as the signed file itself."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from controller.app import channels, paths, releases, withdrawal
from controller.app.access import Actor, Permission
from controller.app.views import ChannelView, ReleaseView, UpgradePathView
from controller.http import ranges, schemas
from controller.http.auth import EITHER, Context, Operator, OperatorOrDevice
from controller.http.problems import documented
from controller.http.routes import READ, READ_ONE, WRITE, Id
from protocol.ids import digest_of

router = APIRouter(prefix="/v1/releases", tags=["releases"])

_FILE: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.get("", response_model=list[schemas.Release], responses=READ, summary="List releases")
async def list_releases(
    c: Context, actor: Operator, *, app: Annotated[str | None, Query(description="only of this app")] = None
) -> tuple[ReleaseView, ...]:
    """Return releases, newest first."""
    return await releases.list_releases(c, actor, app=app)


@router.get(
    "/targets.json",
    responses=READ_ONE,
    summary="Read the signed release file",
    response_class=Response,
    openapi_extra=EITHER,
)
async def get_release_file(c: Context, caller: OperatorOrDevice, request: Request) -> Response:
    """Return the newest TUF targets file, byte for byte as it was signed."""
    require_read(caller)
    return _document(request, await releases.document(c))


@router.get(
    "/root.json", responses=READ_ONE, summary="Read the release root", response_class=Response, openapi_extra=EITHER
)
async def get_release_root(c: Context, caller: OperatorOrDevice, request: Request) -> Response:
    """Return the TUF root that lists the release keys; pin your own copy of it, do not trust this one."""
    require_read(caller)
    return _document(request, c.release_root)


@router.put(
    "/targets.json",
    response_model=list[schemas.Release],
    responses={**WRITE, **documented(413)},
    summary="Publish a signed release file",
    openapi_extra=_FILE,
)
async def publish_release_file(c: Context, actor: Operator, request: Request) -> tuple[ReleaseView, ...]:
    """Take the next version of the release file, whose artifacts are uploaded already; answer what is new in it."""
    return await releases.publish(c, actor, document=await request.body())


@router.post(
    "/{app}/{version}/channels",
    response_model=schemas.Channel,
    responses=WRITE,
    summary="Put a release into a channel",
)
async def add_to_channel(c: Context, actor: Operator, app: Id, version: Id, body: schemas.NewChannel) -> ChannelView:
    """Start the jobs that wait for releases of this channel, where the release is newer than all others in it."""
    return await channels.add(c, actor, app=app, version=version, channel=body.channel)


@router.delete(
    "/{app}/{version}/channels/{channel}", status_code=204, responses=WRITE, summary="Take a release out of a channel"
)
async def remove_from_channel(c: Context, actor: Operator, app: Id, version: Id, channel: Id) -> None:
    """Take a release out of a channel; runs that it started go on."""
    await channels.remove(c, actor, app=app, version=version, channel=channel)


@router.post(
    "/{app}/{version}/deprecate", response_model=schemas.Release, responses=WRITE, summary="Deprecate a release"
)
async def deprecate_release(c: Context, actor: Operator, app: Id, version: Id, body: schemas.WithReason) -> ReleaseView:
    """Have no run of it begin by itself, nor by a person who does not say `allow_deprecated`; runs go on."""
    return await withdrawal.deprecate(c, actor, app=app, version=version, reason=body.reason)


@router.post("/{app}/{version}/withdraw", response_model=schemas.Release, responses=WRITE, summary="Withdraw a release")
async def withdraw_release(c: Context, actor: Operator, app: Id, version: Id, body: schemas.WithReason) -> ReleaseView:
    """Block it everywhere and for good; once this is answered, nothing that installs it is sent any more."""
    return await withdrawal.withdraw(c, actor, app=app, version=version, reason=body.reason)


@router.get(
    "/{app}/{version}/path", response_model=schemas.UpgradePath, responses=READ_ONE, summary="Show an upgrade path"
)
async def get_path(c: Context, actor: Operator, app: Id, version: Id) -> UpgradePathView:
    """Say from which versions a release may be installed."""
    return await paths.get(c, actor, app=app, version=version)


@router.put(
    "/{app}/{version}/path", response_model=schemas.UpgradePath, responses=WRITE, summary="Order an upgrade path"
)
async def order_path(c: Context, actor: Operator, app: Id, version: Id, body: schemas.NewPath) -> UpgradePathView:
    """Say from which versions a release may be installed, and through which; what was sent is not taken back."""
    return await paths.order(
        c,
        actor,
        app=app,
        version=version,
        allowed=body.allowed,
        forbidden=body.forbidden,
        through=body.through,
        reason=body.reason,
    )


def require_read(caller: Actor | str) -> None:
    """Go on with a device, or with an operator who may read.

    Raises:
        NotAllowed: when the operator may not.
    """
    if isinstance(caller, Actor):
        caller.require(Permission.READ)


def _document(request: Request, raw: bytes) -> Response:
    etag = f'"{digest_of(raw)}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if ranges.is_known(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(raw, headers=headers, media_type="application/json")
