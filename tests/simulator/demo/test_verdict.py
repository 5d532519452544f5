from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from simulator.demo.scenes import BAD, GOOD, PICKY, REGIONAL, UNFIT
from simulator.demo.story import Played, Service
from simulator.demo.verdict import faults, report
from tests.simulator.demo.stories import (
    BACK_RUN,
    BAD_RUN,
    BRANCH_RUN,
    EU,
    GOOD_RUN,
    HELD,
    MODEL_RUN,
    STORY,
    changed,
    run,
    stage,
    target,
    updated,
    with_model,
    with_stages,
)


def played(*others: Played) -> dict[str, Any]:
    """Return the runs of the story with *others* in place of those of the same scenes."""
    by_scene = {one.scene.title: one for one in others}
    return {"runs": tuple(by_scene.get(one.scene.title, one) for one in STORY.runs)}


def test_a_story_that_went_as_it_should_has_no_faults() -> None:
    assert faults(STORY) == []


MANY = tuple(target(f"sim-{number}", attempt=1) for number in range(9))
PASSED_BY_FOUR = stage("all", "passed", succeeded=4)
UNTOUCHED = changed(
    with_stages(MODEL_RUN, PASSED_BY_FOUR), targets=tuple(updated(one, "all") for one in STORY.versions)
)
TWO_MODELS = with_stages(MODEL_RUN, with_model(MODEL_RUN.view.stages[0], "kiosk-1", said="3 of 3 started failed"))
TOO_SLOW = changed(
    MODEL_RUN,
    targets=(
        *MODEL_RUN.targets,
        *(target(f"sim-{number}", attempt=1, stage="all", model=UNFIT) for number in range(20)),
    ),
    view=run(PICKY, "succeeded", with_model(stage("all", "passed", succeeded=3, failed=21), UNFIT, said="20 of 20")),
)
WAITING = target("sim-0003", attempt=0, stage="all", state="timed_out", model=UNFIT)
NEVER_MET = changed(BAD_RUN, targets=())
TOO_FAR = changed(BRANCH_RUN, targets=(*BRANCH_RUN.targets, updated("sim-0003", "eu")))
NOT_FAR_ENOUGH = changed(BRANCH_RUN, targets=BRANCH_RUN.targets[1:])
OFFLINE = msgspec.structs.replace(HELD, fact=msgspec.structs.replace(HELD.fact, code="offline", text="it is offline"))
STILL_HELD = target("sim-0001", attempt=0, stage="eu", state="queued", attempt_state="", reason="", left="")
LEFT_OUT = changed(GOOD_RUN, targets=(GOOD_RUN.targets[0], STILL_HELD, *GOOD_RUN.targets[2:]))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            played(changed(GOOD_RUN, view=msgspec.structs.replace(GOOD_RUN.view, state="failed"))),
            "harbour 1.0.0: expected the run to have succeeded, it failed",
        ),
        (
            played(changed(BAD_RUN, view=msgspec.structs.replace(BAD_RUN.view, state="succeeded"))),
            "expected the run to have failed, it succeeded",
        ),
        (played(changed(BAD_RUN, view=run(BAD, "failed"))), "expected the stages canary, eu, us, rest, found "),
        (played(with_stages(BRANCH_RUN, stage("apac", "skipped"))), "stage apac skipped: expected cancelled"),
        (
            played(with_stages(GOOD_RUN, stage("eu", "passed", succeeded=1, failed=1))),
            "stage eu passed: expected all its devices to have succeeded, found {'succeeded': 1, 'failed': 1}",
        ),
        (played(with_stages(GOOD_RUN, stage("eu", "passed"))), "stage eu passed: expected all its devices"),
        (
            played(with_stages(BRANCH_RUN, stage("us", "failed", failed=1, succeeded=1))),
            "stage us failed: expected some of its devices to fail and none to succeed",
        ),
        (played(with_stages(BRANCH_RUN, stage("us", "failed", cancelled=1))), "stage us failed: expected some"),
        (
            played(with_stages(BRANCH_RUN, stage("apac", "cancelled", cancelled=1))),
            "stage apac was cancelled: expected it never to have opened",
        ),
        (played(changed(BAD_RUN, targets=MANY)), "it reached 9 devices that it is bad for: expected 1 to 8"),
        (played(NEVER_MET), "it reached 0 devices that it is bad for: expected 1 to 8"),
        (played(TOO_SLOW), "harbour-models 1.3.0: it reached 21 devices that it is bad for: expected 1 to 20"),
        (
            played(with_stages(GOOD_RUN, with_model(stage("eu", "passed", succeeded=1), "kiosk-1", said="3 of 3"))),
            "harbour 1.0.0: expected quarantined models: none; found: kiosk-1",
        ),
        (played(TWO_MODELS), "expected quarantined models: kiosk-3; found: kiosk-1, kiosk-3"),
        (
            played(with_stages(MODEL_RUN, with_model(stage("all", "passed", succeeded=2, failed=2), UNFIT, said="2"))),
            "stage all passed: expected all its devices to have succeeded, found {'succeeded': 2, 'failed': 1}",
        ),
        (played(TOO_FAR), "expected it to reach 2 devices whole; not so: sim-0003"),
        (played(NOT_FAR_ENOUGH), "expected it to reach 2 devices whole; not so: box-1"),
        (played(changed(GOOD_RUN, asked=None)), "harbour 1.0.0: expected one held device to be left in the end, and"),
        (
            played(changed(GOOD_RUN, asked=OFFLINE)),
            "why sim-0001 was not updated: expected held, was told offline: it is offline",
        ),
        (played(LEFT_OUT), "harbour 1.0.0: expected it to reach 4 devices whole; not so: sim-0001"),
        ({"versions": {**STORY.versions, "sim-0001": REGIONAL}}, "expected other versions on sim-0001"),
        ({"versions": {**STORY.versions, "sim-0003": PICKY}}, "expected other versions on sim-0003"),
        ({"expected_devices": 5}, "expected 5 devices, found 4"),
        ({"services": {"box-1": Service(status=500, version="")}}, "box-1 answers 500: expected 200 1.3.0"),
        ({"services": {"box-1": Service(status=200, version=BAD)}}, "box-1 answers 200 1.1.0: expected 200 1.3.0"),
        (
            played(changed(BACK_RUN, targets=BACK_RUN.targets[:1])),
            "harbour-branches 1.0.0: expected it to reach 2 devices whole; not so: sim-0001",
        ),
        ({"runs": (GOOD_RUN,)}, "expected 5 scenes to be played, found 1"),
        ({"runs": (GOOD_RUN, BRANCH_RUN, BAD_RUN, BACK_RUN, MODEL_RUN)}, "expected 5 scenes to be played, found 5"),
    ],
)
def test_everything_else_is_a_fault(changes: Mapping[str, Any], fault: str) -> None:
    [found] = faults(msgspec.structs.replace(STORY, **changes))
    assert fault in found


