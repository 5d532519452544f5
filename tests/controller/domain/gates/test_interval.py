"""The interval that is shown: confseq's figures, and a true rate that it covers at all times."""

from math import comb, exp, isclose, log

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.gates import interval as module
from controller.domain.gates.exact import run
from controller.domain.gates.interval import interval, log_refutation, weight_for

counts = st.integers(1, 20_000).flatmap(lambda counted: st.tuples(st.integers(0, counted), st.just(counted)))

CONFSEQ = [
    # failed, counted, narrow at, lowest and highest
    (700, 1000, 100, (0.651629, 0.745949)),
    (15, 50, 50, (0.129556, 0.511896)),
    (5, 50, 50, (0.013021, 0.269264)),
    (1, 50, 50, (0.0, 0.13489)),
    (1, 2, 50, (0.0, 1.0)),
    (100, 200, 1, (0.328923, 0.671076)),
    (0, 1, 50, (0.0, 1.0)),
    (1, 1, 50, (0.0, 1.0)),
]
"""What the tests of confseq expect, github.com/gostevehoward/confseq, uniform_boundaries_unittest.cpp; alpha 5 %."""


@pytest.mark.parametrize(("failed", "counted", "narrow_at", "expected"), CONFSEQ)
def test_it_is_what_the_package_of_its_authors_finds(
    failed: int, counted: int, narrow_at: int, expected: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NARROW_AT", narrow_at)
    assert interval(failed, counted, alpha=0.05) == pytest.approx(expected, abs=1e-5)


@given(counts, st.sampled_from([0.01, 0.05]))
def test_it_holds_the_share_that_failed_and_ends_where_a_rate_is_just_refuted(
    count: tuple[int, int], alpha: float
) -> None:
    failed, counted = count
    low, high = interval(failed, counted, alpha=alpha)
    assert 0 <= low <= failed / counted <= high <= 1
    weight = weight_for(module.NARROW_AT, alpha=alpha)
    for end in {low, high} - {0.0, 1.0}:
        if 1e-6 < end < 1 - 1e-6:
            assert log_refutation(failed, counted, rate=end, weight=weight) == pytest.approx(-log(alpha), abs=1e-3)


@pytest.mark.parametrize(("failed", "counted"), [(0, 50), (3, 50), (30, 2_000), (25, 50), (49, 50)])
def test_all_rates_outside_are_refuted_and_none_inside(failed: int, counted: int) -> None:
    low, high = interval(failed, counted, alpha=0.05)
    weight = weight_for(module.NARROW_AT, alpha=0.05)
    for step in range(1, 2_000):
        refuted = log_refutation(failed, counted, rate=step / 2_000, weight=weight) >= -log(0.05)
        assert refuted is not (low <= step / 2_000 <= high)


@pytest.mark.parametrize("rate", [0.01, 0.2])
def test_the_true_rate_is_left_out_at_any_time_with_a_chance_of_at_most_alpha(rate: float) -> None:
    def boundary(true: float) -> list[int]:
        """Return of 0, 1, … devices the failures from which on the interval lies above a rate."""
        found, weight = [1], weight_for(module.NARROW_AT, alpha=0.05)
        for counted in range(1, 4_001):
            failed = max(found[-1], int(true * counted) + 1)
            while failed <= counted and log_refutation(failed, counted, rate=true, weight=weight) < -log(0.05):
                failed += 1
            found.append(failed)
        return found

    above, below = boundary(rate), boundary(1 - rate)
    too_high = run(above.__getitem__, rate=rate, devices=4_000)
    too_low = run(below.__getitem__, rate=1 - rate, devices=4_000)
    assert 0.005 < too_high.stopped + too_low.stopped <= 0.05


@pytest.mark.parametrize(("failed", "counted", "rate", "weight"), [(0, 3, 0.2, 5.0), (2, 7, 0.02, 30.0)])
def test_the_refutation_is_a_mixture_of_likelihood_ratios(
    failed: int, counted: int, rate: float, weight: float
) -> None:
    """All outcomes together have a chance of 1 under the mixture."""

    def mixed(number: int) -> float:
        ratio = log_refutation(number, counted, rate=rate, weight=weight)
        return comb(counted, number) * exp(ratio) * rate**number * (1 - rate) ** (counted - number)

    assert isclose(sum(mixed(number) for number in range(counted + 1)), 1, rel_tol=1e-9)
    assert isclose(sum(number * mixed(number) for number in range(counted + 1)), counted * rate, rel_tol=1e-9)


def test_what_cannot_be_is_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="2 failures of 1 devices"):
        interval(2, 1, alpha=0.05)
    with pytest.raises(AssertionError, match="probability of an error"):
        interval(0, 1, alpha=1)


def test_a_smallest_weight_keeps_the_mixture_defined() -> None:
    assert weight_for(1, alpha=0.05) == 1e-3
