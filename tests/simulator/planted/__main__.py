"""Hunt every planted bug and print a table: `python -m tests.simulator.planted --from 1`."""

import argparse

from tests.simulator.planted.catalogue import PLANTED
from tests.simulator.planted.planted import SEEDS_MAX, Planted, hunt


def main() -> None:
    """Print a row for each bug as soon as its hunt is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.planted", description=__doc__)
    parser.add_argument("--from", dest="first", type=int, help="begin each hunt at this seed; else at the bug's own")
    parser.add_argument("--max", type=int, default=SEEDS_MAX, help="give a hunt up after so many seeds")
    parser.add_argument("names", nargs="*", help="hunt these alone")
    given = parser.parse_args()
    unknown = set(given.names) - {bug.name for bug in PLANTED}
    if unknown:
        parser.error(f"no bug {', '.join(sorted(unknown))} is planted")
    print("| bug | found by | seeds | seconds | seed |\n|---|---|---:|---:|---:|")
    for bug in PLANTED:
        if not given.names or bug.name in given.names:
            print(_row(bug, given.first, given.max), flush=True)


def _row(bug: Planted, first: int | None, seeds_max: int) -> str:
    found = hunt(bug, first_seed=first, seeds_max=seeds_max)
    if found is None:
        return f"| {bug.name} | **not found** | > {seeds_max} | | |"
    law = found.violation.split(":")[0]
    return f"| {bug.name} | {law} | {found.seed_count} | {found.seconds:.1f} | {found.seed} |"


main()
