"""Two jobs that want the same devices at once: a device has one unit of work at a time, and both jobs get done."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.chance import drawn, repeating
from tests.chaos.history import ALWAYS
from tests.chaos.world import VERSIONS, small_world
from tests.integration.world import APP, JOB, World

pytestmark = pytest.mark.timeout(300)

TEST: Final = "tests/chaos/test_two_jobs.py"
DEVICES: Final = 50
KILLS: Final = 2
TEN_AT_ONCE: Final = f"""
kind: Pipeline
name: {JOB}
stages:
  - name: all
    gate: {{success: 100%, failures: {{more_than: 100%}}}}
    pace: {{max_in_flight: 10}}
    retry: {{attempts: 20, backoff: 1s}}
"""


def begin_two_runs(w: World) -> list[str]:
    """Start a run of each job; the second one has priority."""
    w.operator.create_job("urgent", pipeline=JOB, app=APP, version=VERSIONS[1], priority=5)
    return [w.operator.start(job, version=version).id for job, version in ((JOB, VERSIONS[0]), ("urgent", VERSIONS[1]))]


async def test_two_jobs_over_the_same_devices_never_meet_on_one_though_the_controller_is_killed(tmp_path: Path) -> None:
    chance, repeat = drawn("two jobs"), repeating(TEST)
    async with small_world(tmp_path, devices=DEVICES, pipeline=TEN_AT_ONCE) as w:
        runs = await asyncio.to_thread(begin_two_runs, w.w)
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.3, 2.5))
            assert set(w.active_runs()) == set(runs), f"both runs are under way; {repeat}"
            await w.kill()
            w.check(checks=ALWAYS, repeat=repeat)
            await w.serve()
        await w.settled()
        w.check(repeat=repeat)
        views = [await asyncio.to_thread(w.w.operator.run, run) for run in runs]
        assert [(view.state, view.stages[0].counters.succeeded) for view in views] == [("succeeded", DEVICES)] * 2
