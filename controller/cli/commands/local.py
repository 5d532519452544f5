"""``tidegate init`` and ``tidegate serve``: the controller on this machine."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from controller.cli.failures import CliError, ExitCode
from controller.cli.session import Session, command

PASSWORD_VARIABLE = "TIDEGATE_KEY_PASSWORD"  # noqa: S105 - the name of a variable, not a password

PORT_MAX: Final = 65_535
DEFAULTS: Final = {
    "folder": "tidegate",
    "public_host": "localhost",
    "http_host": "127.0.0.1",
    "http_port": "8443",
    "mqtt_host": "127.0.0.1",
    "mqtt_port": "8883",
    "broker_profile": "mqtt5",
    "log_format": "text",
    "log_level": "info",
}
"""What --help shows of `controller.config.Settings`, which takes long to import."""


def _setting(name: str, text: str, *, most: int | None = None) -> Any:
    """Return the option for a setting of `controller.config`; a number lies between 0 and *most*."""
    least = None if most is None else 0
    option = f"--{name.replace('_', '-')}"
    return typer.Option(option, help=text, min=least, max=most, show_default=DEFAULTS.get(name, False))


def add_to(app: typer.Typer) -> None:
    """Add the commands to the root of the command line."""
    command(app, "init", is_local=True)(initialise)
    command(app, "serve", is_local=True)(serve)


def initialise(
    session: Session,
    *,
    folder: Annotated[Path, typer.Argument(help="The controller's folder; must not exist.")],
    offline: Annotated[Path, typer.Option("--offline", help="Folder for the keys to carry away; must not exist.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose devices these are.")] = "default",
    host: Annotated[list[str] | None, typer.Option("--host", help="Names and addresses of this machine.")] = None,
) -> None:
    """Create keys, trust roots and a CA: one folder for the controller, one to be carried away."""
    from controller.app.errors import ControllerError
    from controller.clock import SystemClock
    from controller.signing.installation import initialise as create
    from protocol.errors import ProtocolError
    from protocol.ids import tenant_id

    password = os.environ.get(PASSWORD_VARIABLE, "").encode() or _ask_password(session)
    hosts = host or ["localhost", "127.0.0.1"]
    try:
        create(folder, offline, tenant=tenant_id(tenant), hosts=hosts, at=SystemClock().now(), password=password)
    except (ControllerError, ProtocolError) as error:
        raise CliError(str(error)) from error
    session.printer.say(f"{folder}: what 'tidegate serve --folder {folder}' needs")
    session.printer.say(f"{offline}: the release and root keys; carry them away from this machine")


def serve(
    session: Session,
    *,
    folder: Annotated[Path | None, _setting("folder", "What 'tidegate init' made.")] = None,
    public_host: Annotated[str | None, _setting("public_host", "Where devices reach this machine.")] = None,
    http_host: Annotated[str | None, _setting("http_host", "Address to listen at for HTTPS.")] = None,
    http_port: Annotated[int | None, _setting("http_port", "Port of HTTPS; 0: a free one.", most=PORT_MAX)] = None,
    mqtt_host: Annotated[str | None, _setting("mqtt_host", "Address to listen at for MQTT.")] = None,
    mqtt_port: Annotated[int | None, _setting("mqtt_port", "Port of MQTT; 0: a free one.", most=PORT_MAX)] = None,
    broker_url: Annotated[
        str | None, _setting("broker_url", "An MQTT broker to use instead of listening: mqtts://host:port.")
    ] = None,
    broker_devices: Annotated[
        str | None, _setting("broker_devices", "Where devices reach that broker: host:port.")
    ] = None,
    broker_profile: Annotated[
        str | None, _setting("broker_profile", "What it can do: mqtt5, mqtt3.1.1 or mqtt3.1.1-qos0.")
    ] = None,
    broker_ca: Annotated[
        Path | None, _setting("broker_ca", "The CA of its certificate, where that is not the installation's.")
    ] = None,
    log_format: Annotated[str | None, _setting("log_format", "text or json.")] = None,
    log_level: Annotated[str | None, _setting("log_level", "debug, info, warning or error.")] = None,
) -> None:
    """Run the controller until it is told to stop; what is not given comes from TIDEGATE_* or the defaults."""
    del session
    given: dict[str, Any] = {
        "folder": folder,
        "public_host": public_host,
        "http_host": http_host,
        "http_port": http_port,
        "mqtt_host": mqtt_host,
        "mqtt_port": mqtt_port,
        "broker_url": broker_url,
        "broker_devices": broker_devices,
        "broker_profile": broker_profile,
        "broker_ca": broker_ca,
        "log_format": log_format,
        "log_level": log_level,
    }
    _serve({name: value for name, value in given.items() if value is not None})


def _serve(given: dict[str, Any]) -> None:
    from pydantic import ValidationError

    from controller.app.errors import ControllerError
    from controller.bootstrap import serve as run
    from controller.config import Settings

    try:
        run(Settings(**given))
    except ValidationError as error:
        details = [": ".join([*map(str, fault["loc"]), fault["msg"]]) for fault in error.errors()]
        raise CliError("the settings are not valid", code=ExitCode.USAGE, details=details) from error
    except ControllerError as error:
        raise CliError(str(error)) from error


def _ask_password(session: Session) -> bytes | None:
    if not session.may_ask:
        session.printer.say(f"the offline keys are not encrypted; set {PASSWORD_VARIABLE} to have them so")
        return None
    answer = typer.prompt(
        "Password for the offline keys (empty: none)", default="", hide_input=True, err=True, show_default=False
    )
    return str(answer).encode() or None
