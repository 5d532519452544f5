"""Evidence over a grid of odds ratios: exact, monotone, the same step by step, and fair to builds that are well."""

from bisect import bisect_left
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product
from math import exp, inf, log, prod

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from controller.domain.gates import sign
from controller.domain.gates.odds import (
    GRID,
    Evidence,
    ladder,
    log_evidence,
    log_mean,
    stops_on,
    stops_within,
    threshold,
)

ABOVE = (0.001, 0.005, 0.01, 0.02, 0.05, 0.3, 0.9)
ALPHA = (0.001, 0.01, 0.05, 0.5)
ONE_PERCENT = [(3, 10), (4, 20), (5, 33), (6, 49), (8, 87), (10, 130), (20, 396)]

counts = st.integers(0, 3_000).flatmap(lambda started: st.tuples(st.integers(0, started), st.just(started)))
shares = st.floats(0.0005, 0.9995)
events = st.lists(st.tuples(shares, st.booleans()), max_size=60)


def evidence_of(happened: list[tuple[float, bool]], *, grid: tuple[float, ...] = GRID) -> Evidence:
    """Return the evidence after events, each a null and whether it was a failure."""
    evidence = Evidence.over(grid)
    for null, failed in happened:
        evidence = evidence.after(null=null, failed=failed)
    return evidence


@pytest.mark.parametrize("above", [Fraction(1, 50), Fraction(1, 3), Fraction(1)])
@pytest.mark.parametrize(("failed", "started"), [(0, 0), (0, 9), (1, 1), (3, 10), (10, 10), (20, 400), (99, 100)])
def test_the_closed_form_is_the_mean_of_likelihood_ratios(failed: int, started: int, above: Fraction) -> None:
    terms = [Fraction(odds) ** failed / (1 + (Fraction(odds) - 1) * above) ** started for odds in GRID]
    expected = log(Fraction(sum(terms), len(GRID)))
    assert log_evidence(failed, started, above=float(above)) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("failed", "started"), [(100_000, 5_000_000), (122_800, 5_000_000), (5_000_000, 5_000_000)])
def test_millions_of_devices_lose_no_digit_that_matters(failed: int, started: int) -> None:
    with localcontext() as context:
        context.prec = 60
        above = Decimal("0.02")
        terms = [failed * Decimal(odds).ln() - started * (1 + (Decimal(odds) - 1) * above).ln() for odds in GRID]
        best = max(terms)
        expected = best + (sum(((term - best).exp() for term in terms), Decimal(0)) / len(GRID)).ln()
    assert log_evidence(failed, started, above=0.02) == pytest.approx(float(expected), abs=5e-9)


@pytest.mark.parametrize(("failed", "within"), ONE_PERCENT)
def test_two_percent_at_one_percent_stops_on_the_failures_of_the_table(failed: int, within: int) -> None:
    assert stops_within(failed, above=0.02, alpha=0.01) == within
    assert stops_on(within, above=0.02, alpha=0.01) == failed
    assert stops_on(within + 1, above=0.02, alpha=0.01) == failed + 1


@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("above", [0.0, *ABOVE, 1.0])
def test_it_stops_on_the_first_number_of_failures_that_reaches_the_threshold(above: float, alpha: float) -> None:
    for started in (*range(40), 500):
        reached = [log_evidence(failed, started, above=above) >= threshold(alpha) for failed in range(started + 1)]
        expected = reached.index(True) if True in reached else started + 1
        assert stops_on(started, above=above, alpha=alpha) == expected


@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("above", [*ABOVE, 1.0])
def test_the_ladder_says_the_same_as_asking_for_each_number_of_devices(above: float, alpha: float) -> None:
    rungs = ladder(300, above=above, alpha=alpha)
    assert list(rungs) == sorted(rungs)
    for started in range(301):
        expected = stops_on(started, above=above, alpha=alpha)
        assert min(bisect_left(rungs, started), started + 1) == expected
    assert len(rungs) <= 301


@given(counts, shares)
def test_a_failure_is_never_less_evidence_and_a_success_never_more(count: tuple[int, int], above: float) -> None:
    failed, started = count
    here = log_evidence(failed, started, above=above)
    assert log_evidence(failed, started + 1, above=above) <= here
    assert log_evidence(failed + 1, started + 1, above=above) >= here


