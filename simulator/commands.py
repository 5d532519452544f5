"""The commands that the simulator adds to `tidegate`, registered as entry points `tidegate.commands`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How the result is printed to stdout."""

    TEXT = "text"
    JSON = "json"


def simulate(
    *,
    url: Annotated[str, typer.Option(envvar="TIDEGATE_URL", help="The controller, https://host:port.")],
    ca: Annotated[
        Path,
        typer.Option(
            envvar="TIDEGATE_CA",
            exists=True,
            dir_okay=False,
            help="The CA that the controller's certificate chains to (ca.crt of the installation).",
        ),
    ],
    claim: Annotated[str, typer.Option(envvar="TIDEGATE_CLAIM", help="A claim token that is good for all devices.")],
    token: Annotated[
        str, typer.Option(envvar="TIDEGATE_TOKEN", help="An operator's token, needed to set labels.")
    ] = "",
    devices: Annotated[int, typer.Option(min=1, max=100_000, help="How many devices.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed draws the same devices.")] = 1,
    prefix: Annotated[str, typer.Option(help="Devices are called PREFIX-0001 and so on.")] = "sim",
    model: Annotated[
        str, typer.Option(help="The hardware model they say they are; several with weights: kiosk-1:60,kiosk-2:40.")
    ] = "simulated",
    behaviours: Annotated[
        str, typer.Option(help="Shares of slow, flaky, failing and offline devices: slow=10%,flaky=5%.")
    ] = "",
    labels: Annotated[str, typer.Option(help="Labels with weights: region=eu:40,region=us:60. Needs --token.")] = "",
    fail_version: Annotated[
        list[str] | None,
        typer.Option(
            help="A version whose health probe fails: on devices drawn as failing, or on all where none is;"
            " VERSION@LABEL=VALUE: on devices with that label; VERSION@model=MODEL: of that model. Repeatable."
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=0, help="Play downloads as if releases had so many bytes; 0: their own size.")
    ] = 0,
    fetch: Annotated[bool, typer.Option("--fetch", help="Really download every artifact, and check it.")] = False,
    step: Annotated[
        float | None, typer.Option(min=0, help="How long each step of an installation takes, in seconds; else drawn.")
    ] = None,
    away: Annotated[float, typer.Option(min=0, help="The longest that offline devices stay away, in seconds.")] = 15.0,
    duration: Annotated[float, typer.Option(min=0, help="Stop after so many seconds; 0: at Ctrl-C.")] = 0.0,
    history: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write what each device does to this file, as JSON lines.")
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the summary is printed.")] = Output.TEXT,
) -> None:
    """Run a fleet of simulated devices against a controller, over real connections with real keys.

    Each device enrols, connects with its own certificate and runs the agent's own core; only downloads and
    installations are played.
    """
    from simulator.live import behaviour, enrolment, program, steps

    try:
        plan = behaviour.Plan(
            count=devices,
            seed=seed,
            prefix=prefix,
            behaviours=behaviour.parse_behaviours(behaviours),
            labels=behaviour.parse_labels(labels),
            models=behaviour.parse_models(model),
            fail_versions=behaviour.parse_failing(fail_version or ()),
            away_ms=program.span_of(away),
            step_ms=None if step is None else program.span_of(step),
        )
    except behaviour.BadOption as error:
        raise typer.BadParameter(str(error)) from error
    if plan.labels and not token:
        raise typer.BadParameter("--labels needs --token: only an operator may label devices")
    options = program.Options(
        addresses=enrolment.Addresses(url=url.rstrip("/"), ca=ca),
        claim=claim,
        token=token,
        plan=plan,
        load=steps.Load(pretend_bytes=size, is_real=fetch),
        duration_s=duration,
        history=history,
    )
    raise typer.Exit(program.main(options, as_json=output is Output.JSON))


class Broker(StrEnum):
    """The brokers that speak MQTT 5, as the simulated devices do."""

    MOSQUITTO = "mosquitto"


def demo(
    *,
    devices: Annotated[int, typer.Option(min=10, max=10_000, help="How many simulated devices.")] = 200,
    agents: Annotated[int, typer.Option(min=0, max=50, help="How many real agents, with real services.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed draws the same devices.")] = 1,
    broker: Annotated[
        Broker | None, typer.Option(help="Go through this broker instead of the built-in endpoint.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, to be explored.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", file_okay=False, help="Where everything goes, and stays; else a temporary one."),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the result is printed.")] = Output.TEXT,
) -> None:
    """Show a whole rollout on this machine: a good release goes all the way, bad ones are stopped by their gates.

    The last one is bad on one hardware model alone, which is quarantined while all others are updated.
    A controller, simulated devices and real agents are started on free ports and end with the demo.
    """
    from simulator.brokers import Kind
    from simulator.demo import program
    from simulator.demo.cast import Cast

    cast = Cast(devices=devices, agents=agents, seed=seed, broker=Kind(broker) if broker else None)
    options = program.Options(cast=cast, folder=folder, keep=keep, as_json=output is Output.JSON)
    raise typer.Exit(program.main(options))


class Store(StrEnum):
    """What the controller's data is kept in while seeds are played."""

    MEMORY = "memory"
    SQL = "sql"
    BOTH = "both"


def fuzz(
    *,
    seeds: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many seeds.")] = 1_000,
    first: Annotated[int, typer.Option("--from", min=0, help="The first seed.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Play this seed alone, and tell its story.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=1_000, help="How many processes; 0: one for each core.")] = 0,
    store: Annotated[
        Store, typer.Option(help="Plain memory, SQL, or both, which must then tell the same story.")
    ] = Store.MEMORY,
    output: Annotated[Output, typer.Option("--output", "-o", help="How the result is printed.")] = Output.TEXT,
) -> None:
    """Look for a seed that breaks an invariant: whole rollouts in virtual time, in worlds that fail on purpose.

    Each seed draws a fleet, pipelines, faults and operators, and plays them with the real controller and real agents.
    """
    import os

    from simulator.virtual import program
    from simulator.virtual.fuzz import Backend

    options = program.Options(
        seed=seed, first=first, seeds=seeds, workers=workers or os.cpu_count() or 1, backend=Backend(store)
    )
    raise typer.Exit(program.main(options, as_json=output is Output.JSON))
