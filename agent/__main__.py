"""The command `tidegate-agent`: enrol a device, run its agent, show its status.

Exit codes: 0 done, 1 an error, 2 used wrongly, 4 not allowed (the claim is refused), 6 enrolled already.
"""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.config import Config, read_config, read_ports
from agent.errors import AgentError, AlreadyEnrolled, ClaimRefused, ConfigError
from agent.logs import fields, set_up

log = logging.getLogger("agent")

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_ALLOWED: Final = 4
EXIT_CONFLICT: Final = 6
EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 an error, also when the controller cannot be reached; 2 used wrongly; "
    "4 not allowed: the claim is refused; 6 enrolled already."
)
DISTRIBUTIONS: Final = ("tidegate-agent", "tidegate")
"""What can have installed this command: the agent alone, or all of Tidegate."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        config = read_config(options.config, os.environ, _flags(options))
        set_up(config.log_level)
        code: int = options.command(config, options)
    except ConfigError as error:
        return _complain(error, EXIT_USAGE)
    except ClaimRefused as error:
        return _complain(error, EXIT_NOT_ALLOWED)
    except AlreadyEnrolled as error:
        return _complain(error, EXIT_CONFLICT)
    except AgentError as error:
        return _complain(error, EXIT_FAILED)
    return code


def _complain(error: AgentError, code: int) -> int:
    sys.stderr.write(f"tidegate-agent: {error}\n")
    return code


class _Version(argparse.Action):
    """Show the version when that is asked for; looking it up costs memory that an agent needs for other things."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and exit."""
        sys.stdout.write(f"tidegate-agent {_version()}\n")
        parser.exit()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    for name in DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tidegate-agent", description="The Tidegate agent of a device.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="settings file (TOML)")
    common.add_argument("--state-dir", help="folder of keys, journal and cache")
    common.add_argument("--apps-dir", help="folder of the installed apps")
    common.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_enrol(commands, common)
    run = commands.add_parser("run", parents=[common], help="connect to the controller and carry its commands out")
    run.add_argument("--port", action="append", metavar="APP=PORT", help="port of an app's service; repeatable")
    run.set_defaults(command=_run)
    status = commands.add_parser("status", parents=[common], help="show what is installed and in hand, as JSON")
    status.set_defaults(command=_status)
    return parser


def _add_enrol(commands: Any, common: argparse.ArgumentParser) -> None:
    enrol = commands.add_parser("enrol", parents=[common], help="make this machine a device of a controller")
    enrol.add_argument("--controller", required=True, metavar="URL", help="https://host:port")
    enrol.add_argument("--ca", required=True, type=Path, metavar="FILE", help="the tenant's CA certificate")
    enrol.add_argument("--device", required=True, help="the device's own part of its name")
    enrol.add_argument("--token", help="claim token; better in TIDEGATE_AGENT_TOKEN, where no process list shows it")
    enrol.add_argument("--model", default="generic", help="hardware model, as releases name it")
    enrol.add_argument("--hardware-id", default="", help="serial number; the machine id by default")
    enrol.add_argument("--force", action="store_true", help="enrol a device that is enrolled already")
    enrol.set_defaults(command=_enrol)


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    flags = {name: getattr(options, name) for name in ("state_dir", "apps_dir", "log_level")}
    ports = getattr(options, "port", None)
    return {**flags, "ports": read_ports(ports) if ports else None}


def _enrol(config: Config, options: argparse.Namespace) -> int:
    from agent.enrol import Claim, enrol
    from agent.identity import Identity

    identity = Identity(config.state / "identity")
    if identity.is_enrolled and not options.force:
        name = identity.enrolment().name
        raise AlreadyEnrolled(f"this device is enrolled as {name}; --force enrols it anew")
    token = options.token or os.environ.get("TIDEGATE_AGENT_TOKEN", "")
    if not token:
        raise ConfigError("a claim token is needed: --token or TIDEGATE_AGENT_TOKEN")
    claim = Claim(
        token=token,
        device=options.device,
        model=options.model,
        hardware_id=options.hardware_id or _machine_id(),
    )
    enrolment = enrol(claim, controller=options.controller, ca=options.ca, identity=identity, sleep=time.sleep)
    sys.stdout.write(f"enrolled as {enrolment.name}\n")
    return 0


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return "unknown"


def _run(config: Config, _options: argparse.Namespace) -> int:
    from agent.assembly import assemble
    from agent.files import sole_user

    with sole_user(config.state / "agent.lock") as is_sole:
        if not is_sole:
            raise ConfigError(f"another agent runs on {config.state}")
        agent = assemble(config)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.loop.stop())
        log.info("agent_started", extra=fields(device=agent.name, state_dir=config.state))
        agent.run()
        log.info("agent_stopped", extra=fields(device=agent.name))
    return 0


def _status(config: Config, _options: argparse.Namespace) -> int:
    from agent.identity import Identity
    from agent.journal import SqliteJournal

    enrolment = Identity(config.state / "identity").enrolment()
    path = config.state / "journal.db"
    durable, open_count = None, 0
    if path.exists():
        journal = SqliteJournal(path)
        durable, rows = journal.load()
        open_count = len(rows)
        journal.close()
    status = {
        "device": enrolment.name,
        "controller": enrolment.controller,
        "installed": durable.installed if durable else (),
        "work": durable.work_in_hand() if durable else None,
        "reports_not_acknowledged": open_count,
        "incarnation": durable.incarnation if durable else None,
    }
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(status)).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
