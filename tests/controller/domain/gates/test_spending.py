"""Shares of alpha: those named are kept, the others are alike, and never more is spent than there is."""

from math import fsum

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.gates.spending import Overspent, shares

CASES = [
    (0.01, [None], (0.01,)),
    (0.01, [None, None], (0.005, 0.005)),
    (0.01, [0.004, None, None, 0.002], (0.004, 0.002, 0.002, 0.002)),
    (0.01, [0.003, 0.007], (0.003, 0.007)),
    (0.01, [0.001], (0.001,)),
    (0.3, [0.1, 0.1, 0.1], (0.1, 0.1, 0.1)),
    (0.05, [], ()),
]
REFUSED = [
    (0.01, [0.006, 0.005], "shares of 1.1% in all: expected at most the total of 1%"),
    (0.01, [0.01, None], "shares of 1% in all: expected less than the total of 1%, for 1 more gate to have a share"),
    (0.3, [0.1, 0.1, 0.1, None, None], "less than the total of 30%, for 2 more gates"),
    (0.01, [0.0, None], "a share of 0%: expected each above 0%"),
    (0.01, [-0.001], "a share of -0.1%"),
    (0.01, [float("nan")], "a share of nan%"),
]


@pytest.mark.parametrize(("total", "explicit", "expected"), CASES)
def test_what_is_left_is_divided_alike(total: float, explicit: list[float | None], expected: tuple[float]) -> None:
    assert shares(total, explicit) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("total", "explicit", "message"), REFUSED)
def test_what_does_not_fit_is_refused(total: float, explicit: list[float | None], message: str) -> None:
    with pytest.raises(Overspent, match=message):
        shares(total, explicit)


@given(st.floats(1e-6, 0.5), st.lists(st.none() | st.floats(1e-9, 0.1), max_size=60))
def test_never_more_is_spent_than_there_is(total: float, explicit: list[float | None]) -> None:
    try:
        found = shares(total, explicit)
    except Overspent:
        named = fsum(share for share in explicit if share is not None)
        assert named > total * (1 - 1e-8)
        return
    assert fsum(found) <= total * (1 + 1e-8)
    assert all(share > 0 for share in found)
    assert all(wanted in (None, share) for wanted, share in zip(explicit, found, strict=True))


@pytest.mark.parametrize("total", [0, 1])
def test_a_total_that_is_no_chance_is_a_bug_of_the_caller(total: float) -> None:
    with pytest.raises(AssertionError, match="probability of a false stop"):
        shares(total, [])
