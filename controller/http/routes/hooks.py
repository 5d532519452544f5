"""Webhooks by which build systems start runs; they are signed as the Standard Webhooks specification says."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request, Response

from controller.app import hooks
from controller.app.hooks import Delivery
from controller.app.views import DeliveryView
from controller.http import definitions
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
