"""The commands, one module for each noun; what they need they import when they run, so that --help is quick."""

from typing import Annotated, Any, Final

import typer

from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Shape
from controller.cli.session import Session

LIMIT_MAX: Final = 100_000
MORE: Final = 10
"""How many times as much is proposed where nobody knows how much there is."""

Limit = Annotated[int, typer.Option("--limit", min=1, max=LIMIT_MAX, help="How many at most.")]
After = Annotated[
    int | None, typer.Option("--after", min=0, help="The first entries with a greater id, instead of the newest.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")]
Values = Annotated[list[str] | None, typer.Option("--set", help="name=value for a parameter; repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def pairs_of(texts: list[str]) -> dict[str, str]:
    """Return ``key=value`` texts as a mapping.

    Raises:
        CliError: when one is no such text.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise CliError(f"{text!r}: expected key=value", code=ExitCode.USAGE)
        pairs[key] = value
    return pairs


def span_of(text: str) -> int:
    """Return a span such as ``10m`` in milliseconds.

    Raises:
        CliError: when it is none.
    """
    from controller.documents.units import parse_span

    try:
        return parse_span(text)
    except ValueError as error:
        raise CliError(str(error), code=ExitCode.USAGE) from error


def time_after(span: str) -> str:
    """Return the time that lies a span from now, as text."""
    from datetime import UTC, datetime

    from controller.clock import SystemClock

    moment = datetime.fromtimestamp((SystemClock().now() + span_of(span)) / 1000, tz=UTC)
    return moment.isoformat(timespec="seconds")


def moment_of(text: str) -> str:
    """Return a time as it is written, or that which lies a span such as ``3d`` from now."""
    return text if "-" in text else time_after(text)


def show_list(session: Session, path: str, params: dict[str, Any], *, shape: Shape, limit: int) -> None:
    """Print the first items of a paged list, and on standard error whether there are more."""

    def say() -> None:
        session.printer.say(f"more: --limit {min(limit * MORE, LIMIT_MAX)}")

    session.printer.items(session.client.items(path, params, limit=limit, on_left=say), shape)


def show_log(session: Session, path: str, *, shape: Shape, after: int | None, limit: int) -> None:
    """Print the newest entries of a log, oldest first, or the first ones after an id."""
    if after is not None:
        found = session.client.entries(path, after=after, limit=limit)
        session.printer.items(found, shape)
        if len(found) == limit:
            session.printer.say(f"more: --after {found[-1]['id']}")
        return
    entries, total = session.client.newest(path, limit=limit)
    session.printer.items(entries, shape)
    if total > limit:
        session.printer.say(f"older entries: --limit {min(total, LIMIT_MAX)}")
