"""``tidegate gate``: what a gate promises, and what it would have made of a run that has been."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from controller.cli.addresses import quoted
from controller.cli.commands import plots
from controller.cli.failures import CliError
from controller.cli.files import line_of, read_file
from controller.cli.output import Column, Output, Printer, Shape
from controller.cli.session import Session, command
from controller.cli.shares import rates as rates_of
from controller.cli.shares import share

if TYPE_CHECKING:
    from controller.domain.gates.comparison import Faster, Row

group = typer.Typer()

DEVICES_MAX: Final = 100_000
CERTAIN: Final = 0.995
"""From here on a share of stopped rollouts need not be said."""

SMALLEST: Final = 1e-5
SHOWN_EACH_MAX: Final = 10
"""Up to here each number of failures has a line; then fewer and fewer."""

STOPS: Final = Shape("failures", (Column("STOPS ON FAILURE", "failures"), Column("WITHIN DEVICES", "within")))
GATE: Final = Shape("gate", ())


@command(group, "table", is_local=True)
def show_table(
    session: Session,
    *,
    above: Annotated[str, typer.Option("--above", help="The share of failures that is tolerated.")] = "2%",
    alpha: Annotated[str, typer.Option("--alpha", help="How often a tolerable build may be stopped.")] = "1%",
    rates: Annotated[
        str, typer.Option("--rates", help="True rates of failures, in percent, joined by commas.")
    ] = "1,2,3,5,10,30,100",
    devices: Annotated[
        int, typer.Option("--devices", min=1, max=DEVICES_MAX, help="How many devices the rollout has.")
    ] = 10_000,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form of the output.")] = Output.TABLE,
) -> None:
    """Show on which failure a gate stops, how often it stops a good build, and how soon a bad one; beside other rules.

    All figures are exact. Devices come one by one and their outcome is known at once, which is kind to rules that count
    finished devices; half of the rollouts of a build are stopped within the median. Shares are of 1 in JSON and YAML.
    """
    from controller.domain.gates import comparison
    from controller.domain.gates.odds import ladder

    del session
    tolerated, chance = share(above, "--above"), share(alpha, "--alpha")
    asked = rates_of(rates)
    ours, *others = comparison.compare(
        comparison.rules(above=tolerated, alpha=chance, devices=devices), above=tolerated, rates=asked, devices=devices
    )
    better = comparison.faster(ours, others, above=tolerated)
    rungs = [
        {"failures": failures, "within": min(within, devices)}
        for failures, within in enumerate(ladder(devices, above=tolerated, alpha=chance))
        if within > 0
    ]
    printer = Printer(output)
    if printer.is_for_people:
        _show(printer, [ours, *others], rungs, above=tolerated)
        _judge(printer, ours, better, alpha=chance, above=tolerated)
    else:
        printer.item(_view(f"{above} at {alpha}", [ours, *others], rungs, better), GATE)


@command(group, "replay")
def replay_run(
    session: Session,
    *,
    run: Annotated[str, typer.Argument(help="A run that has ended, or goes on.")],
    gate: Annotated[
        Path, typer.Option("--gate", "-g", help="A YAML or JSON file of one gate; - reads standard input.")
    ],
    stage: Annotated[str | None, typer.Option("--stage", help="Only this stage; else the gate stands in all.")] = None,
) -> None:
    """Show where another gate would have stopped each stage of a run, beside the run's own; nothing is changed.

    The file holds what stands under `gate:` in a stage, such as `failures: {above: 1%}`; only its failures matter.
    """
    path = f"/v1/runs/{quoted(run)}/replay"
    params = {} if stage is None else {"stage": stage}
    found = session.client.send("POST", path, _gate_of(gate), params=params)
    if not session.printer.is_for_people:
        session.printer.item(found, REPLAY)
        return
    session.printer.items(found["stages"], REPLAYED)
    for one in found["stages"]:
        session.printer.raw(f"{one['stage']}: {one['said']}")
    for note in found["notes"]:
        session.printer.say(note)


command(group, "plot", is_local=True)(plots.draw_plot)


def _gate_of(file: Path) -> Any:
    """Return what a file of a gate holds, once it is seen to be one."""
    from controller.documents import InvalidDefinition, load_gate
    from controller.documents.source import read

    raw = read_file(file)
    try:
        load_gate(raw)
        return read(raw)[0].data
    except InvalidDefinition as error:
        raise CliError(str(error), details=[line_of(file, fault) for fault in error.faults]) from error


def _stop_cell(stop: Any) -> str:
    return f"{stop['failed']} of {stop['exposed']}" if stop else ""


def _most(verdict: Any) -> str:
    from controller.domain.gates.judgement import shown

    return "" if verdict["evidence"] is None else shown(verdict["evidence"])


REPLAYED: Final = Shape(
    "stage",
    (
        Column("STAGE", "stage"),
        Column("ITS GATE STOPPED", lambda one: _stop_cell(one["own"]["stop"])),
        Column("THIS ONE STOPS", lambda one: _stop_cell(one["other"]["stop"])),
        Column("AT", lambda one: one["other"]["stop"] and one["other"]["stop"]["at"]),
        Column("SPARED", "spared"),
        Column("MORE", "exposed_more"),
        Column("MOST EVIDENCE", lambda one: _most(one["other"])),
        Column("NOW", "now", is_wide=True),
    ),
)
REPLAY: Final = Shape("run", ())


def _show(printer: Printer, rows: "Sequence[Row]", rungs: Sequence[dict[str, int]], *, above: float) -> None:
    printer.items([rung for rung in rungs if _is_shown(rung["failures"])] or rungs, STOPS)
    printer.raw(f"\nChance of a stop up to {_text(above)}; above, the median of devices until one:\n")
    columns = [Column(_text(fate.rate), partial(_cell, at=at, above=above)) for at, fate in enumerate(rows[0].fates)]
    printer.items(rows, Shape("rule", (Column("TRUE RATE", lambda row: row.rule), *columns)))


def _judge(printer: Printer, ours: "Row", better: "Sequence[Faster]", *, alpha: float, above: float) -> None:
    """Say what each rule pays for being faster, and what this one promises."""
    printer.raw("")
    for one in better:
        slower = "which this gate does not" if one.median_of_ours is None else f"this gate {one.median_of_ours:,}"
        printer.raw(
            f"{one.rule} is faster: it stops half of the builds that fail at {_text(one.rate)} within {one.median:,} "
            f"devices, {slower}. It also stops {_chance(one.false_stop)} of those at {_text(above)}."
        )
    if not better:
        printer.raw("None of the other rules is faster.")
    printer.raw(
        f"This gate stops {_chance(ours.false_stop)} of those at {_text(above)}, and never more than {_text(alpha)}, "
        "whatever the number of devices and however late reports come. No other rule here promises that."
    )


def _view(name: str, rows: "Sequence[Row]", rungs: object, better: "Sequence[Faster]") -> dict[str, Any]:
    import msgspec

    found = msgspec.to_builtins({"stops": rungs, "rules": rows, "faster": better})
    return {"gate": name, **found}


def _is_shown(failures: int) -> bool:
    """Say whether a number of failures has a line: all small ones, then 20, 50, 100, 200, 500 and so on."""
    digits = str(failures)
    return failures <= SHOWN_EACH_MAX or (digits[0] in "125" and not digits[1:].strip("0"))


def _cell(row: "Row", *, at: int, above: float) -> str:
    fate = row.fates[at]
    if fate.rate <= above:
        return _chance(fate.stopped)
    if fate.median is None:
        return f"({_chance(fate.stopped)})"
    return f"{fate.median:,}" if fate.stopped >= CERTAIN else f"{fate.median:,} ({_chance(fate.stopped)})"


def _chance(probability: float) -> str:
    """Return a computed probability in percent; a tiny one is told as such, since what is negligible is dropped."""
    return _text(probability) if probability >= SMALLEST else f"<{_text(SMALLEST)}"


def _text(share: float) -> str:
    """Return a share in percent, with the digits that tell something."""
    percent = 100 * share
    return f"{percent:.2g}%" if percent < 10 else f"{percent:.3g}%"  # noqa: PLR2004 - two digits look alike from there on
