"""What the demo shows while it runs: a live tree on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from controller.app.views import RunView
from controller.cli.progress import render_run, summary
from controller.cli.pulse import Pulse
from controller.clock import SystemClock
from simulator.demo.verdict import BAD, GOOD, Played, Story, faults

POLL_SECONDS: Final = 0.2
LINE_SECONDS: Final = 2.0
EXPOSED_SHOWN_MAX: Final = 8


class RunTooLong(Exception):
    """A run has not ended in time; the message says how it stands."""


class Screen:
    """Where the demo speaks. `is_plain` where nobody looks at a terminal."""

    def __init__(self, console: Console) -> None:
        """Take the console, of standard output or error."""
        self._console = console
        self._begun = time.monotonic()
        self.is_plain = not console.is_terminal

    @property
    def seconds(self) -> float:
        """How long the demo has been running."""
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        """Say what happens now."""
        line = f"{self.seconds:5.1f} s  {text}"
        if self.is_plain:
            self._console.out(line, highlight=False)
        else:
            self._console.print(f"[dim]{self.seconds:5.1f} s[/]  {escape(text)}", highlight=False)

    def note(self, text: str) -> None:
        """Say something beside the story, word for word."""
        self._console.out(text, highlight=False)

    def follow(self, look: Callable[[], RunView], *, seconds_max: float) -> RunView:
        """Show a run until it ends, and return it as it ended.

        Raises:
            RunTooLong: when it has not ended in time.
        """
        until = time.monotonic() + seconds_max
        show = self._follow_plainly if self.is_plain else self._follow_live
        view = show(look, until)
        if view.ended_at is None:
            stages = "; ".join(summary(stage) for stage in view.stages)
            raise RunTooLong(f"run {view.id} has not ended after {seconds_max:.0f} s: {stages}")
        return view

    def _follow_live(self, look: Callable[[], RunView], until: float) -> RunView:
        pulse, clock = Pulse(), SystemClock()
        with Live(console=self._console, auto_refresh=False, vertical_overflow="visible") as live:
            while True:
                view = look()
                pulse.note(view, clock.now())
                live.update(render_run(view, pulse), refresh=True)
                if view.ended_at is not None or time.monotonic() >= until:
                    return view
                time.sleep(POLL_SECONDS)

    def _follow_plainly(self, look: Callable[[], RunView], until: float) -> RunView:
        """Print stages when their state changes, and their counters now and then."""
        states: dict[str, str] = {}
        lines: dict[str, str] = {}
        shown_at = time.monotonic()
        while True:
            view = look()
            is_due = time.monotonic() - shown_at >= LINE_SECONDS
            for stage in view.stages:
                line = summary(stage)
                is_moved = states.get(stage.name) not in {None, stage.state}
                if is_moved or (is_due and lines.get(stage.name) not in {None, line}):
                    self.say(f"  {line}")
                    lines[stage.name] = line
                states[stage.name] = stage.state
                lines.setdefault(stage.name, line)
            if is_due:
                shown_at = time.monotonic()
            if view.ended_at is not None or time.monotonic() >= until:
                return view
            time.sleep(POLL_SECONDS)

    # --- the end --------------------------------------------------------------------------------------------

    def tell(self, story: Story) -> None:
        """Show what happened and whether it is what should have happened."""
        self.note("")
        self._console.print(_runs(story))
        if len(story.runs) > 1:
            self._tell_exposed(story.runs[1])
        versions = ", ".join(f"{count} on {version}" for version, count in story.devices_on_version.items())
        self.note(f"Devices: {versions}.")
        for device, service in story.services.items():
            self.note(f"The real service on {device} answers {service.status}, version {service.version or 'unknown'}.")
        self.note(f"{story.installs_per_second} installs a second in the good run; {story.seconds:.0f} s in all.")
        for fault in faults(story):
            self.note(f"NOT AS EXPECTED: {fault}")

    def _tell_exposed(self, bad: Played) -> None:
        total = sum(sum(getattr(s.counters, n) for n in s.counters.__struct_fields__) for s in bad.view.stages)
        exposed = bad.exposed
        self.note(
            f"Release {BAD} reached {len(exposed)} devices, all in stage {bad.view.stages[0].name} (of {total} there;"
            f" the gate allows {bad.exposed_max}). They went back to {GOOD} by themselves:"
        )
        for target in exposed[:EXPOSED_SHOWN_MAX]:
            why = ": ".join(filter(None, (target.reason, target.detail))) or "it succeeded"
            self.note(f"  {target.device:<12} {target.state}, left {target.left or '?'}; {why}")
        if len(exposed) > EXPOSED_SHOWN_MAX:
            self.note(f"  … and {len(exposed) - EXPOSED_SHOWN_MAX} more")


def _runs(story: Story) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("RELEASE", "RUN", "ENDED", "SECONDS", "SUCCEEDED", "FAILED", "WHY"):
        table.add_column(column, no_wrap=column != "WHY")
    for played in story.runs:
        failed = sum(stage.counters.failed for stage in played.view.stages)
        row = (played.view.id, played.view.state, f"{played.seconds:.1f}", str(played.succeeded), str(failed))
        table.add_row(f"{played.view.app} {played.view.version}", *row, played.view.reason or "every stage passed")
    return table
