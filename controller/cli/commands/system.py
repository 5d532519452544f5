"""``tidegate audit`` and ``tidegate security``: what was done, and what was refused."""

import typer

from controller.cli.commands import After, Limit
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

audit = typer.Typer()
security = typer.Typer()

PAGE_LIMIT = 500

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
    _list(session, "/v1/audit", after, limit, AUDIT)


@command(security, "list")
def list_security(session: Session, after: After = 0, limit: Limit = 100) -> None:
    """List what devices refused, and what was refused of devices, oldest first."""
    _list(session, "/v1/security-events", after, limit, SECURITY)


def _list(session: Session, path: str, after: int, limit: int, shape: Shape) -> None:
    entries: list[dict[str, object]] = []
    while len(entries) < limit:
        asked = min(limit - len(entries), PAGE_LIMIT)
        page = session.client.get(path, {"after": after, "limit": asked})
        entries += page
        if len(page) < asked:
            break
        after = page[-1]["id"]
    session.printer.items(entries, shape)
