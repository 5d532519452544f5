"""A run over a network that fails in every way: it ends well, and the history is clean."""

import asyncio
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from tests.chaos.chance import drawn, repeating
from tests.chaos.proxy import Fault, FaultProxy
from tests.chaos.world import VERSIONS, small_world
from tests.integration.world import JOB

pytestmark = pytest.mark.timeout(300)

TEST: Final = "tests/chaos/test_network.py"
DEVICES: Final = 40
BAD_SECONDS: Final = 12.0
KEEPALIVE: Final = {"TIDEGATE_MQTT_KEEPALIVE_S": "2"}
WEIGHTS: Final = {
    Fault.NONE: 2.0,
    Fault.DELAY: 2.0,
    Fault.DROP: 1.0,
    Fault.HALF_OPEN: 1.0,
    Fault.CUT: 2.0,
    Fault.RESET: 2.0,
}


async def test_a_run_ends_well_over_a_network_that_fails_in_every_way(tmp_path: Path) -> None:
    chance, repeat = drawn("network"), repeating(TEST)
    async with (
        small_world(tmp_path, devices=DEVICES, env=KEEPALIVE) as w,
        FaultProxy(w.w.installation.mqtt_port, chance=chance, weights=WEIGHTS) as proxy,
    ):
        assert w.fleet._papers is not None
        w.fleet._papers = replace(w.fleet._papers, mqtt_port=proxy.port)
        w.reconnect()
        run = (await asyncio.to_thread(w.w.operator.start, JOB, version=VERSIONS[0])).id
        for _ in range(3):
            await asyncio.sleep(BAD_SECONDS / 3)
            w.reconnect()
        assert set(proxy.counts) == set(WEIGHTS), f"every fault struck; {repeat}"
        proxy.heal()
        await w.settled()
        w.check(repeat=repeat)
        view = await asyncio.to_thread(w.w.operator.run, run)
        assert (view.state, view.stages[0].counters.succeeded) == ("succeeded", DEVICES)
