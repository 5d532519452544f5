"""``tidegate audit`` and ``tidegate security``: what was done, and what was refused."""

import typer

from controller.cli.commands import After, Limit, show_log
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
def list_audit(session: Session, after: After = None, limit: Limit = 100) -> None:
    """List the newest acts of operators, the last one last."""
    show_log(session, "/v1/audit", shape=AUDIT, after=after, limit=limit)


@command(security, "list")
def list_security(session: Session, after: After = None, limit: Limit = 100) -> None:
    """List the newest of what devices refused, and of what was refused of devices, the last one last."""
    show_log(session, "/v1/security-events", shape=SECURITY, after=after, limit=limit)
