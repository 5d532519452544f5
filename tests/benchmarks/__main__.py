"""Run the benchmarks: ``make bench ARGS="ingest --json FILE"``; without names, all of them."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.benchmarks import envelopes, ingest, installs
from tests.benchmarks.measure import Figure, machine

BENCHMARKS: Final[Mapping[str, Callable[[], Iterator[Figure]]]] = {
    "envelopes": envelopes.figures,
    "ingest": ingest.figures,
    "installs": installs.figures,
}


def main() -> None:
    """Run what was asked for, print it, and write it where wanted."""
    parser = argparse.ArgumentParser(prog="make bench", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    on = machine()
    print(" · ".join(on.values()))
    figures: list[Figure] = []
    for name in options.names or BENCHMARKS:
        for figure in BENCHMARKS[name]():
            print(figure.line(), flush=True)
            figures.append(figure)
    if options.json:
        content = {"machine": on, "figures": [figure.data() for figure in figures]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
