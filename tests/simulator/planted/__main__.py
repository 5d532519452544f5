"""Hunt every planted bug and print a table: `python -m tests.simulator.planted --from 1`.

With `--reseed`, a bug that is no longer found within its budget is hunted from seed 1 on, for as long as `--far` says,
and its first seed is written where the bug is defined: do that when worlds are drawn in another way.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

from tests.simulator.planted.catalogue import PLANTED
from tests.simulator.planted.planted import SEEDS_MAX, Hunt, Planted, hunt
from tests.simulator.planted.reseed import first_seed_for, reseed

FAR: Final = 20_000
"""How many seeds a bug is hunted for that has lost its own."""


def main() -> None:
    """Print a row for each bug as soon as its hunt is over, and fail where one was not found."""
    given = _given()
    bugs = [bug for bug in PLANTED if not given.names or bug.name in given.names]
    print("| bug | found by | seeds | seconds | seed |\n|---|---|---:|---:|---:|")
    lost = []
    with ProcessPoolExecutor(given.workers) as pool:
        for bug, found in _hunts(pool, bugs, first=given.first, seeds_max=given.max):
            print(_row(bug, found, given.max), flush=True)
            lost += [] if found else [bug]
        missing = list(_reseeded(pool, lost, far=given.far)) if given.reseed else lost
    sys.exit(f"not found: {', '.join(bug.name for bug in missing)}" if missing else 0)


def _given() -> Any:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.planted", description=summary)
    parser.add_argument("--from", dest="first", type=int, help="begin each hunt at this seed; else at the bug's own")
    parser.add_argument("--max", type=int, default=SEEDS_MAX, help="give a hunt up after so many seeds")
    parser.add_argument("--workers", type=int, default=1, help="hunt so many bugs at once")
    parser.add_argument("--reseed", action="store_true", help="write another first seed for each bug that is not found")
    parser.add_argument("--far", type=int, default=FAR, help="for how many seeds --reseed hunts")
    parser.add_argument("names", nargs="*", help="hunt these alone")
    given = parser.parse_args()
    unknown = set(given.names) - {bug.name for bug in PLANTED}
    if unknown:
        parser.error(f"no bug {', '.join(sorted(unknown))} is planted")
    return given


def _hunts(
    pool: ProcessPoolExecutor, bugs: list[Planted], *, first: int | None, seeds_max: int
) -> Iterator[tuple[Planted, Hunt | None]]:
    """Yield how each hunt went, in the order of *bugs*; only names go to other processes."""
    begun = [pool.submit(_hunt, bug.name, first, seeds_max) for bug in bugs]
    for bug, hunting in zip(bugs, begun, strict=True):
        yield bug, hunting.result()


def _hunt(name: str, first: int | None, seeds_max: int) -> Hunt | None:
    return hunt(next(bug for bug in PLANTED if bug.name == name), first_seed=first, seeds_max=seeds_max)


def _row(bug: Planted, found: Hunt | None, seeds_max: int) -> str:
    if found is None:
        return f"| {bug.name} | **not found** | > {seeds_max} | | |"
    law = found.violation.split(":")[0]
    return f"| {bug.name} | {law} | {found.seed_count} | {found.seconds:.1f} | {found.seed} |"


def _reseeded(pool: ProcessPoolExecutor, lost: list[Planted], *, far: int) -> Iterator[Planted]:
    """Hunt from seed 1 on and write what was found; yield the bugs that were not."""
    for bug, found in _hunts(pool, lost, first=1, seeds_max=far):
        if found is None:
            print(f"{bug.name}: not found in {far} seeds from 1 on")
            yield bug
            continue
        first = first_seed_for(found.seed)
        print(f"{bug.name}: found by seed {found.seed}; {reseed(bug, first)}: {bug.first_seed} → {first}", flush=True)


if __name__ == "__main__":
    main()
