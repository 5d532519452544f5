"""The commands of `tidegate`, and those that other packages add by the entry-point group ``tidegate.commands``."""

from importlib.metadata import entry_points, version
from typing import Annotated, Final

import typer

from controller.cli.commands import (
    broker_check,
    brokers,
    contexts,
    devices,
    freezes,
    gates,
    groups,
    jobs,
    local,
    pipelines,
    releases,
    runs,
    standstill,
    system,
    tokens,
)

PLUGINS: Final = "tidegate.commands"
EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 an error; 2 used wrongly; 3 cancelled, or timed out while waiting; 4 not authenticated, or "
    "not allowed; 5 the run ended unsuccessfully, or a broker is not safe; 6 conflict with the state of things."
)


def build() -> typer.Typer:
    """Return the whole command line."""
    app = typer.Typer(
        name="tidegate",
        help="Roll app releases out to device fleets, stage by stage.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    local.add_to(app)
    standstill.add_to(app)
    broker_check.add_to(app)
    nouns = {
        "run": (runs.group, "Start, watch and steer runs."),
        "pipeline": (pipelines.group, "Write and check pipelines."),
        "gate": (gates.group, "Know what a gate promises."),
        "job": (jobs.group, "Bind operations to pipelines."),
        "freeze": (freezes.group, "Keep the calendar of spans in which nothing begins."),
        "release": (releases.group, "Sign and publish releases."),
        "device": (devices.group, "Find and manage devices."),
        "group": (groups.group, "Sort devices into a tree of groups."),
        "token": (tokens.group, "Manage API tokens."),
        "claim": (tokens.claims, "Make tokens that devices enrol with."),
        "broker": (brokers.group, "Connect through an external MQTT broker."),
        "audit": (system.audit, "Read what operators did."),
        "security": (system.security, "Read what was refused."),
        "context": (contexts.group, "Choose the controller to talk to."),
    }
    for noun, (group, text) in nouns.items():
        app.add_typer(group, name=noun, help=text, no_args_is_help=True)
    _add_plugins(app)
    return app


def _show_version(is_wanted: bool) -> None:  # noqa: FBT001 - typer passes it by position
    if is_wanted:
        typer.echo(f"tidegate {version('tidegate')}")
        raise typer.Exit


def _common(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del show_version  # its callback has answered


def _add_plugins(app: typer.Typer) -> None:
    for plugin in entry_points(group=PLUGINS):
        try:
            function = plugin.load()
        except (ImportError, AttributeError) as error:
            typer.echo(f"tidegate: command {plugin.name!r} is left out: {error}", err=True)
        else:
            app.command(plugin.name)(function)
