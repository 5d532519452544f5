"""Batches are as large as the evidence pays for, at every failure rate, and no larger."""

from collections.abc import Iterator
from fractions import Fraction
from math import comb, exp, inf, log
from typing import Final

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.gates import ramp, tail
from controller.domain.gates.ramp import TILTS, Stand, is_safe, log_evidence, next_batch, risk_of
from controller.domain.gates.tail import log_chance

ABOVE: Final = 0.02
DELTA: Final = 0.01
ROUNDS: Final = 15
PRICE: Final = DELTA / ROUNDS
ALL: Final = 100_000


def batch(exposed: int, failed: int, *, risk: int, left: int = ALL, above: float = ABOVE, spent: int = 0) -> int:
    return next_batch(exposed, failed, left=left, risk=risk, above=above, delta=DELTA, rounds=ROUNDS, spent=spent)


def without_failures(risk: int) -> Iterator[int]:
    """Return how many devices are exposed after each batch, if nobody ever fails."""
    exposed = 0
    while exposed < ALL:
        exposed += batch(exposed, 0, risk=risk, left=ALL - exposed)
        yield exposed


def log_of(number: Fraction) -> float:
    """Return the logarithm of a number that may be too small for a float."""
    return log(number.numerator) - log(number.denominator)


def chance(size: int, breaking: int, rate: float) -> Fraction:
    """Return the chance of at least so many failures, from its definition."""
    p = Fraction(rate)
    return sum((comb(size, k) * p**k * (1 - p) ** (size - k) for k in range(breaking, size + 1)), Fraction())


def evidence(exposed: int, failed: int, rate: float) -> Fraction:
    """Return the evidence against a rate, from its definition."""
    ratios = (Fraction(t) ** failed / (1 + (Fraction(t) - 1) * Fraction(rate)) ** exposed for t in TILTS)
    return sum(ratios, Fraction()) / len(TILTS)


@pytest.mark.parametrize(
    ("risk", "exposed"),
    [
        (5, [5, 10, 17, 28, 44, 75, 137, 328, 4647, ALL]),
        (10, [10, 27, 69, 188, 876, ALL]),
        (25, [25, 128, 871, ALL]),
        (50, [51, 485, ALL]),
    ],
)
def test_devices_without_a_failure_pay_for_ever_larger_batches(risk: int, exposed: list[int]) -> None:
    assert list(without_failures(risk)) == exposed


def test_a_grid_of_rates_would_let_a_batch_through_that_is_not_paid_for_between_them() -> None:
    """After 28 devices a usual grid of 35 rates allows 17 more; the rates around 15 percent do not."""
    grid = [ABOVE * (1 / ABOVE) ** (point / 34) for point in range(34)]
    assert batch(28, 0, risk=5) == 16
    breaking = Stand(28, 0, 5, ABOVE).breaking(17)
    assert all(chance(17, breaking, rate) <= PRICE * evidence(28, 0, rate) for rate in grid)
    assert chance(17, breaking, 0.15) > PRICE * evidence(28, 0, 0.15)


STANDS: Final = st.integers(0, 400).flatmap(
    lambda exposed: st.tuples(st.just(exposed), st.integers(0, min(exposed, 12)), st.integers(0, 25))
)
ABOVES: Final = st.sampled_from([0.0, 0.005, 0.02, 0.05, 0.3])


@pytest.mark.no_cover
@given(STANDS, ABOVES, st.integers(1, 10**6))
def test_a_batch_is_paid_for_at_every_rate_that_is_tried_and_one_device_more_is_not(
    stand: tuple[int, int, int], above: float, left: int
) -> None:
    exposed, failed, risk = stand
    size = batch(exposed, failed, risk=risk, left=left, above=above)
    assert 0 <= size <= left
    assert excess(Stand(exposed, failed, risk, above), size) <= 1e-6
    if size < left and Stand(exposed, failed, risk, above).breaking(0) > 0:
        assert excess(Stand(exposed, failed, risk, above), size + 1) > -1e-3


def excess(stand: Stand, size: int) -> float:
    """Return by how much, as a logarithm, the chance of a broken limit is above what is paid for it at worst."""
    breaking = stand.breaking(size)
    if size < breaking or not size:
        return -inf
    exponents = (point / 400 for point in range(-4800, 0))
    return max(
        log_chance(size, breaking, x).value - log_evidence(stand.exposed, stand.failed, x).value - log(PRICE)
        for x in exponents
    )


@pytest.mark.parametrize(
    ("exposed", "failed", "risk", "above"),
    [(25, 0, 25, ABOVE), (25, 3, 25, ABOVE), (69, 1, 10, ABOVE), (128, 20, 25, ABOVE), (87, 12, 1, 0.3)],
)
def test_every_smaller_batch_is_paid_for_as_well(exposed: int, failed: int, risk: int, above: float) -> None:
    size = batch(exposed, failed, risk=risk, above=above, left=697)
    stand = Stand(exposed, failed, risk, above)
    assert size > 1
    assert all(is_safe(stand, smaller, price=log(PRICE)) for smaller in range(size + 1))


@given(STANDS, ABOVES, st.integers(1, 10**6))
def test_few_devices_left_limit_a_batch_and_change_nothing_else(
    stand: tuple[int, int, int], above: float, left: int
) -> None:
    exposed, failed, risk = stand
    size = batch(exposed, failed, risk=risk, left=10**6, above=above)
    assert batch(exposed, failed, risk=risk, left=left, above=above) == min(left, size)


