"""The whole path on real processes: controller, agents with real services, simulated devices."""

from pathlib import Path

import pytest

from tests.integration.world import JOB, World, until, world

pytestmark = pytest.mark.timeout(110)


def test_a_good_release_goes_through_every_stage_and_a_bad_one_is_stopped_by_its_gate(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.populate(devices=12, agents=2, options=("--fail-version", "1.1.0"))
        w.publish("1.0.0")
        w.define("1.0.0")
        _goes_through_once_it_is_promoted(w)

        w.publish("1.1.0", broken=True)
        _is_stopped_and_its_devices_go_back(w)
        assert w.operator.security_events() == []


def _goes_through_once_it_is_promoted(w: World) -> None:
    run = w.operator.start(JOB, version="1.0.0").id
    until(lambda: w.stage(run, "rest") == "awaiting_promotion", why="the canary stage passes")
    assert {t.stage for t in w.operator.targets(run) if t.attempt} == {"canary"}
    assert w.versions() == {"1.0.0": 4, "none": 10}
    assert w.agents[0].health() == (200, "1.0.0")
    assert w.agents[1].health() == (0, "")

    w.operator.act(run, "promote", stage="rest")
    view = w.ended(run)
    assert (view.state, view.reason) == ("succeeded", "")
    assert [stage.counters.succeeded for stage in view.stages] == [4, 10]
    assert w.versions() == {"1.0.0": 14}
    assert w.agents[1].health() == (200, "1.0.0")


def _is_stopped_and_its_devices_go_back(w: World) -> None:
    view = w.ended(w.operator.start(JOB, version="1.1.0").id)
    assert view.state == "failed"
    assert [stage.state for stage in view.stages] == ["failed", "cancelled"]
    box = w.target(view.id, "box-1")
    assert (box.state, box.reason, box.left) == ("failed", "verify_failed", "old")
    assert "answers 500" in box.detail
    assert w.versions() == {"1.0.0": 14}
    until(lambda: w.agents[0].health() == (200, "1.0.0"), why="the old service runs again")


def test_a_paused_run_waits_a_resumed_one_goes_on_and_a_terminated_one_calls_back(tmp_path: Path) -> None:
    with world(tmp_path) as w:
        w.populate(devices=12, agents=1, options=("--size", "8000000"))
        w.publish("1.0.0")
        w.define("1.0.0")
        _pauses_and_goes_on(w, _in_the_rest(w, "1.0.0"))

        w.publish("1.1.0")
        _calls_back_what_is_at_work(w, _in_the_rest(w, "1.1.0"))


def _in_the_rest(w: World, version: str) -> str:
    """Start a run, and return it when the stage after the canary is under way."""
    run = w.operator.start(JOB, version=version).id
    until(lambda: w.stage(run, "rest") == "awaiting_promotion", why="the canary stage passes")
    w.operator.act(run, "promote", stage="rest")
    until(lambda: len(w.reached(run)) >= 8, why="the rest has begun")
    return run


def _pauses_and_goes_on(w: World, run: str) -> None:
    assert w.operator.act(run, "pause", reason="a look at it").paused
    reached = w.reached(run)
    assert len(reached) < 13
    with pytest.raises(AssertionError, match="not within"):
        until(lambda: w.reached(run) != reached, seconds=2.5)

    assert not w.operator.act(run, "resume", reason="well").paused
    view = w.ended(run)
    assert view.state == "succeeded"
    assert w.versions() == {"1.0.0": 13}
    assert {attempt for _, attempt in w.reached(run)} == {1}


def _calls_back_what_is_at_work(w: World, run: str) -> None:
    w.operator.act(run, "terminate", reason="the wrong release")
    reached = w.reached(run)
    view = w.ended(run)
    assert view.state == "terminated"
    assert w.reached(run) == reached
    rest = view.stages[1].counters
    assert rest.cancelled >= 1
    assert rest.cancelled + rest.succeeded == 9
    assert w.versions()["1.0.0"] == rest.cancelled
