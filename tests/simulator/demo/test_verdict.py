from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from controller.app.views import Counters, RunView, StageView, TargetView
from protocol.units import Instant
from simulator.demo.verdict import BAD, GOOD, Played, Service, Story, faults, is_exposed, report


def stage(name: str, state: str, **counts: int) -> StageView:
    return StageView(
        name=name,
        needs=(),
        trigger="manual",
        state=state,
        reason="",
        counters=Counters(**counts),
        started=0,
        failures=0,
        failures_allowed=0,
        gate="",
        bricked=0,
        max_in_flight=4,
        opened_at=None,
        ended_at=None,
    )


def run(version: str, state: str, *stages: StageView) -> RunView:
    return RunView(
        id=f"r-{version}",
        job="harbour",
        pipeline="harbour",
        revision=1,
        app="harbour",
        version=version,
        state=state,
        paused=False,
        waiting=False,
        pause_reasons=(),
        reason="",
        epoch=1,
        salt="s",
        created_at=Instant(0),
        ended_at=Instant(1),
        stages=stages,
    )


def target(device: str, *, attempt: int, **changes: Any) -> TargetView:
    plain = TargetView(
        device=device,
        stage="canary",
        state="failed",
        attempt=attempt,
        attempt_state="failed",
        reason="verify_failed",
        detail="answers 500",
        left="old",
        waits_for="",
        done=0,
        total=0,
        updated_at=Instant(0),
    )
    return msgspec.structs.replace(plain, **changes)


BAD_TARGETS = (target("box-1", attempt=1), target("sim-0001", attempt=1), target("sim-0002", attempt=0))
GOOD_RUN = Played(view=run(GOOD, "succeeded", stage("canary", "passed", succeeded=3)), targets=(), seconds=2.0)
BAD_RUN = Played(
    view=run(BAD, "failed", stage("canary", "failed", failed=2, cancelled=1)),
    targets=BAD_TARGETS,
    seconds=1.0,
)
TIGHT = run(BAD, "failed", msgspec.structs.replace(stage("canary", "failed"), max_in_flight=1))
STORY = Story(
    seconds=10.0,
    expected_devices=3,
    runs=(GOOD_RUN, BAD_RUN),
    devices_on_version={GOOD: 3},
    services={"box-1": Service(status=200, version=GOOD)},
)


def test_a_story_that_went_as_it_should_has_no_faults() -> None:
    assert faults(STORY) == []
    assert STORY.installs_per_second == 1.5


def changed(played: Played, **changes: Any) -> Played:
    return msgspec.structs.replace(played, **changes)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"runs": (changed(GOOD_RUN, view=run(GOOD, "failed")), BAD_RUN)}, "expected the run to succeed"),
        (
            {"runs": (GOOD_RUN, changed(BAD_RUN, view=run(BAD, "succeeded", stage("canary", "passed"))))},
            "expected its gate to fail the run",
        ),
        ({"runs": (GOOD_RUN, changed(BAD_RUN, view=TIGHT))}, "reached 2 devices: expected 1 to 1"),
        ({"runs": (GOOD_RUN, changed(BAD_RUN, targets=()))}, "reached 0 devices"),
        ({"devices_on_version": {GOOD: 2, BAD: 1}}, "expected all 3 devices on 1.0.0"),
        ({"services": {"box-1": Service(status=500, version="")}}, "box-1 answers 500: expected 200 1.0.0"),
        ({"services": {"box-1": Service(status=200, version=BAD)}}, "box-1 answers 200 1.1.0"),
        ({"runs": (GOOD_RUN,)}, "expected two runs"),
    ],
)
def test_everything_else_is_a_fault(changes: Mapping[str, Any], fault: str) -> None:
    [found] = faults(msgspec.structs.replace(STORY, **changes))
    assert fault in found


@pytest.mark.parametrize(
    ("changes", "is_had"),
    [
        ({"state": "failed", "reason": "verify_failed"}, True),
        ({"state": "failed", "reason": "silent_in_install", "left": ""}, True),
        ({"state": "in_progress", "attempt_state": "installing", "reason": "", "left": ""}, True),
        ({"state": "in_progress", "attempt_state": "verifying", "reason": "", "left": ""}, True),
        ({"state": "succeeded", "attempt_state": "succeeded", "reason": "", "left": "new"}, True),
        ({"state": "failed", "reason": "other", "left": "broken"}, True),
        ({"state": "in_progress", "attempt_state": "downloading", "reason": "", "left": ""}, False),
        ({"state": "cancelled", "attempt_state": "cancelled", "reason": "cancelled"}, False),
        ({"state": "failed", "reason": "download_failed"}, False),
        ({"state": "failed", "reason": "of_a_later_version"}, False),
    ],
)
def test_a_device_was_exposed_once_it_came_to_install(changes: Mapping[str, Any], is_had: bool) -> None:
    assert is_exposed(target("sim-0001", attempt=1, **changes)) == is_had


def test_devices_that_were_spared_are_told_apart() -> None:
    spared = (
        target("sim-0003", attempt=1, state="cancelled", attempt_state="cancelled", reason="cancelled"),
        target("sim-0004", attempt=1, reason="download_failed"),
    )
    played = changed(BAD_RUN, targets=BAD_TARGETS + spared)
    assert [one.device for one in played.exposed] == ["box-1", "sim-0001"]
    assert [one.device for one in played.called_back] == ["sim-0003"]
    assert [one.device for one in played.stranded] == ["sim-0004"]


def test_what_may_fail_and_what_is_at_work_then_can_be_exposed() -> None:
    two_may_fail = msgspec.structs.replace(stage("canary", "failed"), failures_allowed=2)
    assert changed(BAD_RUN, view=run(BAD, "failed", two_may_fail)).exposed_max == 6


def test_the_report_has_the_names_that_programs_go_by() -> None:
    told = report(STORY, seed=7)
    assert told["devices_on_version"] == {GOOD: 3}
    runs = told["runs"]
    assert isinstance(runs, list)
    assert [(r["name"], r["state"]) for r in runs] == [("harbour-1.0.0", "succeeded"), ("harbour-1.1.0", "failed")]
    assert (runs[1]["reached"], runs[1]["called_back"]) == (["box-1", "sim-0001"], [])
    assert runs[1]["stages"] == [
        {
            "name": "canary",
            "state": "failed",
            "reason": "",
            "queued": 0,
            "in_progress": 0,
            "succeeded": 0,
            "failed": 2,
            "rejected": 0,
            "timed_out": 0,
            "cancelled": 1,
            "removed": 0,
        }
    ]


def test_without_a_good_run_there_is_no_rate() -> None:
    assert msgspec.structs.replace(STORY, runs=()).installs_per_second == 0
