"""Rules side by side: each on the same footing, and the faster ones with what they pay."""

import pytest

from controller.domain.gates.comparison import Faster, Fate, Row, compare, faster, rules


def row(rule: str, *medians: int | None, false_stop: float = 0.1) -> Row:
    fates = (Fate(rate=at / 10, stopped=1.0, median=median) for at, median in enumerate(medians, 1))
    return Row(rule=rule, false_stop=false_stop, fates=tuple(fates))


def test_this_gate_comes_first_and_keeps_its_promise() -> None:
    rows = compare(rules(above=0.02, alpha=0.01, devices=1_000), above=0.02, rates=(0.1, 0.01), devices=1_000)
    assert rows[0].rule == "this gate"
    assert [fate.rate for fate in rows[0].fates] == [0.1, 0.01]
    assert rows[0].fates[0].median == 63
    assert rows[0].fates[1].stopped < rows[0].false_stop < 0.01
    assert {row.rule for row in rows if row.false_stop > 0.1} == {"hawkBit 5%", "AWS 5% of 50", "AWS 3% of 500"}


def test_hawkbit_counts_within_each_of_its_groups() -> None:
    [rule] = [rule for rule in rules(above=0.02, alpha=0.01, devices=995) if rule.name == "hawkBit 10%"]
    assert rule.group == 100
    assert rule.boundary(1) == rule.boundary(100) == 11


def test_of_each_faster_rule_the_largest_gain_is_told() -> None:
    ours = row("this gate", None, 100, 100, 10, false_stop=0.001)
    found = faster(ours, [row("a", 1, 90, 20, 9), row("b", 1, 100, 200, 10), row("c", 1, 200, None, 9)], above=0.1)
    assert found == (
        Faster(rule="a", rate=0.3, median=20, median_of_ours=100, false_stop=0.1),
        Faster(rule="c", rate=0.4, median=9, median_of_ours=10, false_stop=0.1),
    )


def test_to_stop_what_this_gate_does_not_is_the_largest_gain() -> None:
    found = faster(row("this gate", None, 1_000), [row("a", 900, 1)], above=0.05)
    assert [(one.rate, one.median_of_ours) for one in found] == [(0.1, None)]


@pytest.mark.parametrize("devices", [1, 7])
def test_a_rollout_may_be_tiny(devices: int) -> None:
    rows = compare(rules(above=0.02, alpha=0.01, devices=devices), above=0.02, rates=(1.0,), devices=devices)
    assert [fate.median for fate in rows[0].fates] == [None if devices == 1 else 2]
