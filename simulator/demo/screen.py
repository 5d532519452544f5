"""What the demo shows while it runs: a live tree on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from controller.app.views import RunView, TargetView
from controller.cli.progress import render_run, summary
from controller.cli.pulse import Pulse, total_of
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

    def tell_words(self, text: str) -> None:
        """Say something beside the story; a long line is broken between words, to the width that there is."""
        self._console.print(Text(text, overflow="ignore"), crop=False)

    @contextmanager
    def counting(self) -> Iterator[Callable[[str], None]]:
        """Yield what shows how far something is: over and over in one place, or as a line now and then."""
        if self.is_plain:
            yield self._now_and_then()
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            yield lambda text: live.update(Text(f"        {text}"), refresh=True)

    def _now_and_then(self) -> Callable[[str], None]:
        said_at, last = time.monotonic(), ""

        def show(text: str) -> None:
            nonlocal said_at, last
            if text != last and time.monotonic() - said_at >= LINE_SECONDS:
                self.say(f"  {text}")
                said_at, last = time.monotonic(), text

        return show

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
        for played in story.runs:
            if played.view.reason:
                self.tell_words(f"Release {played.view.version} {played.view.state}: {played.view.reason}.")
        if len(story.runs) > 1:
            self._tell_exposed(story.runs[1])
        versions = ", ".join(f"{count} on {version}" for version, count in story.devices_on_version.items())
        self.tell_words(f"Devices: {versions}.")
        for device, service in story.services.items():
            told = f"{service.status}, version {service.version or 'unknown'}"
            self.tell_words(f"The real service on {device} answers {told}.")
        self.tell_words(f"Every message between controller and devices went through {story.broker}.")
        self._tell_time(story)
        for fault in faults(story):
            self.tell_words(f"NOT AS EXPECTED: {fault}")

    def _tell_exposed(self, bad: Played) -> None:
        """Name the devices that had the bad release, and count those that were spared although they were told."""
        exposed, first = bad.exposed, bad.first
        self.tell_words(
            f"Release {BAD} was installed on {_devices(len(exposed))}, all in stage {first.name}, which has"
            f" {_devices(total_of(first.counters))}: at most {first.max_in_flight} at work at once, so at most"
            f" {bad.exposed_max} could be exposed. They went back to {GOOD} by themselves:"
        )
        self._console.print(Padding.indent(_exposed(exposed[:EXPOSED_SHOWN_MAX]), 2))
        if len(exposed) > EXPOSED_SHOWN_MAX:
            self.note(f"  … and {len(exposed) - EXPOSED_SHOWN_MAX} more")
        for devices, what in ((bad.called_back, "called back"), (bad.stranded, "stopped by something else")):
            if devices:
                verb = "was" if len(devices) == 1 else "were"
                self.tell_words(f"{len(devices)} more {verb} {what} before they installed: {_names(devices)}.")

    def _tell_time(self, story: Story) -> None:
        if story.runs:
            self.tell_words(
                f"The good run took {story.runs[0].seconds:.1f} s, its waits for gates included:"
                f" {story.installs_per_second} installs a second. All of it took {story.seconds:.0f} s."
            )


def _devices(count: int) -> str:
    return f"{count} device" if count == 1 else f"{count} devices"


def _names(targets: tuple[TargetView, ...]) -> str:
    names = [target.device for target in targets[:EXPOSED_SHOWN_MAX]]
    return ", ".join(names) + (", …" if len(targets) > EXPOSED_SHOWN_MAX else "")


def _runs(story: Story) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("RELEASE", "RUN", "ENDED", "SECONDS", "SUCCEEDED", "FAILED"):
        table.add_column(column, no_wrap=True)
    for played in story.runs:
        failed = sum(stage.counters.failed for stage in played.view.stages)
        row = (played.view.id, played.view.state, f"{played.seconds:.1f}", str(played.succeeded), str(failed))
        table.add_row(f"{played.view.app} {played.view.version}", *row)
    return table


def _exposed(targets: tuple[TargetView, ...]) -> Table:
    """Return a line for each device; what is long is broken beside its name."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for target in targets:
        why = ": ".join(filter(None, (target.reason, target.detail))) or "it succeeded"
        table.add_row(Text(target.device), Text(f"{target.state}, left {target.left or '?'}; {why}"))
    return table
