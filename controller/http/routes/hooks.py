"""Webhooks by which build systems start runs; they are signed as the Standard Webhooks specification says."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response

from controller.app import checking, hooks
from controller.app.hooks import Delivery
from controller.app.views import CheckView, DeliveryView
from controller.http import definitions, schemas
from controller.http.auth import Context
from controller.http.routes import WRITE, Id

router = APIRouter(prefix="/v1/hooks", tags=["jobs"])

_EXAMPLE: Final = {"version": "2.1.0", "reason": "build 1234", "env": {"CHANNEL": "stable"}, "queue": True}
_VALUE: Final = {"type": ["string", "integer", "boolean", "array"], "items": {"type": "string"}}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "version": {"type": "string", "maxLength": 128},
                        "parameters": {"type": "object", "additionalProperties": _VALUE},
                        "env": {"type": "object", "additionalProperties": {"type": "string"}},
                        "reason": {"type": "string", "maxLength": 500},
                        "queue": {"type": "boolean", "default": False},
                    },
                },
                "example": _EXAMPLE,
            }
        }
    }
}

Text = Annotated[str, Header(max_length=1_024)]


@router.post(
    "/{job}",
    status_code=202,
    response_model=definitions.HookAnswer,
    responses=WRITE,
    summary="Call a job's webhook",
    openapi_extra=_BODY,
)
async def call_hook(
    c: Context,
    request: Request,
    response: Response,
    *,
    job: Id,
    webhook_id: Text = "",
    webhook_timestamp: Text = "",
    webhook_signature: Text = "",
) -> DeliveryView:
    """Start a run of the job; while one is active it is a conflict, unless `queue` has it wait for the end of that."""
    delivery = Delivery(
        id=webhook_id, timestamp=webhook_timestamp, signatures=webhook_signature, body=await request.body()
    )
    view = await hooks.receive(c, job=job, delivery=delivery)
    if view.run is not None:
        response.headers["Location"] = f"/v1/runs/{view.run}"
    return view


_TOLD: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["run", "stage", "check", "ok"],
                    "properties": {
                        **{name: {"type": "string", "maxLength": 128} for name in ("run", "stage", "check")},
                        "ok": {"type": "boolean"},
                        "text": {"type": "string", "maxLength": 500},
                    },
                },
                "example": {"run": "r0123456789", "stage": "canary", "check": "e2e", "ok": True, "text": "212 passed"},
            }
        }
    }
}


@router.post(
    "/{job}/checks",
    response_model=schemas.Check,
    responses=WRITE,
    summary="Answer a check by a job's webhook",
    openapi_extra=_TOLD,
)
async def answer_by_hook(
    c: Context,
    request: Request,
    *,
    job: Id,
    webhook_id: Text = "",
    webhook_timestamp: Text = "",
    webhook_signature: Text = "",
) -> CheckView:
    """Say how a check of a run of the job went that waits for a webhook; it counts as one answer."""
    delivery = Delivery(
        id=webhook_id, timestamp=webhook_timestamp, signatures=webhook_signature, body=await request.body()
    )
    return await checking.receive(c, job=job, delivery=delivery)
