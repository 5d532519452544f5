"""``tidegate device``: find devices and manage them."""

from typing import Annotated, Any

import typer

from controller.cli.addresses import quoted
from controller.cli.commands import Limit, Reason, pairs_of, show_list, time_after
from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Output, Shape
from controller.cli.session import Session, command

group = typer.Typer()

DeviceName = Annotated[str, typer.Argument(help="The device's id.")]
AppName = Annotated[str, typer.Argument(help="The app's name.")]


def _apps(device: Any) -> str:
    return ", ".join(f"{installed['app']} {installed['version']}" for installed in device["installed"])


def _state(device: Any) -> str:
    if device["removed_at"]:
        return "removed"
    if device["blocked"]:
        return "blocked"
    if device["broken"]:
        return "broken"
    if device["hold"]:
        return "held"
    return "online" if device["online"] else "offline"


def _held_for(device: Any) -> str:
    hold = device["hold"]
    if hold is None:
        return ""
    return f"{hold['reason']} ({hold['by']}" + (f", until {hold['ends_at']})" if hold["ends_at"] else ")")


def _pins(device: Any) -> str:
    return ", ".join(f"{pin['app']} {pin['versions']}: {pin['reason']} ({pin['by']})" for pin in device["pins"])


SHAPE = Shape(
    "device",
    (
        Column("DEVICE", "device"),
        Column("STATE", _state),
        Column("MODEL", "model"),
        Column("APPS", _apps),
        Column("LABELS", "labels"),
        Column("LAST SEEN", "last_seen_at"),
        Column("AGENT", "agent", is_wide=True),
        Column("FACTS", "facts", is_wide=True),
        Column("HELD FOR", _held_for, is_wide=True),
        Column("PINS", _pins, is_wide=True),
        Column("ENROLLED", "enrolled_at", is_wide=True),
        Column("CERTIFICATE ENDS", "certificate_expires_at", is_wide=True),
    ),
)


@command(group, "list")
def list_devices(
    session: Session,
    *,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="Only with key=value; repeatable.")] = None,
    online: Annotated[bool | None, typer.Option("--online/--offline", help="Only connected ones, or others.")] = None,
    app: Annotated[str | None, typer.Option("--app", help="Only with this app.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Only with the app at this version.")] = None,
    query: Annotated[str | None, typer.Option("--query", "-q", help="Only those that match this query.")] = None,
    group: Annotated[str | None, typer.Option("--group", "-g", help="Only members of it, or of one below it.")] = None,
    limit: Limit = 100,
) -> None:
    """List the devices that match every filter."""
    labels = [f"{key}={value}" for key, value in pairs_of(label or []).items()]
    params = {"label": labels, "online": online, "app": app, "version": version, "query": query, "group": group}
    show_list(session, "/v1/devices", params, shape=SHAPE, limit=limit)


@command(group, "show")
def show_device(session: Session, device: DeviceName) -> None:
    """Show one device."""
    session.printer.item(session.client.get(f"/v1/devices/{quoted(device)}"), SHAPE)


WHY = Shape(
    "code",
    (
        Column("RUN", "run"),
        Column("APP", "app"),
        Column("WHY", "text"),
        Column("UNTIL", "until"),
        Column("WHAT WOULD CHANGE IT", "change"),
        Column("CODE", "code", is_wide=True),
    ),
)


@command(group, "why")
def explain_device(
    session: Session,
    *,
    device: DeviceName,
    run: Annotated[str | None, typer.Option("--run", help="Ask about this run alone.")] = None,
    app: Annotated[str | None, typer.Option("--app", help="Ask about runs of this app alone.")] = None,
) -> None:
    """Say why a device is not updated, the most decisive fact first."""
    if run is None:
        answer = session.client.get(f"/v1/devices/{quoted(device)}/why", {"app": app})
    else:
        answer = session.client.get(f"/v1/runs/{quoted(run)}/targets/{quoted(device)}/why")
    if session.printer.is_for_people or session.printer.output is Output.NAME:
        session.printer.items(_facts(answer), WHY)
    else:
        session.printer.item(answer, WHY)