@given(STANDS, ABOVES)
def test_a_failure_more_never_pays_for_more(stand: tuple[int, int, int], above: float) -> None:
    exposed, failed, risk = stand
    fewer = batch(exposed, failed, risk=risk, above=above)
    assert batch(exposed, min(exposed, failed + 1), risk=risk, above=above) <= fewer


@pytest.mark.parametrize(("above", "first"), [(0.0, 25), (0.02, 25), (0.05, 26), (0.5, 50)])
def test_the_first_batch_survives_a_build_that_fails_everywhere(above: float, first: int) -> None:
    size = batch(0, 0, risk=25, above=above)
    assert size == first
    assert size <= 25 + above * size


@pytest.mark.parametrize(
    ("exposed", "failed", "size"),
    [
        (25, 25, 0),  # all failed: one more failure is allowed by nothing
        (25, 20, 5),  # five more failures are allowed, so five devices may go whatever happens
        (50, 26, 0),  # the limit is 26 and spent
        (50, 27, 0),  # and broken
        (1_000, 46, 0),  # beyond the limit of 45
    ],
)
def test_what_is_left_of_the_risk_may_be_exposed_and_then_it_holds(exposed: int, failed: int, size: int) -> None:
    assert batch(exposed, failed, risk=25) == size


def test_it_holds_when_all_rounds_are_spent() -> None:
    assert batch(25, 0, risk=25, spent=ROUNDS - 1) == 103
    assert batch(25, 0, risk=25, spent=ROUNDS) == 0


def test_nothing_is_exposed_where_nobody_is_left() -> None:
    assert batch(25, 0, risk=25, left=0) == 0


def test_nothing_goes_without_a_budget() -> None:
    assert batch(0, 0, risk=0) == 0


@pytest.mark.parametrize(
    ("exposed", "failed", "above", "delta"),
    [(1, 2, 0.02, 0.01), (1, -1, 0.02, 0.01), (1, 0, 1.0, 0.01), (1, 0, -0.1, 0.01), (1, 0, 0.02, 0.0)],
)
def test_what_is_no_count_or_probability_is_refused(exposed: int, failed: int, above: float, delta: float) -> None:
    with pytest.raises(AssertionError):
        next_batch(exposed, failed, left=1, risk=1, above=above, delta=delta, rounds=1)


def test_what_cannot_be_shown_in_time_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_safe(Stand(25, 0, 25, ABOVE), 103, price=log(PRICE))
    monkeypatch.setattr(ramp, "PROBES_MAX", 1)
    assert not is_safe(Stand(25, 0, 25, ABOVE), 103, price=log(PRICE))


@pytest.mark.parametrize(
    ("devices", "risk"), [(1, 10), (4_000, 10), (4_399, 10), (4_400, 11), (20_000, 50), (10**6, 50)]
)
def test_a_stage_may_cost_a_quarter_percent_within_bounds(devices: int, risk: int) -> None:
    assert risk_of(devices) == risk


@given(st.integers(1, 120), st.floats(0.001, 0.999), st.data())
def test_the_chance_of_failures_is_that_of_its_definition(size: int, rate: float, data: st.DataObject) -> None:
    breaking = data.draw(st.integers(1, size))
    wanted = log_of(chance(size, breaking, rate))
    assert log_chance(size, breaking, log(rate)).value == pytest.approx(wanted, abs=1e-9)


@given(st.integers(0, 120), st.floats(0.001, 0.999), st.data())
def test_the_evidence_is_that_of_its_definition(exposed: int, rate: float, data: st.DataObject) -> None:
    failed = data.draw(st.integers(0, exposed))
    wanted = log_of(evidence(exposed, failed, rate))
    assert log_evidence(exposed, failed, log(rate)).value == pytest.approx(wanted, abs=1e-9)


@given(st.integers(1, 10**6), st.floats(-12, -0.001), st.floats(-12, -0.001), st.data())
def test_the_chance_is_concave_and_the_evidence_convex(size: int, x: float, other: float, data: st.DataObject) -> None:
    """So tangents bound their difference; slopes are those of tangents."""
    breaking, failed = data.draw(st.integers(1, size)), data.draw(st.integers(0, size))
    slack = 1e-8 + 1e-12 * size
    assert log_chance(size, breaking, other).value <= log_chance(size, breaking, x).at(other) + slack
    assert log_evidence(size, failed, other).value >= log_evidence(size, failed, x).at(other) - slack


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_the_evidence_is_one_in_expectation_at_the_rate_itself_and_less_above_it(rate: float) -> None:
    def expected(true: float) -> float:
        weights = (comb(60, k) * true**k * (1 - true) ** (60 - k) for k in range(61))
        return sum(weight * exp(log_evidence(60, k, log(rate)).value) for k, weight in enumerate(weights))

    assert expected(rate) == pytest.approx(1)
    assert expected(rate * 1.2) < 1
    assert expected(rate / 2) > 1


def test_a_fraction_that_does_not_converge_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "TERMS_MAX", 2)
    with pytest.raises(AssertionError, match="did not converge"):
        log_chance(10**6, 20_001, log(ABOVE))
