"""A controller that is killed at any write to its disk: nothing that it acknowledged is lost, nothing is done twice."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from protocol.messages import Mode
from simulator.live.device import Device
from simulator.live.history import Deed
from tests.chaos import chance, tracer
from tests.chaos.history import ALWAYS
from tests.chaos.world import PATIENT, VERSIONS, SmallWorld, small_world, until
from tests.integration.world import JOB

pytestmark = pytest.mark.timeout(1_800)

SEED: Final = 1
TEST: Final = "tests/chaos/test_controller_killed.py"
NO_TRACER: Final = "strace is missing or may not join a process; kills at drawn instants stay"
DEVICES: Final = 30
IN_MID_RUN: Final = 8
"""At its eighth commit a run of three devices is well under way."""
AFTER_GRACE_SECONDS: Final = 6.5
"""A controller that has just started judges nothing for five seconds; what it would do wrong shows after them."""


@pytest.mark.skipif(not tracer.is_available(), reason=NO_TRACER)
@pytest.mark.parametrize(("syscall", "last", "sample"), [("fdatasync", 40, 6), ("pwrite64", 160, 6)])
async def test_a_controller_killed_at_any_write_goes_on_where_it_was(
    tmp_path: Path, syscall: str, last: int, sample: int
) -> None:
    numbers = tracer.points(syscall, last=last, sample=sample, seed=SEED)
    async with small_world(tmp_path) as w:
        for done, number in enumerate(numbers, start=1):
            repeat = tracer.repeating(syscall, numbers[:done], test=TEST)
            await w.run_until_killed(tracer.killed_at(syscall, number))
            w.check(checks=ALWAYS, repeat=repeat)
            await w.serve()
            await w.settled()
            w.check(repeat=repeat)


@pytest.mark.skipif(not tracer.is_available(), reason=NO_TRACER)
async def test_a_controller_killed_as_it_starts_again_goes_on_where_it_was(tmp_path: Path) -> None:
    numbers = tracer.points("start", last=8, sample=2, seed=SEED)
    async with small_world(tmp_path) as w:
        for done, number in enumerate(numbers, start=1):
            repeat = tracer.repeating("start", numbers[:done], test=TEST)
            await w.run_until_killed(tracer.killed_at("fdatasync", IN_MID_RUN))
            await w.serve_until_killed(tracer.killed_at("fdatasync", number))
            w.check(checks=ALWAYS, repeat=repeat)
            await w.serve()
            await w.settled()
            w.check(repeat=repeat)


async def test_a_pause_that_was_answered_holds_though_the_controller_is_killed_after_it(tmp_path: Path) -> None:
    drawn, repeat = chance.drawn("killed after a pause"), chance.repeating(TEST)
    async with small_world(tmp_path, devices=DEVICES, pipeline=PATIENT.replace("1000", "5")) as w:
        run = (await asyncio.to_thread(w.w.operator.start, JOB, version=VERSIONS[0])).id
        await asyncio.sleep(drawn.uniform(0.0, 1.0))
        assert (await asyncio.to_thread(w.w.operator.act, run, "pause", reason="a look at it")).paused
        await w.kill()
        await w.serve()
        await until(lambda: w.fleet.snapshot().connected == DEVICES, why="every device is back")
        reached = await asyncio.to_thread(w.w.reached, run)
        await asyncio.sleep(AFTER_GRACE_SECONDS)
        assert await asyncio.to_thread(w.w.reached, run) == reached, f"nobody new was sent a command; {repeat}"
        assert not any(device.is_working and not device_holds(w, device) for device in w.fleet.devices), repeat
        queued = await asyncio.to_thread(w.w.operator.targets, run, state="queued")
        assert {target.waits_for for target in queued} == {"the run is paused"}, repeat
        await asyncio.to_thread(w.w.operator.act, run, "resume", reason="well")
        await w.settled()
        w.check(repeat=repeat)


def device_holds(w: SmallWorld, device: Device) -> bool:
    """Say whether the last that a device obeyed is to hold."""
    obeyed = [e.mode for e in w.entries if e.device == device.papers.name and e.deed is Deed.OBEYED]
    return bool(obeyed) and obeyed[-1] is Mode.HOLD
