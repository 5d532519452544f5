from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from simulator.demo.scenes import GOOD, REGIONAL
from simulator.demo.story import is_exposed
from tests.simulator.demo.stories import BAD_RUN, BRANCH_RUN, GOOD_RUN, STORY, changed, run, stage, target, with_stages


def test_the_rate_is_that_of_the_first_run_and_there_is_none_without() -> None:
    assert STORY.installs_per_second == 2.0
    assert msgspec.structs.replace(STORY, runs=()).installs_per_second == 0


def test_a_device_should_have_the_version_of_the_last_scene_that_was_to_reach_it() -> None:
    eu = {"box-1": REGIONAL, "sim-0001": REGIONAL}
    assert STORY.versions_meant == eu | {"sim-0002": GOOD, "sim-0003": GOOD}
    assert STORY.devices_on_version == {GOOD: 2, REGIONAL: 2}


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
    played = changed(BAD_RUN, targets=BAD_RUN.targets + spared)
    assert [one.device for one in played.exposed] == ["box-1", "sim-0001"]
    assert [one.device for one in played.called_back] == ["sim-0003"]
    assert [one.device for one in played.stranded] == ["sim-0004"]


def test_devices_of_a_branch_that_went_on_are_reached_and_not_counted_as_exposed() -> None:
    assert [one.device for one in BRANCH_RUN.reached] == ["box-1", "sim-0001", "sim-0002"]
    assert [one.device for one in BRANCH_RUN.exposed] == ["sim-0002"]
    assert GOOD_RUN.exposed == ()


def test_what_may_fail_and_what_is_at_work_then_can_be_exposed() -> None:
    two_may_fail = msgspec.structs.replace(stage("canary", "failed"), failures_allowed=2)
    assert with_stages(BAD_RUN, two_may_fail).exposed_max == 6
    assert changed(BAD_RUN, view=run(GOOD, "succeeded")).exposed_max == 0
