"""The program behind `tidegate simulate`: run a fleet until it is told to stop, with a live line on stderr."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from protocol.errors import ProtocolError
from protocol.units import Millis
from simulator.line import Line
from simulator.live.behaviour import Plan, draw
from simulator.live.enrolment import Addresses, EnrolFailed
from simulator.live.fleet import LiveFleet, Snapshot
from simulator.live.history import HistoryFile
from simulator.live.steps import Load

LINE_SECONDS: Final = 1.0
FAILED: Final = 1


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `duration_s` 0 means until a signal; `token` is an operator's, for setting labels.

    `history` is the file to which what each device does is written, where that is wanted.
    """

    addresses: Addresses
    claim: str
    plan: Plan
    token: str = ""
    load: Load = Load()
    duration_s: float = 0.0
    history: Path | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulation came to. Seconds of wall clock."""

    seed: int
    enrol_seconds: float
    seconds: float
    connected_max: int
    fleet: Snapshot


def run(options: Options) -> Summary:
    """Run the fleet until its time is over, or SIGTERM or SIGINT.

    Raises:
        EnrolFailed: when the devices cannot be enrolled.
        ProtocolError: when the controller gives what cannot be used.
    """
    return asyncio.run(_run(options))


async def _run(options: Options) -> Summary:
    stop = _stop_on_signals()
    line = Line(sys.stderr)
    history = None if options.history is None else HistoryFile(options.history)
    fleet = LiveFleet(
        draw(options.plan),
        addresses=options.addresses,
        load=options.load,
        record=None if history is None else history.record,
    )
    begun = time.monotonic()
    try:
        await _enrol(fleet, options, line, stop)
        enrolled = time.monotonic()
        fleet.power_on()
        connected_max = await _watch(fleet, line, stop, until=enrolled + (options.duration_s or float("inf")))
        last = fleet.snapshot()
    finally:
        line.close()
        await fleet.leave()
        if history is not None:
            history.close()
    return Summary(
        seed=options.plan.seed,
        enrol_seconds=round(enrolled - begun, 3),
        seconds=round(time.monotonic() - enrolled, 3),
        connected_max=connected_max,
        fleet=last,
    )


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _enrol(fleet: LiveFleet, options: Options, line: Line, stop: asyncio.Event) -> None:
    """Enrol, unless a signal comes first."""
    work = asyncio.ensure_future(
        fleet.enrol(
            claim=options.claim,
            token=options.token,
            on_enrolled=lambda count: line.show(f"enrolled {count}/{options.plan.count}"),
        )
    )
    ended = asyncio.ensure_future(stop.wait())
    await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not work.done():
        work.cancel()
        raise EnrolFailed("stopped by a signal while devices were being enrolled")
    await work


async def _watch(fleet: LiveFleet, line: Line, stop: asyncio.Event, *, until: float) -> int:
    """Show the fleet until it is time to stop; return how many devices were connected at most."""
    connected_max = 0
    while not stop.is_set() and time.monotonic() < until:
        snapshot = fleet.snapshot()
        connected_max = max(connected_max, snapshot.connected)
        line.show(text_of(snapshot))
        pause = min(LINE_SECONDS, max(0.0, until - time.monotonic()))
        try:
            await asyncio.wait_for(stop.wait(), pause)
        except TimeoutError:
            continue
    return connected_max


def text_of(snapshot: Snapshot) -> str:
    """Return the live line."""
    versions = "  ".join(f"{version}: {count}" for version, count in snapshot.versions.items())
    return f"connected {snapshot.connected}/{snapshot.devices}  working {snapshot.working}  {versions}"


def main(options: Options, *, as_json: bool) -> int:
    """Run, print the summary, and return the exit code."""
    try:
        summary = run(options)
    except (EnrolFailed, ProtocolError, OSError) as error:
        sys.stderr.write(f"simulate: {error}\n")
        return FAILED
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(summary)).decode() + "\n")
    else:
        sys.stdout.write(_in_words(summary) + "\n")
    return 0


def _in_words(summary: Summary) -> str:
    fleet = summary.fleet
    ended = ", ".join(f"{count} {how}" for how, count in fleet.ended.items()) or "none"
    return (
        f"{fleet.devices} devices, {summary.connected_max} connected at most, in {summary.seconds:.0f} s"
        f" (seed {summary.seed})\n{text_of(fleet)}\nattempts ended: {ended}"
    )


def span_of(seconds: float) -> Millis:
    """Return seconds as milliseconds."""
    return Millis(int(seconds * 1_000))
