"""API tokens of people and programs, and claim tokens that devices enrol with."""

from fastapi import APIRouter, Response

from controller.app import tokens
from controller.app.views import NewSecret, TokenView
from controller.http import schemas
from controller.http.auth import Context, Operator
from controller.http.routes import READ, WRITE, Id
from protocol.units import Instant

router = APIRouter(prefix="/v1", tags=["tokens"])


@router.post(
    "/tokens",
    status_code=201,
    response_model=schemas.NewSecret,
    responses=WRITE,
    summary="Create an API token",
)
async def create_token(c: Context, actor: Operator, body: schemas.NewToken) -> NewSecret:
    """Make a token; its secret is shown this once."""
    expires_at = None if body.expires_at is None else Instant(body.expires_at)  # type: ignore[arg-type]
    return await tokens.create(c, actor, name=body.name, role=body.role, expires_at=expires_at)


@router.get("/tokens", response_model=list[schemas.Token], responses=READ, summary="List API tokens")
async def list_tokens(c: Context, actor: Operator) -> tuple[TokenView, ...]:
    """Return every token, without secrets."""
    return await tokens.list_tokens(c, actor)


@router.delete("/tokens/{token}", status_code=204, responses=WRITE, summary="Revoke an API token")
async def revoke_token(c: Context, actor: Operator, token: Id) -> Response:
    """End a token at once."""
    await tokens.revoke(c, actor, token=token)
    return Response(status_code=204)


@router.post(
    "/claims",
    status_code=201,
    response_model=schemas.NewSecret,
    responses=WRITE,
    summary="Create a claim token",
)
async def create_claim(c: Context, actor: Operator, body: schemas.NewClaim) -> NewSecret:
    """Make a token that so many devices can enrol with."""
    expires_at = Instant(body.expires_at)  # type: ignore[arg-type]
    return await tokens.create_claim(c, actor, uses=body.uses, expires_at=expires_at)
