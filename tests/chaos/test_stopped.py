"""Processes that stand still for longer than a keepalive, and then go on as if nothing had happened (SIGSTOP)."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from protocol.messages import Mode
from simulator.live.history import Deed
from simulator.processes import Child
from tests.chaos.chance import drawn, repeating
from tests.chaos.evidence import read_agent_log, read_database, read_journal
from tests.chaos.history import CHECKS, Evidence, assert_clean
from tests.chaos.world import PATIENT, VERSIONS, active_runs, define, small_world, until
from tests.integration.world import APP, JOB, world
from tests.integration.world import until as until_then

pytestmark = pytest.mark.timeout(300)

TEST: Final = "tests/chaos/test_stopped.py"
KEEPALIVE: Final = {"TIDEGATE_MQTT_KEEPALIVE_S": "2"}
STILL_SECONDS: Final = 7.0
"""Longer than the endpoint (1.5 keepalives), a simulated device (1.4) and a real one (2.5) wait for each other."""
DEVICES: Final = 30


@contextmanager
def standing_still(child: Child) -> Iterator[None]:
    """Have a process stand still while inside."""
    os.kill(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(child.pid, signal.SIGCONT)


async def test_a_controller_that_stood_still_goes_on_and_nothing_is_done_twice(tmp_path: Path) -> None:
    chance, repeat = drawn("controller stopped"), repeating(TEST)
    async with small_world(tmp_path, devices=DEVICES, env=KEEPALIVE) as w:
        controller = w.w.installation.controller
        assert controller is not None
        run = (await asyncio.to_thread(w.w.operator.start, JOB, version=VERSIONS[0])).id
        await asyncio.sleep(chance.uniform(0.1, 0.8))
        assert w.active_runs() == [run], f"the run is under way; {repeat}"
        with standing_still(controller):
            await asyncio.sleep(STILL_SECONDS)
            assert w.fleet.snapshot().connected == 0
        await w.settled()
        w.check(repeat=repeat)


async def test_a_pause_that_was_answered_holds_though_the_controller_stood_still_after_it(tmp_path: Path) -> None:
    chance, repeat = drawn("controller stopped after a pause"), repeating(TEST)
    async with small_world(tmp_path, devices=DEVICES, pipeline=PATIENT.replace("1000", "10"), env=KEEPALIVE) as w:
        controller = w.w.installation.controller
        assert controller is not None
        run = (await asyncio.to_thread(w.w.operator.start, JOB, version=VERSIONS[0])).id
        await asyncio.sleep(chance.uniform(0.5, 1.5))
        assert (await asyncio.to_thread(w.w.operator.act, run, "pause", reason="a look at it")).paused
        reached = await asyncio.to_thread(w.w.reached, run)
        with standing_still(controller):
            await asyncio.sleep(STILL_SECONDS)
        w.reconnect()
        await until(lambda: w.fleet.snapshot().connected == DEVICES, why="every device is back")
        await asyncio.sleep(1)
        held = {e.device for e in w.entries if e.deed is Deed.OBEYED and e.mode is Mode.HOLD}
        working = {device.papers.name for device in w.fleet.devices if device.is_working}
        assert working <= held, f"devices at work hold; {repeat}"
        assert await asyncio.to_thread(w.w.reached, run) == reached, f"nobody new was sent a command; {repeat}"
        await asyncio.to_thread(w.w.operator.act, run, "resume", reason="well")
        await w.settled()
        w.check(repeat=repeat)


def test_an_agent_that_stood_still_ends_its_attempt_once(tmp_path: Path) -> None:
    chance, repeat = drawn("agent stopped"), repeating(TEST)
    with world(tmp_path, env=KEEPALIVE) as w:
        define(w, PATIENT)
        w.populate(devices=0, agents=1)
        [box] = w.agents
        assert box.child is not None
        w.operator.start(JOB, version=VERSIONS[0])
        time.sleep(chance.uniform(0.0, 0.6))
        with standing_still(box.child):
            time.sleep(STILL_SECONDS)
        until_then(lambda: not active_runs(w), seconds=60, why=f"the run ends; {repeat}")
        until_then(lambda: not read_journal(box.folder)[1].open, seconds=60, why="reports are acknowledged")
        durable, memory = read_journal(box.folder)
        entries = read_agent_log(w.processes.logs / f"{box.device}.log", durable.name)
        database = read_database(w.installation.online)
        assert_clean(Evidence(database=database, entries=entries, memories=[memory]), checks=CHECKS, repeat=repeat)
        until_then(lambda: box.health() == (200, VERSIONS[0]), why=f"{APP} is healthy")
