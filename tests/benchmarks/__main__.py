"""Run the benchmarks: ``make bench ARGS="ingest --json FILE"``; without names, all of them."""

import argparse
import inspect
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import (
    connections,
    dispatch,
    envelopes,
    gates,
    idle,
    ingest,
    installs,
    latency,
    ramp,
    scale,
    wire,
)
from tests.benchmarks.measure import BenchmarkFailed, Measured, machine

Benchmark = Callable[..., Iterator[Measured]]
"""Yields figures. One with a parameter ``devices`` can be told how many there are to be."""

BENCHMARKS: Final[Mapping[str, Benchmark]] = {
    "envelopes": envelopes.figures,
    "ingest": ingest.figures,
    "dispatch": dispatch.figures,
    "wire": wire.figures,
    "latency": latency.figures,
    "idle": idle.figures,
    "scale": scale.figures,
    "connections": connections.figures,
    "gates": gates.figures,
    "installs": installs.figures,
    "ramp": ramp.figures,
}


def main() -> None:
    """Run what was asked for, print it, and write it where wanted."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that everything is cleaned up
    on = machine()
    print(" · ".join(on.values()))
    figures: list[Measured] = []
    failures: list[str] = []
    for name in options.names or BENCHMARKS:
        try:
            for figure in _begun(name, options.devices):
                print(figure.line(), flush=True)
                figures.append(figure)
        except BenchmarkFailed as error:
            failures.append(f"{name} FAILED: {error}")
            print(failures[-1], file=sys.stderr, flush=True)
    if options.json:
        content = {"machine": on, "figures": [figure.data() for figure in figures]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    sys.exit(1 if failures else 0)


def _options() -> Any:
    sized = ", ".join(name for name in BENCHMARKS if _is_sized(name))
    parser = argparse.ArgumentParser(prog="make bench", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--devices", type=int, metavar="N", help=f"how many, for {sized}; default: of each its own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    return options


def _is_sized(name: str) -> bool:
    return "devices" in inspect.signature(BENCHMARKS[name]).parameters


def _begun(name: str, devices: int | None) -> Iterator[Measured]:
    return BENCHMARKS[name](devices=devices) if devices and _is_sized(name) else BENCHMARKS[name]()


if __name__ == "__main__":
    main()
