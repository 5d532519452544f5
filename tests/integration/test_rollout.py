"""The whole path on real processes: controller, agents with real services, simulated devices."""

from pathlib import Path

import pytest

from tests.integration.world import JOB, until, world

pytestmark = pytest.mark.timeout(110)


def test_a_good_release_goes_through_every_stage_once_it_is_promoted(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.populate(devices=20, agents=2)
        w.publish("1.0.0")
        w.define("1.0.0")
        run = w.operator.start(JOB, version="1.0.0").id

        until(lambda: w.stage(run, "rest") == "awaiting_promotion", why="the canary stage passes")
        assert {t.stage for t in w.operator.targets(run) if t.attempt} == {"canary"}
        assert w.versions() == {"1.0.0": 4, "none": 18}
        assert w.agents[0].health() == (200, "1.0.0")
        assert w.agents[1].health() == (0, "")

        w.operator.act(run, "promote", stage="rest")
        view = w.ended(run)
        assert (view.state, view.reason) == ("succeeded", "")
        assert [stage.counters.succeeded for stage in view.stages] == [4, 18]
        assert w.versions() == {"1.0.0": 22}
        assert w.agents[1].health() == (200, "1.0.0")
        assert w.operator.security_events() == []


def test_a_paused_run_reaches_no_further_device_and_a_resumed_one_goes_on(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.populate(devices=20, agents=1, options=("--size", "4000000"))
        w.publish("1.0.0")
        w.define("1.0.0")
        run = w.operator.start(JOB, version="1.0.0").id
        until(lambda: w.stage(run, "rest") == "awaiting_promotion", why="the canary stage passes")
        w.operator.act(run, "promote", stage="rest")
        until(lambda: len(w.reached(run)) >= 8, why="the rest has begun")

        assert w.operator.act(run, "pause", reason="a look at it").paused
        reached = w.reached(run)
        assert len(reached) < 21
        with pytest.raises(AssertionError, match="not within"):
            until(lambda: w.reached(run) != reached, seconds=2.5)

        assert not w.operator.act(run, "resume", reason="well").paused
        view = w.ended(run)
        assert view.state == "succeeded"
        assert w.versions() == {"1.0.0": 21}
        assert {attempt for _, attempt in w.reached(run)} == {1}


def test_a_terminated_run_calls_back_what_is_at_work_and_ends(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.populate(devices=20, agents=0, options=("--size", "20000000"))
        w.publish("1.0.0")
        w.define("1.0.0")
        run = w.operator.start(JOB, version="1.0.0").id
        until(lambda: w.stage(run, "rest") == "awaiting_promotion", why="the canary stage passes")
        w.operator.act(run, "promote", stage="rest")
        until(lambda: len(w.reached(run)) >= 7, why="the rest has begun")

        w.operator.act(run, "terminate", reason="the wrong release")
        reached = w.reached(run)
        view = w.ended(run)
        assert view.state == "terminated"
        assert w.reached(run) == reached
        rest = view.stages[1].counters
        assert rest.cancelled >= 1
        assert rest.cancelled + rest.succeeded == 17
        assert w.versions()["none"] == rest.cancelled


def test_a_bad_release_is_stopped_by_its_gate_and_its_devices_go_back(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.populate(devices=20, agents=1, options=("--fail-version", "1.1.0"))
        w.publish("1.0.0")
        w.define("1.0.0")
        good = w.operator.start(JOB, version="1.0.0").id
        until(lambda: w.stage(good, "rest") == "awaiting_promotion", why="the canary stage passes")
        w.operator.act(good, "promote", stage="rest")
        assert w.ended(good).state == "succeeded"

        w.publish("1.1.0", broken=True)
        view = w.ended(w.operator.start(JOB, version="1.1.0").id)
        assert view.state == "failed"
        assert [stage.state for stage in view.stages] == ["failed", "cancelled"]
        box = w.target(view.id, "box-1")
        assert (box.state, box.reason, box.left) == ("failed", "verify_failed", "old")
        assert "answers 500" in box.detail
        assert w.versions() == {"1.0.0": 21}
        until(lambda: w.agents[0].health() == (200, "1.0.0"), why="the old service runs again")
