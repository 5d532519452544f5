"""``tidegate group``: named sets of devices, in a tree."""

from typing import Annotated, Any

import typer

from controller.cli.addresses import quoted
from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

group = typer.Typer()

Path = Annotated[str, typer.Argument(help="The group's path, such as eu/berlin.")]
Devices = Annotated[list[str] | None, typer.Argument(help="Devices by their ids.")]
Query = Annotated[str | None, typer.Option("--query", "-q", help="Devices that match this query now.")]

SHAPE = Shape(
    "path",
    (
        Column("PATH", "path"),
        Column("DEVICES", "devices"),
        Column("WITH GROUPS BELOW", "devices_below"),
        Column("CREATED", "created_at", is_wide=True),
    ),
)
CHANGE = Shape("path", (Column("PATH", "path"), Column("FOUND", "found"), Column("CHANGED", "changed")))


@command(group, "list")
def list_groups(
    session: Session, under: Annotated[str | None, typer.Argument(help="Only this one and those below it.")] = None
) -> None:
    """List groups, with the numbers of their devices."""
    session.printer.items(session.client.get("/v1/groups", {"under": under} if under else {}), SHAPE)


@command(group, "create")
def create_group(session: Session, path: Path) -> None:
    """Create a group, and those above it."""
    session.printer.item(session.client.send("POST", "/v1/groups", {"path": path}), SHAPE)


@command(group, "remove")
def remove_group(
    session: Session,
    *,
    path: Path,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="With all groups below it.")] = False,
) -> None:
    """Remove a group; its devices stay enrolled."""
    if recursive:
        session.confirm(f"{path} and all groups below it will be removed; their devices stay enrolled")
    session.client.send("DELETE", f"/v1/groups/{quoted(path)}{'?recursive=true' if recursive else ''}")


@command(group, "add")
def add_devices(session: Session, *, path: Path, devices: Devices = None, query: Query = None) -> None:
    """Make devices members of a group."""
    _change(session, path, "add", _members(devices, query))


@command(group, "drop")
def drop_devices(session: Session, *, path: Path, devices: Devices = None, query: Query = None) -> None:
    """Take devices out of a group."""
    _change(session, path, "drop", _members(devices, query))


def _members(devices: list[str] | None, query: str | None) -> dict[str, Any]:
    if not devices and query is None:
        raise CliError("expected devices or --query", code=ExitCode.USAGE)
    return {"devices": devices or [], "query": query}


def _change(session: Session, path: str, act: str, members: dict[str, Any]) -> None:
    session.printer.item(session.client.send("POST", f"/v1/groups/{quoted(path)}/{act}", members), CHANGE)
