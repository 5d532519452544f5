"""The freeze calendar."""

from fastapi import APIRouter

from controller.app import freezes
from controller.app.views import FreezeView
from controller.http import schemas
from controller.http.auth import Context, Operator
from controller.http.routes import READ, WRITE, Id
from protocol.units import Instant

router = APIRouter(prefix="/v1/freezes", tags=["runs"])


@router.get("", response_model=list[schemas.Freeze], responses=READ, summary="List the freeze calendar")
async def list_freezes(c: Context, actor: Operator) -> tuple[FreezeView, ...]:
    """Return the freezes, the one that begins first first."""
    return await freezes.list_freezes(c, actor)


@router.post("", status_code=201, response_model=schemas.Freeze, responses=WRITE, summary="Add a freeze")
async def add_freeze(c: Context, actor: Operator, body: schemas.NewFreeze) -> FreezeView:
    """Let no run in scope begin anything new in a span; where it holds already, nothing is sent once this answers."""
    starts_at = None if body.starts_at is None else Instant(body.starts_at)  # type: ignore[arg-type]
    return await freezes.add(
        c,
        actor,
        name=body.name,
        starts_at=starts_at,
        ends_at=Instant(body.ends_at),  # type: ignore[arg-type]
        reason=body.reason,
        pipelines=tuple(body.pipelines),
    )


@router.post("/{name}/remove", response_model=schemas.Freeze, responses=WRITE, summary="Remove a freeze")
async def remove_freeze(c: Context, actor: Operator, name: Id, body: schemas.WithReason) -> FreezeView:
    """Take a freeze out of the calendar; runs that nothing else holds go on at once."""
    return await freezes.remove(c, actor, name=name, reason=body.reason)
