from collections import Counter

import pytest

from simulator.demo.cast import Cast
from simulator.demo.scenes import PICKY, UNFIT
from simulator.live.behaviour import Plan, draw, parse_labels, parse_models


@pytest.mark.parametrize(("devices", "canaries", "unfit"), [(10, 3, 4), (20, 3, 4), (200, 12, 40)])
def test_a_small_fleet_has_enough_canaries_and_enough_of_the_model_that_fails(
    devices: int, canaries: int, unfit: int
) -> None:
    cast = Cast(devices=devices)
    drawn = draw(Plan(count=devices, labels=parse_labels(cast.labels), models=parse_models(cast.models)))
    assert sum("ring" in device.labels for device in drawn) == canaries
    assert Counter(device.model for device in drawn)[UNFIT] == unfit


def test_the_fleet_is_told_what_fails_where() -> None:
    options = Cast(seed=7).options
    assert (options[options.index("--seed") + 1], f"{PICKY}@model={UNFIT}" in options) == ("7", True)
    assert options.count("--fail-version") == 3


def test_most_devices_are_steady() -> None:
    assert 0.85 < len(Cast().steady) / Cast().devices < 1
