"""``tidegate broker-check``: whether Tidegate can rely on a broker, and how to set both up."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Output, Printer, Shape
from controller.cli.session import Session, command

if TYPE_CHECKING:
    from controller.mqtt.check.findings import Report
    from controller.mqtt.check.peer import Door
    from controller.mqtt.check.site import Identities, Site

FINDINGS: Final = Shape("check", (Column("CHECK", "check"), Column("VERDICT", "verdict"), Column("FOUND", "found")))
FAILURES: Final = {"warning", "unsafe"}
NOT_CHECKED: Final = "not checked"
RESTART_SECONDS: Final = 60.0


def add_to(app: typer.Typer) -> None:
    """Add the command to the root of the command line."""
    command(app, "broker-check", is_local=True)(check)


def check(
    session: Session,
    *,
    url: Annotated[
        str,
        typer.Argument(envvar="TIDEGATE_BROKER_URL", help="As the controller reaches it: mqtts://user:password@host."),
    ],
    folder: Annotated[
        Path, typer.Option("--folder", envvar="TIDEGATE_FOLDER", help="What 'tidegate init' made.")
    ] = Path("tidegate"),
    devices: Annotated[
        str,
        typer.Option("--devices", envvar="TIDEGATE_BROKER_DEVICES", help="host:port for devices, where it is another."),
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option("--ca", envvar="TIDEGATE_BROKER_CA", help="CA of the broker's certificate, PEM; else ours."),
    ] = None,
    allow_restart: Annotated[
        str,
        typer.Option("--allow-restart", help="A command that kills the broker and starts it again: what is kept?"),
    ] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="Form of the output.")] = Output.TABLE,
) -> None:
    """Probe an MQTT broker for all that Tidegate needs of it; exit code 5 when something unsafe was found.

    It opens some 200 connections and sends some ten thousand small messages, within a minute. It comes as the
    controller and as the devices check-a, check-b and check-c. Client ids and topics are its own: a controller at
    work hears nothing of it, and the broker keeps nothing.
    """
    from controller.mqtt.check.catalogue import Verdict
    from controller.mqtt.check.program import probe

    del session
    printer = Printer(output)
    site = site_of(url, folder, devices=devices, ca=ca, restart=_restart(allow_restart))
    report = probe(site, say=printer.say)
    _show(printer, report)
    if report.verdict is Verdict.UNSAFE or report.profile is None:
        raise typer.Exit(ExitCode.UNSAFE)


def site_of(
    url: str,
    folder: Path,
    *,
    devices: str = "",
    ca: Path | None = None,
    restart: Callable[[], None] | None = None,
) -> "Site":
    """Return what the checks are given, with certificates that are made now.

    Args:
        url: where the controller reaches the broker.
        folder: the installation.
        devices: ``host:port`` where devices reach it; empty: the same place.
        ca: the CA of the broker's certificate; None: the installation's own.
        restart: what restarts the broker, where that is allowed.

    Raises:
        CliError: when there is no such installation or CA, or an address is none.
    """
    from controller.app.errors import ControllerError
    from controller.clock import monotonic_s
    from controller.mqtt.check.site import Site
    from controller.signing.installation import read_tenant

    try:
        tenant = read_tenant(folder)
        identities = _identities(folder, ca)
    except (ControllerError, OSError, ssl.SSLError) as error:
        raise CliError(str(error)) from error
    controller, door = _doors(url, devices, identities)
    return Site(
        tenant=tenant, controller=controller, devices=door, identities=identities, now_s=monotonic_s, restart=restart
    )


def _identities(folder: Path, ca: Path | None) -> "Identities":
    from controller.clock import SystemClock
    from controller.mqtt.check.site import DEVICES, FIRST, Identities
    from controller.signing.authority import Authority
    from controller.signing.installation import read_tenant
    from controller.signing.keystore import CA_CERTIFICATE, Keystore
    from controller.signing.throwaway import dated, device_context
    from protocol.ids import DeviceId, name_of

    tenant, at, keystore = read_tenant(folder), SystemClock().now(), Keystore(folder)
    trusted, ours = ca or folder / CA_CERTIFICATE, keystore.authority()

    def device(one: DeviceId, authority: Authority) -> ssl.SSLContext:
        return device_context(authority, name_of(tenant, one), ca=trusted, at=at)

    return Identities(
        devices={one: device(one, ours) for one in DEVICES},
        controller=keystore.broker_context(ca, at=at),
        stranger=device(FIRST, Authority.create(tenant, at=at)),
        nobody=ssl.create_default_context(cafile=trusted),
        dated=dated(device(FIRST, ours)),
    )


def _doors(url: str, devices: str, identities: "Identities") -> "tuple[Door, Door]":
    from controller.address import parse_broker, parse_place
    from controller.mqtt.check.peer import Door

    try:
        address = parse_broker(url)
        place = parse_place(devices) if devices else address
    except ValueError as error:
        raise CliError(str(error), code=ExitCode.USAGE) from error
    controller = Door(
        host=address.host,
        port=address.port,
        context=identities.controller if address.is_tls else None,
        username=address.user,
        password=address.password,
    )
    return controller, Door(host=place.host, port=place.port, context=identities.nobody if address.is_tls else None)


def _restart(text: str) -> Callable[[], None] | None:
    """Return what runs the command *text*, without a shell."""
    if not text:
        return None

    def run() -> None:
        import shlex
        import subprocess

        from controller.mqtt.check.peer import Refused

        try:
            subprocess.run(shlex.split(text), check=True, timeout=RESTART_SECONDS, stdin=subprocess.DEVNULL)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise Refused(f"the broker could not be restarted: {error}") from error

    return run


def _show(printer: Printer, report: "Report") -> None:
    profile = "" if report.profile is None else report.profile.value
    if not printer.is_for_people:
        printer.item({"verdict": report.verdict.value, "profile": profile, "checks": _rows(report)}, FINDINGS)
        return
    missing = [] if report.profile else [one for one in report.findings if one.verdict == NOT_CHECKED]
    printer.items([row for row in _rows(report) if not missing or row["verdict"] != NOT_CHECKED], FINDINGS)
    if missing:
        printer.raw(f"\n{NOT_CHECKED}: {len(missing)} more: {missing[0].found}")
    for finding in report.findings:
        if finding.verdict in FAILURES:
            printer.raw(f"\n{finding.verdict}: {finding.name}: {finding.check.asks} {finding.found}.")
            printer.raw(f"  {finding.check.means}")
            printer.raw(f"  {finding.check.remedy}" if finding.check.remedy else "  Nothing to set.")
    printer.raw(f"\nTIDEGATE_BROKER_PROFILE={profile}" if profile else "\nno profile was found: nobody was let in")


def _rows(report: "Report") -> list[dict[str, Any]]:
    return [
        {
            "check": finding.name,
            "verdict": finding.verdict.value,
            "found": finding.found,
            "asks": finding.check.asks,
            "means": finding.check.means,
            "remedy": finding.check.remedy,
        }
        for finding in report.findings
    ]
