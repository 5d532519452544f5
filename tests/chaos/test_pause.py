"""Pause under load: once a pause is answered, nothing of the run is handed to the transport, and devices hold.

The controller is the real one with its endpoint and database, run in this process, so that the moment of the answer and
each write to the transport are seen in one order. The devices are a process of their own.
"""

import asyncio
import logging
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import structlog

from controller import bootstrap, serving, ways
from controller.app import runs
from controller.app.access import Actor, Role
from controller.app.controller import Controller
from controller.app.errors import Conflict
from controller.config import Settings
from controller.edge.endpoint import Endpoint
from protocol.envelope import parse
from protocol.ids import Name
from protocol.messages import Mode, Op
from protocol.topics import DownlinkKind
from simulator.installation import HOST, Installation
from simulator.live.history import Deed, read_history
from simulator.processes import Processes
from tests.chaos.chance import drawn, repeating
from tests.chaos.evidence import read_database
from tests.chaos.history import CHECKS, Evidence, assert_clean, unsettled
from tests.chaos.world import PRETEND_BYTES, VERSIONS, active_runs, define, until
from tests.integration.world import JOB, World

pytestmark = pytest.mark.timeout(400)

TEST: Final = "tests/chaos/test_pause.py"
ADMIN: Final = Actor(name="ann", role=Role.ADMIN)
DEVICES: Final = 1_000
PAUSES: Final = 100
LOOK_EVERY: Final = 20
"""Each pause of so many lasts until every device at work has said that it holds."""
START_SECONDS: Final = 30.0
ONLINE_SECONDS: Final = 120.0
PIPELINE: Final = f"""
kind: Pipeline
name: {JOB}
stages:
  - name: all
    gate: {{success: 100%, failures: {{more_than: 100%}}}}
    pace: {{max_in_flight: 100}}
    retry: {{attempts: 20, backoff: 1s}}
"""


class Written(msgspec.Struct, frozen=True):
    """A command that was handed to the transport."""

    op: str
    run: str


