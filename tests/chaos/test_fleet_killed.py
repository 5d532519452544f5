"""A fleet in the midst of a run: the controller, an agent and 200 devices lose each other at drawn instants."""

import time
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.chance import drawn, repeating
from tests.chaos.history import ALWAYS, CHECKS, assert_clean, unsettled
from tests.chaos.world import PATIENT, VERSIONS, active_runs, define, evidence_of
from tests.integration.world import APP, JOB, until, world

pytestmark = pytest.mark.timeout(300)

TEST: Final = "tests/chaos/test_fleet_killed.py"
DEVICES: Final = 200
AGENTS: Final = 3
KILLS: Final = 2
SETTLE_SECONDS: Final = 90.0


def test_a_run_over_a_fleet_ends_well_though_the_controller_and_an_agent_are_killed(tmp_path: Path) -> None:
    chance, repeat = drawn("fleet"), repeating(TEST)
    history = tmp_path / "history.jsonl"
    with world(tmp_path) as w:
        define(w, PATIENT)
        options = ("--history", str(history), "--behaviours", "flaky=5%", "--size", "2000000")
        w.populate(devices=DEVICES, agents=AGENTS, options=options)
        run = w.operator.start(JOB, version=VERSIONS[0]).id
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 2.0))
            assert active_runs(w) == [run], f"the run is under way; {repeat}"
            w.installation.kill()
            unlucky = chance.choice(w.agents)
            unlucky.kill()
            assert_clean(evidence_of(w, history), checks=ALWAYS, repeat=repeat)
            w.installation.serve()
            unlucky.run(app=APP)
        until(lambda: not active_runs(w), seconds=SETTLE_SECONDS, why=f"the run ends; {repeat}")
        until(
            lambda: not list(unsettled(evidence_of(w, history))),
            seconds=SETTLE_SECONDS,
            why=f"every report is acknowledged; {repeat}",
        )
        assert_clean(evidence_of(w, history), checks=CHECKS, repeat=repeat)
        view = w.ended(run)
        assert (view.state, view.stages[0].counters.succeeded) == ("succeeded", DEVICES + AGENTS)
