"""Numbers beside a control group: pairs count by their sign alone."""

from math import exp, inf, nan
from statistics import mean

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.gates.odds import Evidence, threshold
from controller.domain.gates.sign import GRID, START, after_pair


def gathered(pairs: list[tuple[float, float]]) -> Evidence:
    evidence = START
    for treated, control in pairs:
        evidence = after_pair(evidence, treated=treated, control=control)
    return evidence


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=40))
def test_only_which_of_a_pair_is_larger_counts(pairs: list[tuple[float, float]]) -> None:
    worse = sum(treated > control for treated, control in pairs)
    better = sum(treated < control for treated, control in pairs)
    expected = mean((2 * odds / (1 + odds)) ** worse * (2 / (1 + odds)) ** better for odds in GRID)
    assert exp(gathered(pairs).log) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=40))
def test_no_unit_and_no_outlier_changes_anything(pairs: list[tuple[float, float]]) -> None:
    cubed = [(1e6 * treated**3, 1e6 * control**3) for treated, control in pairs]
    assert gathered(cubed) == gathered(pairs)
    assert gathered([(inf, 1.0)]) == gathered([(2.0, 1.0)])


def test_equal_numbers_tell_nothing() -> None:
    assert gathered([(1.5, 1.5)] * 100) == START


def test_pairs_of_which_the_treated_is_always_worse_stop_after_ten() -> None:
    assert [gathered([(2, 1)] * count).log >= threshold(0.01) for count in (9, 10)] == [False, True]


def test_a_number_that_is_none_is_a_bug_of_the_caller() -> None:
    for pair in ((nan, 1.0), (1.0, nan)):
        with pytest.raises(AssertionError, match="no number"):
            gathered([pair])
