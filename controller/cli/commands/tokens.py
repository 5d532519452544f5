"""``tidegate token`` and ``tidegate claim``: secrets for people, programs and new devices."""

from typing import Annotated

import typer

from controller.app.access import Role
from controller.cli.addresses import quoted
from controller.cli.commands import time_after
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

group = typer.Typer()
claims = typer.Typer()

SHAPE = Shape(
    "id",
    (
        Column("ID", "id"),
        Column("NAME", "name"),
        Column("ROLE", "role"),
        Column("EXPIRES", "expires_at"),
        Column("REVOKED", "revoked"),
        Column("CREATED", "created_at", is_wide=True),
    ),
)
SECRET = Shape("secret", (Column("ID", "id"), Column("SECRET", "secret")))


@command(group, "create")
def create_token(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(help="Whom the audit log will name.")],
    role: Annotated[Role, typer.Option("--role", help="What the token may do.")],
    expires: Annotated[str, typer.Option("--expires", help="How long it lasts, such as 90d; never without.")] = "",
) -> None:
    """Make an API token; its secret is shown this once."""
    body = {"name": name, "role": role.value, "expires_at": time_after(expires) if expires else None}
    session.printer.item(session.client.send("POST", "/v1/tokens", body), SECRET)


@command(group, "revoke")
def revoke_token(
    session: Session, token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id.")]
) -> None:
    """End an API token at once."""
    session.confirm(f"token {token_id} will be refused from now on")
    session.client.send("DELETE", f"/v1/tokens/{quoted(token_id)}")
    session.printer.say(f"token {token_id} is revoked")


@command(group, "list")
def list_tokens(session: Session) -> None:
    """List API tokens, without their secrets."""
    session.printer.items(session.client.get("/v1/tokens"), SHAPE)


@command(claims, "create")
def create_claim(
    session: Session,
    *,
    uses: Annotated[int, typer.Option("--uses", min=1, help="How many devices can enrol with it.")] = 1,
    expires: Annotated[str, typer.Option("--expires", help="How long it lasts.")] = "7d",
) -> None:
    """Make a token that new devices enrol with; its secret is shown this once."""
    body = {"uses": uses, "expires_at": time_after(expires)}
    session.printer.item(session.client.send("POST", "/v1/claims", body), SECRET)
