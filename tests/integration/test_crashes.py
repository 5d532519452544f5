"""Processes that are killed in the middle of things: nothing is lost, nothing is done twice, the run ends."""

from pathlib import Path

import pytest

from tests.integration.world import APP, JOB, until, world

pytestmark = pytest.mark.timeout(110)


def test_a_controller_killed_in_mid_run_goes_on_where_it_was(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.populate(devices=14, agents=1, options=("--size", "4000000"))
        w.publish("1.0.0")
        w.define("1.0.0")
        run = w.operator.start(JOB, version="1.0.0").id
        until(lambda: w.stage(run, "rest") == "awaiting_promotion", why="the canary stage passes")
        w.operator.act(run, "promote", stage="rest")
        until(lambda: len(w.reached(run)) >= 8, why="the rest has begun")

        w.installation.kill()
        w.installation.serve()

        view = w.ended(run)
        assert view.state == "succeeded"
        assert [stage.counters.succeeded for stage in view.stages] == [4, 11]
        assert {attempt for _, attempt in w.reached(run)} == {1}
        assert w.versions() == {"1.0.0": 15}


def test_an_agent_killed_while_it_waits_for_its_app_goes_on_with_the_same_attempt(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.populate(devices=0, agents=1)
        [box] = w.agents
        w.publish("1.0.0")
        w.define("1.0.0")
        lock = box.folder / "apps" / APP / "lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        run = w.operator.start(JOB, version="1.0.0").id
        until(lambda: w.target(run, "box-1").attempt_state == "downloading", why="the activation waits for the lock")

        box.kill()
        lock.unlink()
        box.run(app=APP)

        until(lambda: w.target(run, "box-1").state == "succeeded", seconds=40, why="the same attempt goes on")
        assert w.target(run, "box-1").attempt == 1
        assert box.health() == (200, "1.0.0")
        assert w.operator.security_events() == []
