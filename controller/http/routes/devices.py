"""Devices, as operators see them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from controller.app import devices, removing, restraining, why
from controller.app.conditions import labels_tag
from controller.app.views import DeviceView, DeviceWhyView, Page
from controller.domain.query import LENGTH_MAX
from controller.http import schemas
from controller.http.auth import Context, Operator
from controller.http.conditions import WhatIsExpected, say_tag
from controller.http.routes import EDIT, READ, READ_ONE, WRITE, Cursor, Id, Limit, pairs_of
from protocol.units import Instant

LABELS_MAX = 16

router = APIRouter(prefix="/v1/devices", tags=["devices"])


@router.get("", response_model=schemas.Page[schemas.Device], responses=READ, summary="List devices")
async def list_devices(
    c: Context,
    actor: Operator,
    *,
    label: Annotated[list[str], Query(max_length=LABELS_MAX, description="only with `key=value`; repeatable")] = [],  # noqa: B006 - FastAPI copies it
    online: Annotated[bool | None, Query(description="only connected ones, or only others")] = None,
    app: Annotated[str | None, Query(description="only with this app installed")] = None,
    version: Annotated[str | None, Query(description="only with `app` at this version")] = None,
    query: Annotated[str | None, Query(max_length=LENGTH_MAX, description="only those that match this query")] = None,
    group: Annotated[str | None, Query(description="only members of this group, or of one below it")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[DeviceView]:
    """Return a page of the devices that match every filter."""
    labels = pairs_of(label, what="label")
    return await devices.list_devices(
        c,
        actor,
        labels=labels,
        online=online,
        app=app,
        version=version,
        query=query,
        group=group,
        cursor=cursor,
        limit=limit,
    )


@router.get("/{device}", response_model=schemas.Device, responses=READ_ONE, summary="Show a device")
async def get_device(c: Context, actor: Operator, device: Id) -> DeviceView:
    """Return one device."""
    return await devices.get(c, actor, device=device)


@router.get("/{device}/why", response_model=schemas.DeviceWhy, responses=READ_ONE, summary="Say why a device waits")
async def explain_device(
    c: Context,
    actor: Operator,
    device: Id,
    app: Annotated[str | None, Query(description="only runs of this app")] = None,
) -> DeviceWhyView:
    """Return why a device is not updated by any active run; with none, by the last that ended."""
    return await why.of_device(c, actor, device=device, app=app)


@router.get("/{device}/labels", response_model=schemas.Labels, responses=READ_ONE, summary="Show a device's labels")
async def get_device_labels(c: Context, actor: Operator, device: Id, response: Response) -> dict[str, Any]:
    """Return all labels of a device, with the tag that an edit of them takes."""
    view = await devices.get(c, actor, device=device)
    say_tag(response, labels_tag(view.labels))
    return {"labels": view.labels}


@router.put("/{device}/labels", response_model=schemas.Device, responses=EDIT, summary="Set a device's labels")
async def set_device_labels(
    c: Context, actor: Operator, device: Id, *, body: schemas.Labels, response: Response, expected: WhatIsExpected
) -> DeviceView:
    """Replace all labels of a device."""
    view = await devices.set_labels(c, actor, device=device, labels=body.labels, expected=expected)
    say_tag(response, labels_tag(view.labels))
    return view


@router.post("/{device}/block", response_model=schemas.Device, responses=WRITE, summary="Block a device")
async def block_device(c: Context, actor: Operator, device: Id, body: schemas.WithReason) -> DeviceView:
    """Send, take and renew nothing any more, and close the device's connection, unless that ends at a broker."""
    await devices.block(c, actor, device=device, reason=body.reason)
    return await devices.get(c, actor, device=device)


@router.post("/{device}/unblock", response_model=schemas.Device, responses=WRITE, summary="Unblock a device")
async def unblock_device(c: Context, actor: Operator, device: Id, body: schemas.WithReason) -> DeviceView:
    """Let a blocked device back in."""
    await devices.unblock(c, actor, device=device, reason=body.reason)
    return await devices.get(c, actor, device=device)


@router.post("/{device}/remove", response_model=schemas.Device, responses=WRITE, summary="Remove a device")
async def remove_device(c: Context, actor: Operator, device: Id, body: schemas.WithReason) -> DeviceView:
    """Take a device out of the fleet, its groups and every active run. Enrolling it anew brings it back."""
    return await removing.remove(c, actor, device=device, reason=body.reason)


@router.post("/{device}/hold", response_model=schemas.Device, responses=WRITE, summary="Hold a device")
async def hold_device(c: Context, actor: Operator, device: Id, body: schemas.NewHold) -> DeviceView:
    """Give a device no work; what it has not accepted goes back to the queue, what it has accepted goes on."""
    until = None if body.until is None else Instant(body.until)  # type: ignore[arg-type]
    return await restraining.hold(c, actor, device=device, reason=body.reason, until=until)


@router.post("/{device}/unhold", response_model=schemas.Device, responses=WRITE, summary="Lift a hold")
async def unhold_device(c: Context, actor: Operator, device: Id, body: schemas.WithReason) -> DeviceView:
    """Let a device get work again."""
    return await restraining.unhold(c, actor, device=device, reason=body.reason)


@router.post("/{device}/pin", response_model=schemas.Device, responses=WRITE, summary="Pin an app of a device")
async def pin_device(c: Context, actor: Operator, device: Id, body: schemas.NewPin) -> DeviceView:
    """Give a device no version of an app outside a range such as `>=2.0, <3`."""
    return await restraining.pin(c, actor, device=device, app=body.app, versions=body.versions, reason=body.reason)


@router.post("/{device}/unpin", response_model=schemas.Device, responses=WRITE, summary="Take a pin away")
async def unpin_device(c: Context, actor: Operator, device: Id, body: schemas.NoPin) -> DeviceView:
    """Let a device get any version of an app again."""
    return await restraining.unpin(c, actor, device=device, app=body.app, reason=body.reason)
