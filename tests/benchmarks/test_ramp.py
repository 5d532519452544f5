"""The comparison of ramps with fixed shares, over few rollouts: that it says what the page about the ramp says."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.benchmarks import ramp
from tests.benchmarks.measure import Cost
from tests.benchmarks.ramp import Rollouts


@pytest.fixture(scope="module")
def found() -> dict[str, Rollouts]:
    return {figure.name: figure for figure in _rollouts()}


def _rollouts() -> Iterator[Rollouts]:
    *figures, median, slow = ramp.figures(runs=30)
    assert isinstance(median, Cost)
    assert isinstance(slow, Cost)
    assert 0 < median.amount <= slow.amount
    for figure in figures:
        assert isinstance(figure, Rollouts)
        assert figure.line().startswith(figure.name)
        assert figure.data()["exposed"] == figure.exposed
        yield figure


def test_each_rate_is_played_by_each_plan(found: dict[str, Rollouts]) -> None:
    assert len(found) == len(ramp.RATES) * len(ramp.plans(1))


@pytest.mark.parametrize(("risk", "exposed"), [(25, 25), (10, 10)])
def test_a_build_that_fails_everywhere_reaches_one_budget(found: dict[str, Rollouts], risk: int, exposed: int) -> None:
    end = found[f"100.0% fail, ramp of {risk}"]
    assert (end.exposed, end.failed, end.bound_exposed) == (exposed, exposed, 1_000)
    assert end.ratio == exposed / 1_000


def test_a_build_that_fails_in_one_of_ten_reaches_far_fewer_than_by_fixed_shares(found: dict[str, Rollouts]) -> None:
    assert found["10.0% fail, ramp of 25"].exposed < 200
    assert found[f"10.0% fail, {ramp.FIXED}"].exposed == 1_000


def test_the_limit_is_broken_by_fixed_shares_and_by_doubling_and_kept_by_ramps(found: dict[str, Rollouts]) -> None:
    def worst(plan: str) -> float:
        return max(figure.broken for name, figure in found.items() if name.endswith(plan))

    assert worst(ramp.FIXED) == 1
    assert worst("doubling from 10") > 0.9
    assert worst("ramp of 25") == worst("ramp of 10") == 0


def test_a_healthy_build_reaches_everybody_in_about_as_many_rounds(found: dict[str, Rollouts]) -> None:
    end = found["0.2% fail, ramp of 25"]
    assert (end.done, found[f"0.2% fail, {ramp.FIXED}"].done) == (1, 1)
    assert end.rounds < 5


@pytest.mark.parametrize("rate", [0.01, 0.5, 1.0])
def test_failures_are_drawn_at_their_rate(rate: float) -> None:
    assert ramp.failures(Random(1), 20_000, rate=rate) == pytest.approx(20_000 * rate, rel=0.2)
