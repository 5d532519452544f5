from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from simulator.demo.scenes import BAD, GOOD, REGIONAL
from simulator.demo.story import Played, Service
from simulator.demo.verdict import faults, report
from tests.simulator.demo.stories import (
    BACK_RUN,
    BAD_RUN,
    BRANCH_RUN,
    EU,
    GOOD_RUN,
    HELD,
    STORY,
    changed,
    run,
    stage,
    target,
    updated,
    with_stages,
)


def played(*others: Played) -> dict[str, Any]:
    """Return the runs of the story with *others* in place of those of the same scenes."""
    by_scene = {one.scene.title: one for one in others}
    return {"runs": tuple(by_scene.get(one.scene.title, one) for one in STORY.runs)}


def test_a_story_that_went_as_it_should_has_no_faults() -> None:
    assert faults(STORY) == []


TIGHT = msgspec.structs.replace(stage("canary", "failed", failed=2), max_in_flight=1)
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
        (played(with_stages(BAD_RUN, TIGHT)), "it reached 2 devices of stage canary: expected 1 to 1"),
        (played(NEVER_MET), "it reached 0 devices of stage canary: expected 1 to 4"),
        (played(TOO_FAR), "expected it to reach 2 devices whole; not so: sim-0003"),
        (played(NOT_FAR_ENOUGH), "expected it to reach 2 devices whole; not so: box-1"),
        (played(changed(GOOD_RUN, asked=None)), "harbour 1.0.0: expected one held device to be left in the end, and"),
        (
            played(changed(GOOD_RUN, asked=OFFLINE)),
            "why sim-0001 was not updated: expected held, was told offline: it is offline",
        ),
        (played(LEFT_OUT), "harbour 1.0.0: expected it to reach 4 devices whole; not so: sim-0001"),
        ({"versions": {**STORY.versions, "sim-0001": REGIONAL}}, "expected other versions on sim-0001"),
        ({"expected_devices": 5}, "expected 5 devices, found 4"),
        ({"services": {"box-1": Service(status=500, version="")}}, "box-1 answers 500: expected 200 1.0.0"),
        ({"services": {"box-1": Service(status=200, version=BAD)}}, "box-1 answers 200 1.1.0: expected 200 1.0.0"),
        (
            played(changed(BACK_RUN, targets=BACK_RUN.targets[:1])),
            "harbour-branches 1.0.0: expected it to reach 2 devices whole; not so: sim-0001",
        ),
        ({"runs": (GOOD_RUN,)}, "expected 4 scenes to be played, found 1"),
        ({"runs": (GOOD_RUN, BRANCH_RUN, BAD_RUN, BACK_RUN)}, "expected 4 scenes to be played, found 4"),
    ],
)
def test_everything_else_is_a_fault(changes: Mapping[str, Any], fault: str) -> None:
    [found] = faults(msgspec.structs.replace(STORY, **changes))
    assert fault in found


def test_many_devices_that_differ_are_not_all_named() -> None:
    nothing = msgspec.structs.replace(STORY, versions=dict.fromkeys(STORY.versions, BAD))
    [found] = faults(nothing)
    assert "box-1, sim-0001, sim-0002 and 1 more; found {'1.1.0': 4} in all" in found


def test_the_report_has_the_names_that_programs_go_by() -> None:
    told = report(STORY, seed=7)
    assert (told["ok"], told["devices_on_version"]) == (True, {GOOD: 4})
    runs = told["runs"]
    assert isinstance(runs, list)
    assert [(r["name"], r["state"]) for r in runs] == [
        ("harbour-1.0.0", "succeeded"),
        ("harbour-1.1.0", "failed"),
        ("harbour-1.2.0", "failed"),
        ("harbour-1.0.0", "succeeded"),
    ]
    assert [run["asked"] and run["asked"]["fact"]["code"] for run in runs] == ["held", None, None, None]
    assert (runs[1]["reached"], runs[1]["called_back"]) == (["box-1", "sim-0001"], [])
    assert set(runs[2]["reached"]) == {*EU, "sim-0002"}
    assert runs[2]["exposed"] == ["sim-0002"]
    assert runs[1]["stages"][0] == {
        "name": "canary",
        "state": "failed",
        "reason": "1 of 4 started devices failed",
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
    assert "it reached 0 devices of stage us" in found
