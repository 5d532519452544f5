"""Whether the controller is well, what was done, and what was refused."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from controller.app import system
from controller.app.views import AuditView, SecurityEventView
from controller.http import schemas
from controller.http.auth import Context, Operator
from controller.http.routes import READ, After, Limit

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

probes = APIRouter(tags=["system"])
router = APIRouter(prefix="/v1", tags=["system"])


@probes.get("/livez", summary="Say that the process answers", response_class=PlainTextResponse)
async def get_liveness() -> PlainTextResponse:
    """Answer without asking anything else."""
    return PlainTextResponse("ok\n")


@probes.get(
    "/readyz",
    summary="Say whether the controller can do its work",
    response_model=schemas.Health,
    responses={503: {"model": schemas.Health, "description": "It cannot; `faults` says why"}},
)
async def get_readiness(c: Context, request: Request) -> Response:
    """Ask the database and the transport."""
    health = await system.health(c, transport_faults=request.app.state.transport_faults())
    answer = schemas.Health.model_validate(health).model_dump()
    return JSONResponse(answer, status_code=200 if health.ready else 503)


@probes.get("/metrics", summary="Metrics in Prometheus' text form", response_class=PlainTextResponse)
async def get_metrics(request: Request) -> Response:
    """Return all metrics."""
    return Response(request.app.state.metrics(), media_type=METRICS_TYPE)


@router.get(
    "/security-events",
    response_model=list[schemas.SecurityEvent],
    responses=READ,
    summary="List what was refused",
)
async def list_security_events(
    c: Context, actor: Operator, *, after: After = 0, limit: Limit = 100
) -> tuple[SecurityEventView, ...]:
    """Return refusals, by devices and of devices, oldest first."""
    return await system.security_events(c, actor, after=after, limit=limit)


@router.get("/audit", response_model=list[schemas.AuditEntry], responses=READ, summary="Read the audit log")
async def list_audit_entries(
    c: Context, actor: Operator, *, after: After = 0, limit: Limit = 100
) -> tuple[AuditView, ...]:
    """Return acts of operators, oldest first, each chained by hash to the one before."""
    return await system.audit(c, actor, after=after, limit=limit)
