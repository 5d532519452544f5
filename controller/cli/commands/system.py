"""``tidegate audit`` and ``tidegate security``: what was done, and what was refused."""

import typer

from controller.cli.commands import After, Limit
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

audit = typer.Typer()
security = typer.Typer()

AUDIT = Shape(
    "id",
    (
        Column("ID", "id"),
        Column("AT", "at"),
        Column("WHO", "actor"),
        Column("VERB", "verb"),
        Column("WHAT", "subject"),
        Column("REASON", "reason"),
        Column("HASH", "hash", is_wide=True),
    ),
)
SECURITY = Shape(
    "id",
    (
        Column("ID", "id"),
        Column("AT", "at"),
        Column("DEVICE", "device"),
        Column("CODE", "code"),
        Column("DETAIL", "detail"),
        Column("DIGEST", "digest", is_wide=True),
    ),
)


@command(audit, "list")
def list_audit(session: Session, after: After = 0, limit: Limit = 100) -> None:
    """List acts of operators, oldest first."""
    session.printer.items(session.client.entries("/v1/audit", after=after, limit=limit), AUDIT)


@command(security, "list")
def list_security(session: Session, after: After = 0, limit: Limit = 100) -> None:
    """List what devices refused, and what was refused of devices, oldest first."""
    session.printer.items(session.client.entries("/v1/security-events", after=after, limit=limit), SECURITY)
