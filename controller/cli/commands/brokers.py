"""``tidegate broker``: what an external broker needs so that Tidegate can rely on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.commands.local import PORT_MAX
from controller.cli.failures import CliError
from controller.cli.session import Session, command

if TYPE_CHECKING:
    from controller.brokers.plan import Plan, Rendered

group = typer.Typer()
configs = typer.Typer()
group.add_typer(configs, name="config", help="Write a broker's configuration.", no_args_is_help=True)

PASSWORD_BYTES = 32

Folder = Annotated[Path, typer.Option("--folder", help="The installation, as 'tidegate init' made it.")]
To = Annotated[Path, typer.Option("--to", help="Where the files go, at the path at which the broker finds them.")]
Hosts = Annotated[
    list[str] | None,
    typer.Option("--host", help="Name or address of the broker; repeatable, the first is what devices are told."),
]
DevicePort = Annotated[int, typer.Option("--device-port", min=1, max=PORT_MAX, help="Where devices connect.")]
DeviceBind = Annotated[str, typer.Option("--device-bind", help="Address to listen at for devices; empty: all.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the files that are there.")]


@command(configs, "mosquitto", is_local=True)
def mosquitto(
    session: Session,
    *,
    folder: Folder,
    to: To,
    host: Hosts = None,
    device_port: DevicePort = 8883,
    device_bind: DeviceBind = "",
    controller_port: Annotated[
        int, typer.Option("--controller-port", min=1, max=PORT_MAX, help="Where the controller connects.")
    ] = 8884,
    bind: Annotated[
        str, typer.Option("--bind", help="Address to listen at for the controller; empty: all.")
    ] = "127.0.0.1",
    user: Annotated[str, typer.Option("--user", help="Whom the broker becomes where root starts it.")] = "mosquitto",
    force: Force = False,
) -> None:
    """Write what Mosquitto needs: a listener for devices, another for the controller, certificate and rules."""
    from controller.brokers.mosquitto import SALT_BYTES, render
    from controller.brokers.plan import Plan
    from controller.clock import SystemChance

    with _errors_told():
        plan = Plan(
            folder=str(to.resolve()),
            hosts=tuple(host or ["localhost"]),
            password=SystemChance().token(PASSWORD_BYTES),
            device_port=device_port,
            device_bind=device_bind,
            controller_port=controller_port,
            controller_bind=bind,
            user=user,
        )
        rendered = render(plan, salt=bytes.fromhex(SystemChance().token(SALT_BYTES)))
        _write(session, folder=folder, to=to, plan=plan, rendered=rendered, force=force)


@command(configs, "nats", is_local=True)
def nats(
    session: Session,
    *,
    folder: Folder,
    to: To,
    host: Hosts = None,
    device_port: DevicePort = 8883,
    device_bind: DeviceBind = "",
    device: Annotated[
        list[str] | None, typer.Option("--device", help="tenant:device that gets a user of its own; repeatable.")
    ] = None,
    force: Force = False,
) -> None:
    """Write what NATS needs; read the comment in nats.conf about what NATS cannot enforce."""
    from controller.brokers.nats import render
    from controller.brokers.plan import Plan
    from controller.clock import SystemChance
    from protocol.ids import Name

    with _errors_told():
        plan = Plan(
            folder=str(to.resolve()),
            hosts=tuple(host or ["localhost"]),
            password=SystemChance().token(PASSWORD_BYTES),
            device_port=device_port,
            device_bind=device_bind,
            controller_bind=device_bind,
        )
        rendered = render(plan, devices=[Name(one) for one in device or []])
        _write(session, folder=folder, to=to, plan=plan, rendered=rendered, force=force)


@contextmanager
def _errors_told() -> Iterator[None]:
    from controller.app.errors import ControllerError
    from protocol.errors import ProtocolError

    try:
        yield
    except (ControllerError, ProtocolError) as error:
        raise CliError(str(error)) from error


def _write(session: Session, *, folder: Path, to: Path, plan: "Plan", rendered: "Rendered", force: bool) -> None:
    from controller.brokers.plan import CONTROLLER_FILE
    from controller.brokers.write import write
    from controller.clock import SystemClock
    from controller.signing.keystore import Keystore

    authority = Keystore(folder).authority()
    hosts, at = plan.certified_hosts, SystemClock().now()
    for path in write(to, rendered, authority=authority, hosts=hosts, at=at, overwrite=force):
        session.printer.raw(str(path))
    _say_next(session, plan, rendered, settings=to / CONTROLLER_FILE, folder=folder)


def _say_next(session: Session, plan: "Plan", rendered: "Rendered", *, settings: Path, folder: Path) -> None:
    """Say how broker and controller are started, without the password."""
    say = session.printer.say
    say("\nThe broker's certificate ends in a year: before then, write all of it anew: the same options, and --force.")
    if rendered.preparation:
        say(f"\nFirst move {settings.name} to where the controller's user alone can read it: the broker must not.")
        say(f"\nWhere root starts the broker, it becomes {plan.user}, who must own the files:")
        say(f"  {rendered.preparation}")
    say(f"\nStart the broker:\n  {rendered.command}")
    secret = ", which holds its password" if plan.password in rendered.url else ""
    say(f"\nThen the controller, with the settings in {settings}{secret}:")
    for name, value in rendered.settings.items():
        say(f"  {name}={value.replace(plan.password, '…')}")
    say(f"  set -a; . {settings}; set +a; tidegate serve --folder {folder}")
