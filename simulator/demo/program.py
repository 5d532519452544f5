"""The program behind `tidegate demo`: a folder, the story, its end, and nothing left running."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Final, cast

import msgspec
from rich.console import Console

from controller.app.errors import ControllerError
from controller.cli.failures import CliError, ExitCode
from controller.http.app import OPENAPI_PATH
from simulator.brokers import BrokerFailed, BrokerMissing
from simulator.demo.cast import Cast
from simulator.demo.scenario import Scenario
from simulator.demo.scenes import APP, BAD, UNFIT
from simulator.demo.screen import RunTooLong, Screen
from simulator.demo.story import Story
from simulator.demo.stream import Lasting
from simulator.demo.verdict import faults, report
from simulator.installation import Installation, InstallationFailed
from simulator.processes import Processes, ProcessFailed

_FAILURES: Final = (
    InstallationFailed,
    BrokerMissing,
    BrokerFailed,
    ProcessFailed,
    RunTooLong,
    CliError,
    ControllerError,
    OSError,
)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REPEAT_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.5
PLAIN_WIDTH: Final = 160


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for; without a `folder` a temporary one is taken, and removed when all went well."""

    cast: Cast
    folder: Path | None = None
    keep: bool = False
    as_json: bool = False


def main(options: Options) -> int:
    """Play the demo and return the exit code: 0 when everything went as it should."""
    screen = Screen(_console(options))
    with _signals_as_interrupts(), _folder(options) as (folder, release):
        try:
            story = _play(options, folder, screen)
        except KeyboardInterrupt:
            release()
            screen.say("cancelled; every process has ended")
            return ExitCode.CANCELLED
        except _FAILURES as error:
            screen.note(f"\nThe demo failed: {error}\nThe logs are in {folder / 'logs'}")
            return ExitCode.ERROR
        return _end(options, story, folder=folder, screen=screen, release=release)


def _console(options: Options) -> Console:
    """Return where the story is told: beside the result, wherever that goes; logs get long lines."""
    stream = cast("IO[str]", Lasting(sys.stderr if options.as_json else sys.stdout, on_loss=_hang_up))
    return Console(file=stream) if stream.isatty() else Console(file=stream, width=PLAIN_WIDTH)


def _hang_up() -> None:
    """End as at a hang-up: nobody looks any more. While processes are being ended this changes nothing."""
    signal.raise_signal(signal.SIGHUP)


def _play(options: Options, folder: Path, screen: Screen) -> Story:
    with Processes(folder) as processes:
        try:
            scenario = Scenario(options.cast, folder=folder, processes=processes, screen=screen)
            story = scenario.play()
            if options.keep and scenario.installation is not None:
                screen.tell(story)
                _stay(scenario.installation, processes, screen)
            return story
        except CliError:
            processes.check()  # a controller that has died says more than that it cannot be reached
            raise
        finally:
            for number in (*_SIGNALS, signal.SIGALRM):
                signal.signal(number, signal.SIG_IGN)  # ending the processes is bounded, and must not be cut short


def _end(options: Options, story: Story, *, folder: Path, screen: Screen, release: "Release") -> int:
    if not faults(story):
        release()  # first, so that nothing that goes wrong in the telling leaves the keys behind
    if not options.keep:
        screen.tell(story)
    if options.as_json:
        told = msgspec.json.format(msgspec.json.encode(report(story, seed=options.cast.seed))).decode()
        Lasting(sys.stdout).write(f"{told}\n")
    if faults(story):
        screen.note(f"The logs are in {folder / 'logs'}")
        return ExitCode.ERROR
    return ExitCode.OK


def _stay(installation: Installation, processes: Processes, screen: Screen) -> None:
    """Keep everything up until a signal comes."""
    screen.note("\nEverything stays up until Ctrl-C. In another terminal:\n")
    for name, value in installation.environment.items():
        screen.note(f"  export {name}={value}")
    for command in _COMMANDS:
        screen.note(f"  {command}".rstrip())
    screen.note(f"\nThe logs are in {processes.logs}")
    try:
        while True:
            processes.check()
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        screen.note("ending every process")


_COMMANDS: Final = (
    f"export PATH={Path(sys.executable).parent}:$PATH",
    "",
    "tidegate run list",
    "tidegate device list --label ring=canary",
    "tidegate device why sim-0001",
    "# The bad release once more; RUN is the id that the next line prints:",
    f"tidegate run start {APP} --version {BAD}",
    "tidegate run promote RUN canary; tidegate run watch RUN",
    "# The devices of the model that was left out:",
    f"tidegate device list --query 'model == \"{UNFIT}\"'",
    "tidegate audit list",
    "",
    "# What the API offers, how the controller counts, and whether it is ready:",
    'curl --cacert $TIDEGATE_CA -H "Authorization: Bearer $TIDEGATE_TOKEN" \\',
    f"    $TIDEGATE_URL{OPENAPI_PATH}",
    "curl --cacert $TIDEGATE_CA $TIDEGATE_URL/metrics",
    "curl --cacert $TIDEGATE_CA $TIDEGATE_URL/readyz",
)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Make every polite way to end us a `KeyboardInterrupt`; what was set before comes back with the end.

    An interrupt that is raised while Python forks is swallowed by it, so a timer repeats it until it is heard.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, _REPEAT_SECONDS)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (*_SIGNALS, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


class Release:
    """Says that the folder may go."""

    def __init__(self) -> None:
        self.is_given = False

    def __call__(self) -> None:
        """Give it."""
        self.is_given = True


@contextmanager
def _folder(options: Options) -> Iterator[tuple[Path, Release]]:
    """Yield the demo's folder, and what lets it go; a folder that was asked for by name stays."""
    release = Release()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        yield options.folder.resolve(), release
        return
    folder = Path(tempfile.mkdtemp(prefix="tidegate-demo-")).resolve()
    try:
        yield folder, release
    finally:
        if release.is_given:
            shutil.rmtree(folder, ignore_errors=True)
