"""``tidegate freeze``: spans in which no run begins anything new."""

from typing import Annotated, Any

import typer

from controller.cli.addresses import quoted
from controller.cli.commands import Reason, moment_of
from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

group = typer.Typer()

Name = Annotated[str, typer.Argument(help="What the freeze is called.")]

SHAPE = Shape(
    "name",
    (
        Column("NAME", "name"),
        Column("FROM", "starts_at"),
        Column("UNTIL", "ends_at"),
        Column("PIPELINES", lambda freeze: ", ".join(freeze["pipelines"]) or "all"),
        Column("REASON", "reason"),
        Column("STATE", lambda freeze: "over" if freeze["is_over"] else ""),
        Column("BY", "by", is_wide=True),
        Column("CREATED", "created_at", is_wide=True),
    ),
)


@command(group, "list")
def list_freezes(session: Session) -> None:
    """List the calendar, the freeze that begins first first."""
    session.printer.items(session.client.get("/v1/freezes"), SHAPE)


@command(group, "add")
def add_freeze(
    session: Session,
    *,
    name: Name,
    until: Annotated[
        str, typer.Option("--until", help="Its end: a time such as 2026-12-01T06:00:00Z, or 3d from now.")
    ],
    start: Annotated[str, typer.Option("--from", help="Its start, in the same way; now without.")] = "",
    pipelines: Annotated[
        list[str] | None, typer.Option("--pipeline", help="Only runs of this one; repeatable.")
    ] = None,
    reason: Reason = "",
) -> None:
    """Let no run begin anything new in a span of time; devices at work finish."""
    body: dict[str, Any] = {"name": name, "ends_at": moment_of(until), "reason": _required(reason)}
    body |= {"pipelines": pipelines or []} | ({"starts_at": moment_of(start)} if start else {})
    session.printer.item(session.client.send("POST", "/v1/freezes", body), SHAPE)


@command(group, "remove")
def remove_freeze(session: Session, name: Name, reason: Reason = "") -> None:
    """Take a freeze out of the calendar; runs that nothing else holds go on at once."""
    body = {"reason": _required(reason)}
    session.confirm(f"freeze {name} is removed: runs that nothing else holds go on at once")
    session.client.send("POST", f"/v1/freezes/{quoted(name)}/remove", body)


def _required(reason: str) -> str:
    if not reason.strip():
        raise CliError("expected --reason: why? it is kept in the audit log", code=ExitCode.USAGE)
    return reason
