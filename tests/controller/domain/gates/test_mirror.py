"""Evidence of safety: who is silent counts as failed, and the best prefix is found in one pass."""

from fractions import Fraction
from math import exp, inf, log

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.gates.mirror import GRID, Outcome, Prefix, best_prefix, log_safety, passes_after
from controller.domain.gates.odds import threshold

OK, FAILED, UNRESOLVED = Outcome.OK, Outcome.FAILED, Outcome.UNRESOLVED
outcomes = st.lists(st.sampled_from(list(Outcome)), max_size=150)
shares = st.floats(0.001, 0.999)


@pytest.mark.parametrize(("failed", "counted"), [(0, 70), (1, 130), (2, 175), (5, 285)])
def test_it_passes_after_as_many_devices_as_the_table_says(failed: int, counted: int) -> None:
    assert passes_after(failed, below=0.05, beta=0.05) == counted
    assert log_safety(failed, counted - 1, below=0.05) < threshold(0.05) <= log_safety(failed, counted, below=0.05)


@pytest.mark.parametrize("below", [Fraction(1, 50), Fraction(1, 3), Fraction(99, 100)])
@pytest.mark.parametrize(("failed", "counted"), [(0, 0), (0, 9), (1, 1), (3, 10), (10, 10), (20, 100)])
def test_the_closed_form_is_the_mean_of_likelihood_ratios(failed: int, counted: int, below: Fraction) -> None:
    terms = [Fraction(odds) ** failed / (1 + (Fraction(odds) - 1) * below) ** counted for odds in GRID]
    expected = log(Fraction(sum(terms), len(GRID)))
    assert log_safety(failed, counted, below=float(below)) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.integers(0, 3_000).flatmap(lambda counted: st.tuples(st.integers(0, counted), st.just(counted))), shares)
def test_a_device_that_is_well_adds_safety_and_a_failure_takes_some(count: tuple[int, int], below: float) -> None:
    failed, counted = count
    here = log_safety(failed, counted, below=below)
    assert log_safety(failed, counted + 1, below=below) >= here
    assert log_safety(failed + 1, counted + 1, below=below) <= here


@pytest.mark.parametrize("below", [0.02, 0.5])
def test_if_failures_are_just_too_many_the_safety_is_one_on_average(below: float) -> None:
    def average(rate: float, failed: int = 0, counted: int = 0) -> float:
        if counted == 9:
            return exp(log_safety(failed, counted, below=below))
        return rate * average(rate, failed + 1, counted + 1) + (1 - rate) * average(rate, failed, counted + 1)

    assert average(below) == pytest.approx(1, abs=1e-9)
    assert average(below * 1.5) < 1 < average(below / 2)


def test_the_edges_are_defined() -> None:
    assert log_safety(0, 0, below=1) == 0
    assert log_safety(3, 4, below=1) == inf
    assert log_safety(4, 4, below=1) == pytest.approx(log(7 / 8))
    assert log_safety(4, 9, below=0) < log_safety(0, 9, below=0) == 0


@given(outcomes, shares)
def test_one_pass_finds_the_best_of_all_prefixes(devices: list[Outcome], below: float) -> None:
    bad = [sum(outcome is not OK for outcome in devices[:counted]) for counted in range(len(devices) + 1)]
    expected = max(log_safety(failed, counted, below=below) for counted, failed in enumerate(bad))
    found = best_prefix(iter(devices), below=below)
    assert found.log == expected
    assert found == Prefix() or found.failed == bad[found.counted]


@given(outcomes)
def test_the_silent_count_as_failed(devices: list[Outcome]) -> None:
    spoken = [FAILED if outcome is UNRESOLVED else outcome for outcome in devices]
    assert best_prefix(devices, below=0.05) == best_prefix(spoken, below=0.05)


def test_a_build_that_fails_in_silence_never_passes() -> None:
    """Each tenth device is bricked and says nothing: by those that report, the build is without fault."""
    devices = [UNRESOLVED if at % 10 == 9 else OK for at in range(1_000)]
    assert best_prefix(devices, below=0.05).log < threshold(0.05)
    assert log_safety(0, 900, below=0.05) > threshold(1e-9)


def test_what_is_not_yet_judged_takes_nothing_from_what_is() -> None:
    assert best_prefix([OK] * 70 + [UNRESOLVED] * 10_000, below=0.05) == best_prefix([OK] * 70, below=0.05)
    assert best_prefix([], below=0.05) == best_prefix([FAILED], below=0.05) == Prefix()


def test_what_cannot_be_is_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="2 failures of 1 devices"):
        log_safety(2, 1, below=0.05)
    with pytest.raises(AssertionError, match="a share is from 0 to 1"):
        log_safety(0, 0, below=1.1)
    for below in (0, 1):
        with pytest.raises(AssertionError, match="above 0 and below 1"):
            passes_after(0, below=below, beta=0.05)
