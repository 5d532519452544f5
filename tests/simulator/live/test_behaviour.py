from collections import Counter

import msgspec
import pytest

from protocol.units import Millis
from simulator.live.behaviour import (
    BadOption,
    Behaviour,
    Plan,
    draw,
    parse_behaviours,
    parse_failing,
    parse_labels,
    parse_models,
)

PLAN = Plan(
    count=200,
    seed=7,
    behaviours=parse_behaviours("slow=10%, flaky=5, offline=2.5%"),
    labels=parse_labels("region=eu:40,region=us:40,region=apac:20,ring=canary:3,ring=:197"),
    fail_versions={"2.0": ""},
)


def test_the_same_plan_and_seed_draw_the_same_devices() -> None:
    assert draw(PLAN) == draw(PLAN)
    assert draw(PLAN) != draw(Plan(count=200, seed=8))


def test_shares_are_kept_exactly() -> None:
    devices = draw(PLAN)
    assert Counter(device.behaviour for device in devices) == {
        Behaviour.SLOW: 20,
        Behaviour.FLAKY: 10,
        Behaviour.OFFLINE: 5,
        Behaviour.FAST: 165,
    }
    assert Counter(device.labels["region"] for device in devices) == {"eu": 80, "us": 80, "apac": 40}
    assert sum("ring" in device.labels for device in devices) == 3


def test_what_is_left_over_goes_to_the_largest_remainder() -> None:
    devices = draw(Plan(count=10, labels=parse_labels("x=a,x=b,x=c")))
    assert sorted(Counter(device.labels["x"] for device in devices).values()) == [3, 3, 4]


def test_behaviour_shows_in_what_is_drawn() -> None:
    by_kind = {device.behaviour: device for device in draw(PLAN)}
    assert by_kind[Behaviour.SLOW].bandwidth < by_kind[Behaviour.FAST].bandwidth
    assert by_kind[Behaviour.FLAKY].drop_ms > 0
    assert by_kind[Behaviour.OFFLINE].away_ms > 0
    assert by_kind[Behaviour.FAST].drop_ms == by_kind[Behaviour.FAST].away_ms == 0


def test_all_devices_fail_a_version_unless_some_are_drawn_as_failing() -> None:
    assert {device.fails for device in draw(PLAN)} == {frozenset({"2.0"})}
    some = draw(Plan(count=100, behaviours={Behaviour.FAILING: 30.0}, fail_versions={"2.0": ""}))
    assert Counter(bool(device.fails) for device in some) == {True: 30, False: 70}


def test_a_version_may_fail_on_devices_with_a_label_alone() -> None:
    plan = msgspec.structs.replace(PLAN, fail_versions=parse_failing(["2.0@region=us", "3.0"]))
    both, all_over = frozenset({"2.0", "3.0"}), frozenset({"3.0"})
    assert Counter((device.labels["region"], device.fails) for device in draw(plan)) == {
        ("us", both): 80,
        ("eu", all_over): 80,
        ("apac", all_over): 40,
    }


def test_models_are_dealt_by_weight_and_change_nothing_else() -> None:
    plain, several = draw(PLAN), draw(msgspec.structs.replace(PLAN, models=parse_models("kiosk-1:2, kiosk-2")))
    assert {device.model for device in plain} == {"simulated"}
    assert Counter(device.model for device in several) == {"kiosk-1": 133, "kiosk-2": 67}
    assert [msgspec.structs.replace(device, model="simulated") for device in several] == plain


def test_a_version_may_fail_on_one_model_alone() -> None:
    failing = parse_failing(["3.0@model=kiosk-2"])
    plan = Plan(count=10, models=parse_models("kiosk-1:70,kiosk-2:30"), fail_versions=failing)
    assert Counter((device.model, device.fails) for device in draw(plan)) == {
        ("kiosk-1", frozenset()): 7,
        ("kiosk-2", frozenset({"3.0"})): 3,
    }


@pytest.mark.parametrize("text", ["", ":5", "kiosk-1:0", "kiosk-1:x", "kiosk-1:nan", "kiosk-1:inf", "kiosk-1:5,"])
def test_bad_models_are_refused(text: str) -> None:
    with pytest.raises(BadOption, match="expected model:weight"):
        parse_models(text)


@pytest.mark.parametrize("text", ["", "@region=us", "2.0@", "2.0@region", "2.0@=us", "2.0@region="])
def test_bad_versions_are_refused(text: str) -> None:
    with pytest.raises(BadOption, match="expected a version"):
        parse_failing([text])


@pytest.mark.parametrize("text", ["slow", "slow=x", "lazy=5%", "slow=60%,flaky=60%", "slow=-1%"])
def test_bad_behaviours_are_refused(text: str) -> None:
    with pytest.raises(BadOption, match="expected"):
        parse_behaviours(text)


@pytest.mark.parametrize("text", ["region", "region=eu:0", "region=eu:x", "region=eu:nan", "=eu"])
def test_bad_labels_are_refused(text: str) -> None:
    with pytest.raises(BadOption, match="expected key=value:weight"):
        parse_labels(text)


def test_a_given_step_replaces_what_is_drawn_and_changes_nothing_else() -> None:
    plain, given = draw(PLAN), draw(msgspec.structs.replace(PLAN, step_ms=Millis(0)))
    assert {device.step_ms for device in given} == {0}
    assert [msgspec.structs.replace(device, step_ms=Millis(0)) for device in plain] == given
