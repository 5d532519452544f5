"""What the demo says in the end: what happened, who was exposed, and whether that is what should have happened."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from controller.app.views import StageView, TargetView
from controller.cli.progress import gate_lines
from controller.cli.pulse import total_of
from controller.domain.wording import counted
from simulator.demo.story import Asked, Played, Story
from simulator.demo.verdict import faults

EXPOSED_SHOWN_MAX: Final = 4


class Ending:
    """The summary, on a console: a table, and sentences that are broken between words, to the width that there is."""

    def __init__(self, console: Console) -> None:
        """Take the console."""
        self._console = console

    def tell(self, story: Story) -> None:
        """Say it all."""
        self._console.print()
        self._console.print(_runs(story))
        for played in story.runs:
            if played.asked is not None:
                self._tell_asked(played.asked, played)
            if played.failed is not None:
                self._tell_failed(played)
            elif played.quarantined:
                self._tell_quarantined(played)
            elif played.scene.takes_back:
                back = f"A rollback took {_devices(played.succeeded)} back to {played.view.version}"
                self._say(f"{back}, which they had before.")
        self._tell_gates(story)
        versions = ", ".join(f"{count} on {version}" for version, count in story.devices_on_version.items())
        self._say(f"\nDevices: {versions}.")
        for device, service in story.services.items():
            told = f"{service.status}, version {service.version or 'unknown'}"
            self._say(f"The real service on {device} answers {told}.")
        self._say(f"Every message between controller and devices went through {story.broker}.")
        if story.runs:
            self._say(
                f"The good run took {story.runs[0].seconds:.1f} s, its waits for gates and a held device included:"
                f" {story.installs_per_second} installs a second. All of it took {story.seconds:.0f} s."
            )
        for fault in faults(story):
            self._say(f"NOT AS EXPECTED: {fault}")

    def _say(self, text: str) -> None:
        self._console.print(Text(text, overflow="ignore"), crop=False)

    def _tell_asked(self, asked: Asked, played: Played) -> None:
        """Say why a device was left out at first, and how it ended after that."""
        ended = next((target.state for target in played.targets if target.device == asked.device), "was never in it")
        left_out = f"Release {played.view.version} left {asked.device} out for a while ({asked.fact.text})."
        self._say(f"\n{left_out} Once the hold was lifted, it {ended}.")

    def _tell_failed(self, played: Played) -> None:
        """Name the devices that had a bad release, and count those that were spared although they were told."""
        failed, version = played.failed, played.view.version
        assert failed is not None, "only what failed is told so"
        self._say(f"\nRelease {version} failed in stage {failed.name}: {failed.reason}.")
        self._say(
            f"It was installed on {len(played.exposed)} of the {_devices(total_of(failed.counters))} there, at most"
            f" {failed.max_in_flight} at once. They went back by themselves:"
        )
        self._tell_exposed(played)
        if played.succeeded:
            self._say(f"Its other branch went on to its end: {_devices(played.succeeded)} took {version}.")

    def _tell_quarantined(self, played: Played) -> None:
        """Name the model that a release was kept from, and those of its devices that had it by then."""
        models, version = ", ".join(sorted(played.quarantined)), played.view.version
        self._say(f"\nRelease {version} does not run on model {models}, which was quarantined.")
        exposed, of_model = len(played.exposed), _devices(len(played.left_out))
        self._say(f"It was installed on {exposed} of the {of_model} of that model. They went back by themselves:")
        self._tell_exposed(played)
        self._say(f"All others went on to the end: {_devices(played.succeeded)} took {version}.")

    def _tell_exposed(self, played: Played) -> None:
        """Show some of the devices that had a release that is bad for them, and name those that were spared."""
        self._console.print(Padding.indent(_exposed(played.exposed[:EXPOSED_SHOWN_MAX]), 2))
        if len(played.exposed) > EXPOSED_SHOWN_MAX:
            self._say(f"  … and {len(played.exposed) - EXPOSED_SHOWN_MAX} more")
        for devices, what in ((played.called_back, "called back"), (played.stranded, "stopped by something else")):
            if devices:
                verb = "was" if len(devices) == 1 else "were"
                self._say(f"{len(devices)} more {verb} {what} before installing: {_names(devices)}.")

    def _tell_gates(self, story: Story) -> None:
        """Show what each gate that had something to say says in the end, as ``tidegate run status`` does."""
        spoke = [(played.view.version, stage) for played in story.runs for stage in played.speaking]
        if spoke:
            self._say("\nWhat the gates say (tidegate run status):")
            self._console.print(Padding.indent(_gates(spoke), 2))


def _devices(count: int) -> str:
    return counted(count, "device")


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
        what = "back to" if played.scene.takes_back else played.view.app
        table.add_row(f"{what} {played.view.version}", *row)
    return table


def _gates(spoke: Sequence[tuple[str, StageView]]) -> Table:
    """Return the lines of each gate beside its release and stage."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for version, stage in spoke:
        table.add_row(Text(f"{version} {stage.name}"), Group(*gate_lines(stage)))
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
