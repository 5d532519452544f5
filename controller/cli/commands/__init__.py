"""The commands, one module for each noun; what they need they import when they run, so that --help is quick."""

from typing import Annotated

import typer

from controller.cli.failures import CliError, ExitCode

Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")]
After = Annotated[int, typer.Option("--after", min=0, help="Only entries with a greater id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")]
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