def test_a_model_that_nobody_quarantines_is_a_fault_in_every_respect() -> None:
    told = " ".join(faults(msgspec.structs.replace(STORY, **played(UNTOUCHED))))
    assert "expected quarantined models: kiosk-3; found: none" in told
    assert "expected 1 to 20" in told
    assert "not so: sim-0003" in told


def test_devices_of_a_quarantined_model_fail_or_are_called_off() -> None:
    timed_out = with_model(stage("all", "passed", succeeded=3, failed=1, timed_out=1), UNFIT, said="3 of 4")
    strayed = changed(with_stages(MODEL_RUN, timed_out), targets=(*MODEL_RUN.targets, WAITING))
    [found] = faults(msgspec.structs.replace(STORY, **played(strayed)))
    assert "expected devices of a quarantined model to fail or be called off; not so: sim-0003" in found


def test_many_devices_that_differ_are_not_all_named() -> None:
    nothing = msgspec.structs.replace(STORY, versions=dict.fromkeys(STORY.versions, BAD))
    [found] = faults(nothing)
    assert "box-1, sim-0001, sim-0002 and 1 more; found {'1.1.0': 4} in all" in found


def test_the_report_has_the_names_that_programs_go_by() -> None:
    told = report(STORY, seed=7)
    assert (told["ok"], told["devices_on_version"]) == (True, {GOOD: 1, PICKY: 3})
    runs = told["runs"]
    assert isinstance(runs, list)
    assert [(r["name"], r["state"]) for r in runs] == [
        ("harbour-1.0.0", "succeeded"),
        ("harbour-1.1.0", "failed"),
        ("harbour-1.2.0", "failed"),
        ("harbour-1.0.0", "succeeded"),
        ("harbour-1.3.0", "succeeded"),
    ]
    assert [run["asked"] and run["asked"]["fact"]["code"] for run in runs] == ["held", None, None, None, None]
    assert [run["quarantined"] for run in runs] == [[], [], [], [], [UNFIT]]
    assert (runs[1]["reached"], runs[1]["called_back"]) == (["box-1", "sim-0001"], [])
    assert set(runs[2]["reached"]) == {*EU, "sim-0002"}
    assert runs[2]["exposed"] == ["sim-0002"]
    assert runs[1]["stages"][0] == {
        "name": "canary",
        "state": "failed",
        "reason": "1 of 4 started devices failed",
        "gate": "2 of 3 started failed; stops on failure 2",
        "queued": 0,
        "in_progress": 0,
        "succeeded": 0,
        "failed": 2,
        "rejected": 0,
        "timed_out": 0,
        "cancelled": 1,
        "removed": 0,
    }


def test_a_target_of_another_version_blames_nobody() -> None:
    later = target("sim-0002", attempt=1, stage="us", reason="of_a_later_version")
    [found] = faults(
        msgspec.structs.replace(STORY, **played(changed(BRANCH_RUN, targets=(*BRANCH_RUN.targets[:2], later))))
    )
    assert "it reached 0 devices that it is bad for" in found