class WatchedEndpoint(Endpoint):
    """The endpoint, with every command that it took from the dispatcher, in order."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.commands: list[Written] = []
        self._decoder = msgspec.json.Decoder(Written)

    def write(self, name: Name, kind: DownlinkKind, payload: bytes) -> bool:
        """Write down what is handed over."""
        if kind is DownlinkKind.COMMAND:
            self.commands.append(self._decoder.decode(parse(payload).payload))
        return super().write(name, kind, payload)


class Load:
    """A controller in this process, and the runs that keep it busy."""

    def __init__(self, w: World, controller: Controller) -> None:
        self.w = w
        self.controller = controller
        assert isinstance(controller.transport, WatchedEndpoint)
        self.commands = controller.transport.commands
        self.version_count = 0
        self.run = ""

    async def moving(self, chance: random.Random) -> None:
        """Return at some instant at which a run hands commands over."""
        seen = len(self.commands)

        def is_moving() -> bool:
            return any(written.op == Op.INSTALL for written in self.commands[seen:])

        deadline = time.monotonic() + 60
        while not is_moving():
            assert time.monotonic() < deadline, "no run moves"
            if not active_runs(self.w):
                version = VERSIONS[self.version_count % len(VERSIONS)]
                self.version_count += 1
                self.run = (await runs.start(self.controller, ADMIN, job=JOB, version=version)).id
            await asyncio.sleep(0.005)
        await asyncio.sleep(chance.uniform(0, 0.1))

    async def pause(self, chance: random.Random, *, until_held: bool) -> bool:
        """Pause the run, see that it stands still, and let it go on; say whether it had not ended before."""
        try:
            view = await runs.pause(self.controller, ADMIN, run=self.run, reason="a look at it")
        except Conflict:
            return False
        answered = len(self.commands)
        assert view.paused
        await asyncio.sleep(chance.uniform(0.02, 0.15))
        if until_held:
            await until(lambda: not self.unheld(), seconds=30, why="every device at work says that it holds")
        late = [written for written in self.commands[answered:] if written.op in {Op.INSTALL, Op.GO}]
        assert not late, f"{len(late)} commands after the pause was answered: {late[:3]}"
        await runs.resume(self.controller, ADMIN, run=self.run, reason="seen")
        return True

    def unheld(self) -> list[str]:
        """Return the devices at work whose newest report says another mode than hold."""
        statement = """
            SELECT t.name, (SELECT p.mode FROM report p WHERE p.device_id = t.device_id
                            ORDER BY p.report_seq DESC LIMIT 1) AS mode
            FROM target_run t WHERE t.state = 'in_progress'
        """
        with closing(sqlite3.connect(self.w.installation.online / "tidegate.db", timeout=10)) as connection:
            return [name for name, mode in connection.execute(statement) if mode != Mode.HOLD]


@asynccontextmanager
async def busy_controller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Load]:
    """Run a controller in this process; `stop` comes with the end of the block."""
    started: asyncio.Future[tuple[Controller, serving.HttpServer]] = asyncio.get_running_loop().create_future()
    serve = serving.run

    async def run(controller: Controller, endpoint: Endpoint, server: serving.HttpServer, **others: Any) -> None:
        started.set_result((controller, server))
        await serve(controller, endpoint, server, **others)

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    monkeypatch.setattr(ways, "Endpoint", WatchedEndpoint)
    monkeypatch.setattr(serving, "run", run)
    with Processes(folder) as processes:
        installation = await asyncio.to_thread(Installation.create, folder, processes)
        settings = Settings(
            folder=installation.online,
            public_host=HOST,
            http_port=installation.http_port,
            mqtt_port=installation.mqtt_port,
        )
        serving_task = asyncio.create_task(bootstrap._serve(settings))
        controller, server = await asyncio.wait_for(started, START_SECONDS)
        with installation.operator() as operator:
            try:
                yield Load(World(installation, processes, operator), controller)
            finally:
                server.should_exit = True
                await serving_task
                structlog.reset_defaults()


@pytest.mark.no_cover
async def test_no_command_follows_a_pause_and_devices_at_work_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, repeat = drawn("pause"), repeating(TEST)
    history = tmp_path / "history.jsonl"
    interval = sys.getswitchinterval()
    sys.setswitchinterval(bootstrap.SWITCH_INTERVAL_S)
    try:
        async with busy_controller(tmp_path, monkeypatch) as load:
            await _connect(load.w, history)
            pauses = 0
            while pauses < PAUSES:
                await load.moving(chance)
                pauses += await load.pause(chance, until_held=pauses % LOOK_EVERY == 0)
            await until(lambda: not active_runs(load.w), seconds=120, why=f"the last run ends; {repeat}")

            def judged() -> Evidence:
                entries = read_history(history)
                return Evidence(database=read_database(load.w.installation.online), entries=entries)

            await until(lambda: not list(unsettled(judged())), seconds=60, why=f"reports are acknowledged; {repeat}")
            assert_clean(judged(), checks=CHECKS, repeat=repeat)
            assert any(entry.deed is Deed.OBEYED and entry.mode is Mode.HOLD for entry in judged().entries)
    finally:
        sys.setswitchinterval(interval)


async def _connect(w: World, history: Path) -> None:
    """Define the job, and bring the fleet online."""

    def enrol() -> None:
        define(w, PIPELINE)
        claim = w.operator.new_claim(uses=DEVICES)
        options = ("--devices", str(DEVICES), "--history", str(history), "--size", str(PRETEND_BYTES))
        w.installation.simulate(*options, claim=claim)

    def are_online() -> bool:
        w.processes.check()
        with closing(sqlite3.connect(w.installation.online / "tidegate.db", timeout=10)) as connection:
            [count] = connection.execute("SELECT count(*) FROM device WHERE instance > 0").fetchone()
        return bool(count == DEVICES)

    await asyncio.to_thread(enrol)
    await until(are_online, seconds=ONLINE_SECONDS, why=f"{DEVICES} devices are online")
