"""What connected devices cost while nothing happens, or only their pings, with runs that wait for a promotion.

Beside a bare loop that once a second looks at as many time stamps as there are devices, as a plain watch over them
would; and, for pings, beside the bare endpoint that answers as many of them from fewer devices. What the controller
asks its database meanwhile is asked once more with SQLite counting its own steps.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.connection import KEEPALIVE_SECONDS
from simulator.processes import Processes
from tests.benchmarks import orders
from tests.benchmarks.measure import Count, Measured, Share, cpu_seconds, progress
from tests.benchmarks.probe import Seen, Statement
from tests.benchmarks.site import Side, Site, open_site

DEVICES: Final = 5_000
FEW_DEVICES: Final = 1_000
BARE_DEVICES: Final = 100
SPAN_S: Final = 10.0
"""Two periods of the slowest of the controller's loops."""
RUNS: Final = 10
REST_S: Final = 1.0
STEPS_MAX: Final = 1_000
"""Whatever takes more steps of SQLite's machine than this, or scans by its plan, looks at devices one by one."""
_TABLES: Final = ("device", "target_run")
_LOOP: Final = "import sys; from tests.benchmarks.idle import bare_loop; bare_loop(int(sys.argv[1]))"


def figures(*, devices: int = DEVICES, few: int = FEW_DEVICES, span_s: float = SPAN_S) -> Iterator[Measured]:
    """Measure in an installation of its own."""
    few = min(few, devices)
    with open_site(devices, is_probed=True) as site:
        bare = site.bare(count=min(few, BARE_DEVICES))
        yield from measure(site, site.controller(count=few), bare, few=few, span_s=span_s)


def measure(site: Site, controller: Side, bare: Side, *, few: int, span_s: float) -> Iterator[Measured]:
    """Measure with *few* devices, then with all, then with their pings."""
    loops = [_start_loop(site.installation.processes, count) for count in (few, site.devices)]
    for number in range(RUNS):
        site.define(f"idle-{number}", trigger="manual")
        site.start(f"idle-{number}")
    pids, bound = (controller.pid, loops[0]), "bare loop over as many time stamps"
    yield _share(f"idle, {few} devices, {RUNS} runs", pids, bound, span_s)
    site.connect(controller, count=site.devices)
    begun = time.monotonic_ns()
    yield _share(f"idle, {site.devices} devices, {RUNS} runs", (controller.pid, loops[1]), bound, span_s)
    pings = orders.KeepAlive(site.devices / KEEPALIVE_SECONDS)
    controller.crowd.ask(pings)
    bare.crowd.ask(pings)
    name, bound = f"the same, with {pings.per_second:.0f} pings/s", "bare endpoint, as many pings"
    yield _share(name, (controller.pid, bare.pid), bound, span_s)
    yield _scans(site, begun)


def _share(name: str, pids: tuple[int, int], bound: str, span_s: float) -> Share:
    """Measure the processes *pids*, ours and the bound's, side by side."""
    time.sleep(REST_S)
    progress(f"{name}, for {span_s:.0f} s")
    begun, before = time.monotonic(), [cpu_seconds(pid) for pid in pids]
    time.sleep(span_s)
    span = time.monotonic() - begun
    ours, theirs = (100 * (cpu_seconds(pid) - at) / span for pid, at in zip(pids, before, strict=True))
    return Share(name, ours, bound, theirs)


def _start_loop(processes: Processes, devices: int) -> int:
    return processes.start(f"loop-{devices}", [sys.executable, "-c", _LOOP, str(devices)]).pid


def bare_loop(count: int) -> None:
    """Look at *count* time stamps once a second, until killed."""

    async def run() -> None:
        heard = [time.monotonic() + number for number in range(count)]
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            assert sum(at > now + count for at in heard) == 0

    asyncio.run(run())


# --- the database -----------------------------------------------------------------------------------------------


def _scans(site: Site, begun: int) -> Count:
    """Count the statements since *begun* that look at devices one by one, and tell which they are."""
    statements = _since(site.seen(), begun)
    database = site.installation.online / "tidegate.db"
    found = [(statement, why) for statement in statements if (why := _why_slow(database, statement))]
    for statement, why in found:
        progress(f"{why}: {' '.join(statement.text.split())}")
    return Count("idle, statements over all devices", len(found), "statements carried out", len(statements))


def _since(seen: Seen, begun: int) -> list[Statement]:
    return [
        statement
        for statement in seen.statements
        if max(statement.at) > begun and not statement.text.startswith(("BEGIN", "PRAGMA"))
    ]


def _why_slow(database: Path, statement: Statement) -> str:
    """Return why a statement looks at devices one by one, or nothing where it does not."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement.text}", statement.values).fetchall()
        scans = [detail for *_, detail in plan if detail.startswith(tuple(f"SCAN {table}" for table in _TABLES))]
        steps = _steps(connection, statement)
    finally:
        connection.close()
    return "; ".join(scans) or (f"{steps} steps" if steps > STEPS_MAX else "")


def _steps(connection: sqlite3.Connection, statement: Statement) -> int:
    """Return how many steps of SQLite's machine a statement takes; what it writes is taken back."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.execute("BEGIN")
    connection.set_progress_handler(step, 1)
    connection.execute(statement.text, statement.values).fetchall()
    connection.set_progress_handler(None, 1)
    connection.execute("ROLLBACK")
    return count
