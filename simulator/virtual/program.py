"""The program behind `tidegate fuzz`: many seeds with a live line, or one seed with its story."""

import sys
import time
from concurrent.futures.process import BrokenProcessPool
from typing import Final

import msgspec

from simulator.line import Line
from simulator.virtual.fuzz import Backend, Report, fuzz, replay
from simulator.virtual.trial import Outcome

BROKEN: Final = 1
SHOWN_MAX: Final = 10
NAMED_MAX: Final = 5
"""So many broken seeds are named while it goes on, so that one can be looked at at once."""
SHOW_SECONDS: Final = 0.5


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. With `seed` that one alone, told in full; else `seeds` of them from `first` on."""

    seed: int | None = None
    first: int = 1
    seeds: int = 1_000
    workers: int = 1
    backend: Backend = Backend.MEMORY


def main(options: Options, *, as_json: bool) -> int:
    """Run, print what came of it, and return the exit code."""
    if options.seed is not None:
        return _one(options.seed, options.backend, as_json=as_json)
    try:
        report = _many(options)
    except BrokenProcessPool:
        sys.stderr.write("fuzz: a process died, perhaps for want of memory: try fewer --workers\n")
        return BROKEN
    _print(_json(report) if as_json else in_words(report, options.backend))
    return 0 if report.is_good else BROKEN


def _one(seed: int, backend: Backend, *, as_json: bool) -> int:
    outcome = replay(seed, backend, is_traced=True)
    _print(_json(outcome) if as_json else _story(outcome))
    return 0 if outcome.is_good else BROKEN


def _many(options: Options) -> Report:
    line = Line(sys.stderr)
    shown_at = 0.0

    def show(report: Report) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= SHOW_SECONDS:
            shown_at = time.monotonic()
            line.show(_progress(report, options.seeds))

    try:
        return fuzz(
            first=options.first, seeds=options.seeds, workers=options.workers, backend=options.backend, show=show
        )
    finally:
        line.close()


def _progress(report: Report, seeds: int) -> str:
    broken = " ".join(map(str, [len(report.failed), *(f"#{seed}" for seed in list(report.failed)[-NAMED_MAX:])]))
    return f"seeds {report.seeds}/{seeds}  {report.seeds_per_minute:,.0f} a minute  broken {broken}"


def in_words(report: Report, backend: Backend) -> str:
    """Return what came of many seeds, for people."""
    last = report.first + report.seeds - 1
    pace = f"{report.events:,} events in {report.seconds:.0f} s, {report.seeds_per_minute:,.0f} seeds a minute"
    lines = [f"seeds {report.first} to {last}: {len(report.failed)} broke a law; {pace}"]
    for seed, violations in sorted(report.failed.items())[:SHOWN_MAX]:
        lines += [f"  seed {seed}: {violations[0]}", f"    see it again: {command(seed, backend)}"]
    if report.never:
        lines += ["never seen: " + "; ".join(report.never)]
    return "\n".join(lines)


def command(seed: int, backend: Backend) -> str:
    """Return the command that replays a seed."""
    store = "" if backend is Backend.MEMORY else f" --store {backend}"
    return f"tidegate fuzz --seed {seed}{store}"


def _story(outcome: Outcome) -> str:
    verdict = "no law was broken" if outcome.is_good else "\n".join(outcome.violations)
    seconds = outcome.virtual_ms / 1_000
    return "\n".join([*outcome.timeline, f"seed {outcome.seed}: {seconds:.0f} virtual seconds", verdict])


def _json(what: Outcome | Report) -> str:
    return msgspec.json.format(msgspec.json.encode(what)).decode()


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
