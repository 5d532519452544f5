"""An installation that may be killed at any moment, and a small fleet in this process that outlives it."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import MappingProxyType
from typing import Final

from controller.cli.failures import CliError
from protocol.ids import AppName
from simulator.installation import InstallationFailed
from simulator.live.behaviour import Plan, draw
from simulator.live.enrolment import Addresses
from simulator.live.fleet import LiveFleet
from simulator.live.history import Entry, read_history
from simulator.live.steps import Load
from simulator.processes import ProcessFailed
from tests.chaos.evidence import memories_of, read_agent_log, read_database, read_journal
from tests.chaos.history import CHECKS, Check, Evidence, assert_clean
from tests.chaos.tracer import traced
from tests.integration.world import APP, JOB, World, world

POLL_SECONDS: Final = 0.02
SETTLE_SECONDS: Final = 45.0
KILLED: Final = -9
PRETEND_BYTES: Final = 2_000_000
"""Downloads take a part of a second, so that what happens finds devices before their irreversible step as well."""
VERSIONS: Final = ("1.0.0", "1.1.0")
PATIENT: Final = f"""
kind: Pipeline
name: {JOB}
stages:
  - name: all
    gate: {{success: 100%, failures: {{more_than: 100%}}}}
    pace: {{max_in_flight: 1000}}
    retry: {{attempts: 20, backoff: 1s}}
"""


async def until(what: Callable[[], object], *, seconds: float = SETTLE_SECONDS, why: str) -> None:
    """Wait until *what* is true, while the loop goes on."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s: {why}"
        await asyncio.sleep(POLL_SECONDS)


class SmallWorld:
    """One installation, and simulated devices in this process."""

    def __init__(self, w: World, fleet: LiveFleet, entries: list[Entry]) -> None:
        """Take the installation, the devices, and the list that their deeds go to."""
        self.w = w
        self.fleet = fleet
        self.entries = entries

    # --- the controller -----------------------------------------------------------------------------------------

    async def serve(self, *, under: Sequence[str] = ()) -> None:
        """Start the controller, and have every device come back at once; it may be killed before it is ready."""
        with contextlib.suppress(ProcessFailed, InstallationFailed):
            await asyncio.to_thread(self.w.installation.serve, under=under)
        self.reconnect()

    async def kill(self) -> None:
        """End the controller as a power cut would."""
        await asyncio.to_thread(self.w.installation.kill)

    def code(self) -> int | None:
        """Return how the controller ended, None while it runs."""
        assert self.w.installation.controller is not None
        return self.w.installation.controller.process.poll()

    def reconnect(self) -> None:
        """Let every device lose its connection, and dial again without the wait that a storm would ask for."""
        for device in self.fleet.devices:
            device._radio.switch_off()
            device._radio.switch_on(after_ms=0)

    # --- runs ---------------------------------------------------------------------------------------------------

    def active_runs(self) -> list[str]:
        """Return the runs that have not ended."""
        return active_runs(self.w)

    async def start(self, job: str = JOB) -> None:
        """Start a run of the version that the devices do not have, as far as the controller lives to do so."""
        at_hand = self.fleet.devices[0].installed.get(AppName(APP))
        version = next(version for version in VERSIONS if version != at_hand)
        with contextlib.suppress(CliError):
            await asyncio.to_thread(self.w.operator.start, job, version=version)

    async def serve_until_killed(self, tracer: Sequence[str], *, seconds: float = SETTLE_SECONDS) -> None:
        """Start the controller, and let its *tracer* kill it as it starts or as devices come back."""
        starting = asyncio.create_task(self.serve())
        await until(lambda: self.w.installation.controller is not None, why="the controller's process is there")
        assert self.w.installation.controller is not None
        with traced(self.w.installation.controller.pid, tracer):
            await until(lambda: self.code() is not None, seconds=seconds, why="the starting controller is killed")
        await starting
        assert self.code() == KILLED, f"the controller ended with {self.code()}, not by its tracer"
        await self.kill()

    async def run_until_killed(self, tracer: Sequence[str], *, seconds: float = SETTLE_SECONDS) -> None:
        """Have one run after another until the controller dies of its *tracer*."""
        assert self.w.installation.controller is not None
        with traced(self.w.installation.controller.pid, tracer):
            await self._run_until_dead(seconds)

    async def _run_until_dead(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.code() is None:
            assert time.monotonic() < deadline, f"the controller was not killed within {seconds} s"
            if not self.active_runs():
                await self.start()
            await asyncio.sleep(POLL_SECONDS)
        assert self.code() == KILLED, f"the controller ended with {self.code()}, not by its tracer"
        await self.kill()

    async def settled(self) -> None:
        """Wait until every run has ended and every device knows that its reports are stored."""
        await until(lambda: not self.active_runs(), why="every run ends")
        await until(lambda: self.fleet.snapshot().unsettled == 0, why="every report is acknowledged")

    # --- evidence -----------------------------------------------------------------------------------------------

    def check(self, *, checks: Sequence[Check] = CHECKS, repeat: str) -> None:
        """Judge all that happened so far."""
        entries, memories = tuple(self.entries), memories_of(self.fleet)
        database = read_database(self.w.installation.online)
        evidence = Evidence(database=database, entries=entries, memories=memories)
        assert_clean(evidence, checks=checks, repeat=repeat)


def active_runs(w: World) -> list[str]:
    """Return the runs that have not ended, as the database has them, whether the controller lives or not."""
    with closing(sqlite3.connect(w.installation.online / "tidegate.db", timeout=10)) as connection:
        connection.execute("PRAGMA query_only = ON")
        return [uid for (uid,) in connection.execute("SELECT uid FROM run WHERE is_active")]


def evidence_of(w: World, history: Path) -> Evidence:
    """Return all that is known; the devices' word is read first, so that it never runs ahead of the database's."""
    journals = [read_journal(agent.folder) for agent in w.agents]
    told = [
        entry
        for agent, (durable, _) in zip(w.agents, journals, strict=True)
        for entry in read_agent_log(w.processes.logs / f"{agent.device}.log", durable.name)
    ]
    entries = [*read_history(history), *told]
    database = read_database(w.installation.online)
    return Evidence(database=database, entries=entries, memories=[memory for _, memory in journals])


@asynccontextmanager
async def small_world(
    folder: Path, *, devices: int = 3, pipeline: str = PATIENT, env: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[SmallWorld]:
    """Run an installation with a small fleet in this process; everything ends with the block."""
    with world(folder, env=env) as w:
        entries: list[Entry] = []
        fleet = LiveFleet(
            draw(Plan(count=devices)),
            addresses=Addresses(url=w.installation.url, ca=w.installation.ca),
            load=Load(pretend_bytes=PRETEND_BYTES),
            record=entries.extend,
        )
        try:
            await asyncio.to_thread(define, w, pipeline)
            await fleet.enrol(claim=w.operator.new_claim(uses=devices), token=w.installation.token)
            fleet.power_on()
            await until(lambda: fleet.snapshot().connected == devices, why="every device connects")
            yield SmallWorld(w, fleet, entries)
        finally:
            await fleet.leave()


def define(w: World, pipeline: str) -> None:
    """Publish versions between which runs go back and forth, and create the job."""
    for version in VERSIONS:
        w.publish(version)
    w.define(VERSIONS[0], pipeline)
