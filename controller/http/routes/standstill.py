"""Stopping everything at once, and lifting that."""

from fastapi import APIRouter

from controller.app import standstill
from controller.app.views import StandstillView
from controller.http import schemas
from controller.http.auth import Context, Operator
from controller.http.routes import READ, WRITE

router = APIRouter(prefix="/v1/stop-everything", tags=["runs"])


@router.post("", response_model=schemas.Standstill, responses=WRITE, summary="Stop everything")
async def stop_everything(c: Context, actor: Operator, body: schemas.WithReason) -> StandstillView:
    """Pause every run there is and every run to come; once this is answered, nothing is sent any more."""
    return await standstill.stop(c, actor, reason=body.reason)


@router.post("/lift", response_model=schemas.Standstill, responses=WRITE, summary="Let everything go on")
async def lift_standstill(c: Context, actor: Operator, body: schemas.WithReason) -> StandstillView:
    """Let every run go on that nothing else holds."""
    return await standstill.lift(c, actor, reason=body.reason)


@router.get("", response_model=schemas.Standstill, responses=READ, summary="Say whether everything is stopped")
async def get_standstill(c: Context, actor: Operator) -> StandstillView:
    """Return since when everything is stopped, by whom and why."""
    return await standstill.get(c, actor)
