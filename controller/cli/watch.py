"""Following a run until it ends: a live tree for people, lines for logs."""

import time
from collections.abc import Iterator
from typing import Final

from controller.app.views import RunView
from controller.cli import wire
from controller.cli.addresses import quoted
from controller.cli.failures import CliError, ExitCode
from controller.cli.progress import headline, render_run, state_of, summary
from controller.cli.pulse import Pulse
from controller.cli.session import Session
from controller.clock import SystemClock
from protocol.units import Instant

POLL_S: Final = 0.5
SUCCEEDED: Final = "succeeded"


def follow(session: Session, run: str, *, timeout_ms: int | None) -> RunView:
    """Show a run until it ends, and return it as it ended.

    Raises:
        CliError: with `ExitCode.CANCELLED` when it has not ended in time.
    """
    console = session.printer.messages if not session.printer.is_for_people else session.printer.console
    if console.is_terminal:
        return _live(session, run, timeout_ms)
    return _lines(session, run, timeout_ms)


def require_success(run: RunView) -> None:
    """Go on only with a run that succeeded.

    Raises:
        CliError: with `ExitCode.RUN_FAILED` otherwise.
    """
    if run.state != SUCCEEDED:
        raise CliError(f"run {run.id} ended: {state_of(run)}", code=ExitCode.RUN_FAILED)


def looks(session: Session, run: str, timeout_ms: int | None) -> Iterator[tuple[Instant, RunView]]:
    """Yield the time and the run again and again, the last time when it has ended.

    Raises:
        CliError: with `ExitCode.CANCELLED` when it has not ended in time.
    """
    clock = SystemClock()
    until = None if timeout_ms is None else clock.now() + timeout_ms
    while True:
        view = wire.view(session.client.get(f"/v1/runs/{quoted(run)}"), RunView)
        yield clock.now(), view
        if view.ended_at is not None:
            return
        if until is not None and clock.now() >= until:
            raise CliError(f"run {run} has not ended in time: it is {state_of(view)}", code=ExitCode.CANCELLED)
        time.sleep(POLL_S)


def _live(session: Session, run: str, timeout_ms: int | None) -> RunView:
    from rich.live import Live

    pulse = Pulse()
    printer = session.printer
    console = printer.console if printer.is_for_people else printer.messages
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for at, view in looks(session, run, timeout_ms):
            pulse.note(view, at)
            live.update(render_run(view, pulse), refresh=True)
    return view


def _lines(session: Session, run: str, timeout_ms: int | None) -> RunView:
    """Print a line for whatever has changed."""
    shown: dict[str, str] = {}
    for _, view in looks(session, run, timeout_ms):
        lines = {"": headline(view), **{stage.name: summary(stage) for stage in view.stages}}
        for key, line in lines.items():
            if shown.get(key) != line:
                _print(session, line)
        shown = lines
    return view


def _print(session: Session, line: str) -> None:
    if session.printer.is_for_people:
        session.printer.raw(line)
    else:
        session.printer.say(line)