@given(st.lists(st.booleans(), max_size=200), shares)
def test_step_by_step_is_the_closed_form_in_whatever_order(outcomes: list[bool], above: float) -> None:
    expected = log_evidence(sum(outcomes), len(outcomes), above=above)
    for order in (outcomes, sorted(outcomes)):
        assert evidence_of([(above, failed) for failed in order]).log == pytest.approx(expected, abs=1e-9)


@given(events, st.sampled_from([GRID, sign.GRID, (2.0,)]))
def test_where_the_null_changes_factors_multiply_at_each_point(
    happened: list[tuple[float, bool]], grid: tuple[float, ...]
) -> None:
    ratios = [
        prod((odds if failed else 1) / (1 + (odds - 1) * null) for null, failed in happened)
        for odds in map(float, grid)
    ]
    assert evidence_of(happened, grid=grid).log == pytest.approx(log(sum(ratios) / len(grid)), rel=1e-9, abs=1e-9)


@given(events)
def test_evidence_survives_as_json(happened: list[tuple[float, bool]]) -> None:
    evidence = evidence_of(happened, grid=sign.GRID)
    assert msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence) == evidence
    assert msgspec.json.decode(b"{}", type=Evidence) == Evidence()


@pytest.mark.parametrize("nulls", [(0.02,) * 8, (0.5,) * 8, (0.3, 0.01, 0.99, 0.5, 0.2, 0.7, 0.05, 0.4)])
def test_if_all_is_just_well_the_evidence_is_one_on_average_and_less_if_it_is_better(nulls: tuple[float, ...]) -> None:
    def average(better: float) -> float:
        """Sum over all outcomes, where each event is a failure with `better` times its null."""
        return sum(
            exp(evidence_of(list(zip(nulls, outcomes, strict=True))).log)
            * prod(better * null if failed else 1 - better * null for null, failed in zip(nulls, outcomes, strict=True))
            for outcomes in product((False, True), repeat=len(nulls))
        )

    assert average(1) == pytest.approx(1, abs=1e-9)
    assert average(0.9) < 1
    assert average(0) < average(0.5) < 1
    assert average(1.01) > 1


def test_where_none_is_tolerated_the_first_failure_stops() -> None:
    assert log_evidence(0, 50, above=0) == 0
    assert log_evidence(1, 50, above=0) == inf
    assert stops_on(50, above=0, alpha=1e-9) == 1
    assert stops_on(0, above=0, alpha=0.01) == 1


def test_where_all_may_fail_nothing_stops() -> None:
    assert log_evidence(50, 50, above=1) == pytest.approx(0)
    assert stops_on(50, above=1, alpha=0.5) == 51
    assert stops_within(7, above=1, alpha=0.5) == -1


@pytest.mark.parametrize("alpha", [0, 1, -0.01, 5])
def test_an_alpha_that_is_no_chance_is_a_bug_of_the_caller(alpha: float) -> None:
    with pytest.raises(AssertionError, match="probability of a false stop"):
        threshold(alpha)


def test_counts_and_shares_that_cannot_be_are_a_bug_of_the_caller() -> None:
    for failed, started in ((2, 1), (-1, 1), (1, -1)):
        with pytest.raises(AssertionError, match="failures of"):
            log_evidence(failed, started, above=0.02)
    for above in (-0.1, 2):
        with pytest.raises(AssertionError, match="a share is from 0 to 1"):
            log_evidence(0, 0, above=above)
    for null in (0, 1):
        with pytest.raises(AssertionError, match="its outcome is open"):
            Evidence().after(null=null, failed=True)
    with pytest.raises(AssertionError, match="at least one odds ratio"):
        Evidence.over(())
    with pytest.raises(AssertionError, match="no failure is tolerated"):
        stops_within(1, above=0, alpha=0.01)


def test_a_mean_of_logarithms_does_not_overflow() -> None:
    assert log_mean([1e6, 1e6 - 1, -inf]) == pytest.approx(1e6 + log((1 + exp(-1)) / 3))
