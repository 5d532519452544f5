from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from simulator.demo.scenes import GOOD, PICKY, REGIONAL, UNFIT
from simulator.demo.story import is_exposed
from tests.simulator.demo.stories import (
    ALL,
    BAD_RUN,
    BRANCH_RUN,
    EU,
    FIT,
    GOOD_RUN,
    MODEL_RUN,
    STORY,
    changed,
    target,
)


def test_the_rate_is_that_of_the_first_run_and_there_is_none_without() -> None:
    assert STORY.installs_per_second == 2.0
    assert msgspec.structs.replace(STORY, runs=()).installs_per_second == 0


def test_a_device_should_have_the_version_of_the_last_scene_that_was_to_reach_it() -> None:
    assert STORY.versions_meant == dict.fromkeys(ALL, GOOD) | dict.fromkeys(FIT, PICKY)
    assert STORY.devices_on_version == {GOOD: 1, PICKY: 3}
    before = msgspec.structs.replace(STORY, runs=STORY.runs[:3])
    assert before.versions_meant == dict.fromkeys(ALL, GOOD) | dict.fromkeys(EU, REGIONAL)


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


def test_devices_of_a_quarantined_model_count_as_exposed_once_they_had_the_release() -> None:
    called_off = target("sim-0004", attempt=0, state="cancelled", model=UNFIT)
    played = changed(MODEL_RUN, targets=(*MODEL_RUN.targets, called_off))
    assert played.quarantined == {UNFIT}
    assert [one.device for one in played.exposed] == ["sim-0003"]
    assert [one.device for one in played.left_out] == ["sim-0003", "sim-0004"]
    assert (BAD_RUN.quarantined, BAD_RUN.left_out) == (frozenset(), ())


def test_a_gate_speaks_of_failures_and_of_models_that_are_kept_out() -> None:
    assert [stage.name for played in STORY.runs for stage in played.speaking] == ["canary", "all"]