def _facts(answer: Any) -> list[Any]:
    """Return every fact with the run and the version that it is about, those without a run first."""
    about = [{"facts": answer["facts"]}, *answer["runs"]] if "runs" in answer else [answer]
    return [
        {"run": one.get("run"), "app": f"{one['app']} {one['version']}" if "app" in one else None, **fact}
        for one in about
        for fact in one["facts"]
    ]


@command(group, "label")
def label_device(
    session: Session,
    *,
    device: DeviceName,
    changes: Annotated[list[str], typer.Argument(help="key=value to set, key- to remove.")],
) -> None:
    """Set and remove labels; others stay."""
    path = f"/v1/devices/{quoted(device)}/labels"
    before = session.client.read(path)
    labels = dict(before.data["labels"])
    for change in changes:
        if change.endswith("-") and "=" not in change:
            labels.pop(change[:-1], None)
        else:
            labels |= pairs_of([change])
    session.printer.item(session.client.send("PUT", path, {"labels": labels}, match=before.match), SHAPE)


@command(group, "block")
def block_device(session: Session, device: DeviceName, reason: Reason) -> None:
    """Shut a device out: nothing is sent to it or taken from it. A broker may keep its connection."""
    _require(reason)
    session.confirm(f"nothing will be sent to {device} or taken from it, and its certificate not be renewed")
    session.printer.item(session.client.send("POST", f"/v1/devices/{quoted(device)}/block", {"reason": reason}), SHAPE)


@command(group, "unblock")
def unblock_device(session: Session, device: DeviceName, reason: Reason) -> None:
    """Let a blocked device back in."""
    _require(reason)
    session.printer.item(
        session.client.send("POST", f"/v1/devices/{quoted(device)}/unblock", {"reason": reason}), SHAPE
    )


@command(group, "remove")
def remove_device(session: Session, device: DeviceName, reason: Reason) -> None:
    """Take a device out of the fleet and of every run; enrolling it anew brings it back."""
    _require(reason)
    session.confirm(f"{device} will leave its groups, and end as removed in every run that has not ended")
    path = f"/v1/devices/{quoted(device)}/remove"
    session.printer.item(session.client.send("POST", path, {"reason": reason}), SHAPE)


@command(group, "hold")
def hold_device(
    session: Session,
    *,
    device: DeviceName,
    reason: Reason,
    span: Annotated[str, typer.Option("--for", help="Only for a span such as 2h; else until it is lifted.")] = "",
) -> None:
    """Give a device no work. What it has not accepted goes back to the queue; what it has accepted goes on."""
    _require(reason)
    body = {"reason": reason, "until": time_after(span) if span else None}
    session.printer.item(session.client.send("POST", f"/v1/devices/{quoted(device)}/hold", body), SHAPE)


@command(group, "unhold")
def unhold_device(session: Session, device: DeviceName, reason: Reason) -> None:
    """Let a device get work again."""
    _require(reason)
    session.printer.item(session.client.send("POST", f"/v1/devices/{quoted(device)}/unhold", {"reason": reason}), SHAPE)


@command(group, "pin")
def pin_device(
    session: Session,
    *,
    device: DeviceName,
    app: AppName,
    versions: Annotated[str, typer.Argument(help="The only versions it may get, such as 2.1, '<3' or '>=2,!=2.3.*'.")],
    reason: Reason,
) -> None:
    """Give a device no other versions of an app than these."""
    _require(reason)
    body = {"app": app, "versions": versions, "reason": reason}
    session.printer.item(session.client.send("POST", f"/v1/devices/{quoted(device)}/pin", body), SHAPE)


@command(group, "unpin")
def unpin_device(session: Session, *, device: DeviceName, app: AppName, reason: Reason) -> None:
    """Let a device get any version of an app again."""
    _require(reason)
    body = {"app": app, "reason": reason}
    session.printer.item(session.client.send("POST", f"/v1/devices/{quoted(device)}/unpin", body), SHAPE)


def _require(reason: str) -> None:
    if not reason.strip():
        raise CliError("expected a reason", code=ExitCode.USAGE)
