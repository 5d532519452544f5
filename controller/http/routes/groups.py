"""Groups of devices, as operators make them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from controller.app import groups
from controller.app.views import GroupChange, GroupView
from controller.http import schemas
from controller.http.auth import Context, Operator
from controller.http.routes import READ_ONE, WRITE

GroupPath = Annotated[str, Path(min_length=1, max_length=schemas.GROUP_PATH_LENGTH_MAX, description="as eu/berlin")]

router = APIRouter(prefix="/v1/groups", tags=["groups"])


@router.get("", response_model=list[schemas.Group], responses=READ_ONE, summary="List groups")
async def list_groups(
    c: Context,
    actor: Operator,
    *,
    under: Annotated[str | None, Query(description="only this group and those below it")] = None,
) -> tuple[GroupView, ...]:
    """Return groups with the numbers of their devices, each after the one above it."""
    return await groups.list_groups(c, actor, under=under)


@router.post("", status_code=201, response_model=schemas.Group, responses=WRITE, summary="Create a group")
async def create_group(c: Context, actor: Operator, body: schemas.NewGroup) -> GroupView:
    """Make a group, and those above it that there are not yet."""
    return await groups.create(c, actor, path=body.path)


@router.delete("/{path:path}", status_code=204, responses=WRITE, summary="Remove a group")
async def remove_group(
    c: Context,
    actor: Operator,
    path: GroupPath,
    *,
    recursive: Annotated[bool, Query(description="with its memberships and all groups below it")] = False,
) -> None:
    """Remove a group; its devices stay enrolled."""
    await groups.remove(c, actor, path=path, recursive=recursive)


@router.post("/{path:path}/add", response_model=schemas.MembersChanged, responses=WRITE, summary="Add devices")
async def add_devices(c: Context, actor: Operator, path: GroupPath, body: schemas.Members) -> GroupChange:
    """Make devices members of a group."""
    return await groups.add_devices(c, actor, path=path, devices=body.devices, query=body.query)


@router.post("/{path:path}/drop", response_model=schemas.MembersChanged, responses=WRITE, summary="Drop devices")
async def drop_devices(c: Context, actor: Operator, path: GroupPath, body: schemas.Members) -> GroupChange:
    """Take devices out of a group."""
    return await groups.drop_devices(c, actor, path=path, devices=body.devices, query=body.query)
