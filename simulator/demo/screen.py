"""What the demo shows while it runs: a live tree on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from controller.app.views import RunView
from controller.cli.progress import quarantines, render_run, summary
from controller.cli.pulse import Pulse
from controller.clock import SystemClock
from simulator.demo.ending import Ending
from simulator.demo.story import Story

POLL_SECONDS: Final = 0.2
LINE_SECONDS: Final = 2.0


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

    def title(self, text: str) -> None:
        """Say what is to be seen next."""
        self._console.print()
        self._console.print(Text(f"{text[:1].upper()}{text[1:]}.", style="bold", overflow="ignore"), crop=False)

    def note(self, text: str) -> None:
        """Say something beside the story, word for word."""
        self._console.out(text, highlight=False)

    def tell(self, story: Story) -> None:
        """Show what happened and whether it is what should have happened."""
        Ending(self._console).tell(story)

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
        """Print stages when their state changes, models once they are quarantined, and counters now and then."""
        states: dict[str, str] = {}
        lines: dict[str, str] = {}
        told: set[str] = set()
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
                for news in (line for line in quarantines(stage.gate) if line not in told):
                    self.say(f"  {stage.name}: {news}")
                    told.add(news)
                states[stage.name] = stage.state
                lines.setdefault(stage.name, line)
            if is_due:
                shown_at = time.monotonic()
            if view.ended_at is not None or time.monotonic() >= until:
                return view
            time.sleep(POLL_SECONDS)
