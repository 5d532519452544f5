"""``tidegate gate plot``: what a gate and a ramp do, drawn."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Output, Printer, Shape
from controller.cli.session import Session
from controller.cli.shares import rates as rates_of
from controller.cli.shares import share
from controller.domain.wording import counted

if TYPE_CHECKING:
    from controller.cli.chart import Chart

DEVICES_MAX: Final = 100_000
CURVES_MAX: Final = 5
"""As many as `controller.cli.chart` can tell apart."""


class Plot(StrEnum):
    """What is drawn."""

    EVIDENCE = "evidence"
    RAMP = "ramp"
    STOPS = "stops"


RATES: Final = {
    Plot.EVIDENCE: "1,3,5,10,30",
    Plot.RAMP: "0,1,2,5",
    Plot.STOPS: "2.5,3,4,5,7,8,10,15,20,30,50,100",
}
CHART: Final = Shape("chart", ())
DEVICES: Final = {Plot.EVIDENCE: 400, Plot.RAMP: 100_000, Plot.STOPS: 10_000}


def draw_plot(
    session: Session,
    *,
    plot: Annotated[Plot, typer.Argument(help="What is drawn.")],
    above: Annotated[str, typer.Option("--above", help="The share of failures that is tolerated.")] = "2%",
    alpha: Annotated[str, typer.Option("--alpha", help="How often a tolerable build may be stopped.")] = "1%",
    risk: Annotated[int, typer.Option("--risk", min=0, max=10_000, help="The failures that a ramp may cost.")] = 25,
    rates: Annotated[
        str | None, typer.Option("--rates", help="True rates of failures, in percent, joined by commas.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, max=DEVICES_MAX, help="How many devices the rollout has.")
    ] = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="Form of the output; what is for people is a picture.")
    ] = Output.TABLE,
) -> None:
    """Draw a gate or a ramp as an SVG picture, to standard output; programs get its points.

    `evidence`: what speaks against builds of several true rates, by the devices that have begun. `ramp`: the devices
    exposed, round by round. `stops`: the devices that a build reaches until it is stopped, by its true rate, beside the
    rules of others. Nothing is sampled: medians are exact, and where a single rollout is followed its failures are
    spread evenly.
    """
    import msgspec

    from controller.cli.chart import draw

    del session
    asked = rates_of(rates or RATES[plot])
    if plot is not Plot.STOPS and len(asked) > CURVES_MAX:
        raise CliError(f"--rates {rates}: expected at most {CURVES_MAX}, a curve for each", code=ExitCode.USAGE)
    tolerated, chance, count = share(above, "--above"), share(alpha, "--alpha"), devices or DEVICES[plot]
    match plot:
        case Plot.EVIDENCE:
            chart = _evidence(asked, tolerated=tolerated, chance=chance, devices=count)
        case Plot.RAMP:
            chart = _ramp(asked, tolerated=tolerated, chance=chance, devices=count, risk=risk)
        case Plot.STOPS:
            chart = _stops(asked, tolerated=tolerated, chance=chance, devices=count)
    printer = Printer(output)
    if printer.is_for_people:
        printer.raw(draw(chart).rstrip())
    else:
        printer.item(msgspec.to_builtins(chart), CHART)


def _evidence(rates: tuple[float, ...], *, tolerated: float, chance: float, devices: int) -> "Chart":
    from controller.cli.chart import Chart, even, powers
    from controller.domain.gates import curves

    found = curves.evidence(above=tolerated, alpha=chance, rates=rates, devices=devices)
    least = min(value for curve in found for _, value in curve.points)
    return Chart(
        title="Evidence against a build, by how often it fails",
        description=f"The gate tolerates {100 * tolerated:g}% and stops where the evidence reaches {1 / chance:,.4g}.",
        x=even("devices that have begun", high=devices),
        y=powers("evidence", low=max(least, chance / 10), high=10 / chance),
        curves=found,
        limits=((1 / chance, f"stops at {1 / chance:,.4g}"),),
    )


def _ramp(rates: tuple[float, ...], *, tolerated: float, chance: float, devices: int, risk: int) -> "Chart":
    from controller.cli.chart import Chart, even, powers
    from controller.domain.gates import curves

    failures = counted(risk, "failure")
    ramped = curves.Ramped(devices=devices, risk=risk, above=tolerated, alpha=chance)
    return Chart(
        title="Devices exposed by a ramp, by how often the build fails",
        description=f"It risks {failures} above {100 * tolerated:g}% in a stage of {devices:,} devices.",
        x=even("round", high=ramped.rounds),
        y=powers("devices exposed", low=1, high=devices),
        curves=tuple(curve for curve in curves.ramps(rates, ramped) if curve.points),
        has_dots=True,
    )


def _stops(rates: tuple[float, ...], *, tolerated: float, chance: float, devices: int) -> "Chart":
    from controller.cli.chart import Axis, Chart, powers
    from controller.domain.gates import curves

    shown = sorted(rate for rate in rates if rate > tolerated)
    if not shown:
        raise CliError(f"--rates: expected some above {100 * tolerated:g}%, which is tolerated", code=ExitCode.USAGE)
    ticks = tuple((rate, f"{100 * rate:g}%") for rate in (0.02, 0.05, 0.1, 0.2, 0.5, 1) if rate >= tolerated)
    return Chart(
        title="Devices that a bad build reaches until it is stopped",
        description=f"Medians among {devices:,} devices; at the top half of such builds are never stopped.",
        x=Axis(title="of its devices fail", low=tolerated, high=1, ticks=ticks, is_log=True),
        y=powers("devices reached", low=1, high=devices),
        curves=curves.stops(above=tolerated, alpha=chance, rates=shown, devices=devices),
        limits=((devices, "here half of such builds, or more, are never stopped"),),
    )
