"""Simulated devices in this process, against a real controller: odd behaviours, restarts, downloads."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from protocol.units import Millis
from simulator.live import program
from simulator.live.behaviour import Plan, draw, parse_behaviours
from simulator.live.enrolment import Addresses
from simulator.live.fleet import LiveFleet
from simulator.live.steps import Load
from tests.integration.world import JOB, World, world

pytestmark = pytest.mark.timeout(110)

ALL_AT_ONCE = f"""
kind: Pipeline
name: {JOB}
stages:
  - {{name: all, gate: {{success: 100%, failures: {{more_than: 100%}}}}, retry: {{attempts: 10, backoff: 1s}}}}
"""


async def reached(what: Callable[[], bool], *, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 - a test polls what has no event
            await asyncio.sleep(0.05)


def addresses(w: World) -> Addresses:
    return Addresses(url=w.installation.url, ca=w.installation.ca)


@asynccontextmanager
async def fleet_in(w: World, plan: Plan, *, load: Load) -> AsyncIterator[LiveFleet]:
    fleet = LiveFleet(draw(plan), addresses=addresses(w), load=load)
    try:
        await fleet.enrol(claim=w.operator.new_claim(uses=plan.count), token=w.installation.token)
        fleet.power_on()
        yield fleet
    finally:
        await fleet.leave()


async def test_flaky_slow_and_offline_devices_all_get_there(tmp_path: Path) -> None:
    plan = Plan(
        count=16,
        behaviours=parse_behaviours("flaky=50%,offline=25%,slow=10%"),
        labels={"region": {"eu": 1.0}},
        away_ms=Millis(2_000),
    )
    with world(tmp_path) as w:
        async with fleet_in(w, plan, load=Load(pretend_bytes=1_000_000)) as fleet:
            w.publish("1.0.0")
            w.define("1.0.0", ALL_AT_ONCE)
            for device in fleet.devices:
                if device.character.drop_ms:
                    device.drop()
            run = w.operator.start(JOB, version="1.0.0").id
            await reached(lambda: fleet.snapshot().versions == {"1.0.0": 16})
            await reached(lambda: fleet.snapshot().unsettled == 0)
            assert w.operator.run(run).state == "succeeded"
            assert len(list(w.operator.devices(label="region=eu"))) == 16
            snapshot = fleet.snapshot()
            assert snapshot.ended["succeeded"] == 16
            assert any(event.startswith("lost:the ") for event in snapshot.events)
        assert w.operator.security_events() == []


async def test_devices_really_download_where_that_is_asked_for(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        async with fleet_in(w, Plan(count=8), load=Load(is_real=True)) as fleet:
            await reached(lambda: fleet.snapshot().connected == 8)
            w.publish("1.0.0")
            w.define("1.0.0", ALL_AT_ONCE)
            w.operator.start(JOB, version="1.0.0")
            await reached(lambda: fleet.snapshot().versions == {"1.0.0": 8})
            assert fleet.snapshot().ended == {"succeeded": 8}


def test_the_program_ends_with_a_summary_or_says_why_it_cannot_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path) as w:
        options = program.Options(
            addresses=addresses(w), claim=w.operator.new_claim(uses=20), plan=Plan(count=5, seed=3)
        )
        threading.Timer(4.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert program.main(options, as_json=True) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["seed"], told["connected_max"], told["fleet"]["versions"]) == (3, 5, {"none": 5})

        brief = program.Options(
            addresses=addresses(w),
            claim=w.operator.new_claim(uses=20),
            plan=Plan(count=5, prefix="other"),
            duration_s=1.5,
        )
        assert program.main(brief, as_json=False) == 0
        assert "5 devices, 5 connected at most" in capsys.readouterr().out

        refused = program.Options(addresses=addresses(w), claim="wrong", plan=Plan(count=2))
        assert program.main(refused, as_json=True) == 1
        assert "simulate: POST /v1/enrol: 401" in capsys.readouterr().err
