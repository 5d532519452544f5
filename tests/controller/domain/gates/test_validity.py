"""The promise of every setting that is shipped, exactly; and that no delay of reports breaks it."""

from bisect import bisect_left
from itertools import accumulate
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.gates import mirror
from controller.domain.gates.exact import Boundary, run
from controller.domain.gates.odds import ladder, log_evidence

ABOVE = (0.005, 0.01, 0.02, 0.05)
ALPHA = (0.001, 0.002, 0.005, 0.01, 0.05)
DEVICES = 20_000


def boundary(above: float, alpha: float, devices: int = DEVICES) -> Boundary:
    rungs = ladder(devices, above=above, alpha=alpha)
    return lambda started: bisect_left(rungs, started)


@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("above", ABOVE)
def test_a_build_as_good_as_tolerated_is_ever_stopped_with_a_chance_of_at_most_alpha(
    above: float, alpha: float
) -> None:
    edge = run(boundary(above, alpha), rate=above, devices=DEVICES)
    better = run(boundary(above, alpha), rate=above / 2, devices=DEVICES)
    assert 0.3 * alpha < edge.stopped + edge.lost <= alpha
    assert better.stopped + better.lost < 0.2 * alpha
    assert max(edge.lost, better.lost) < 1e-12


@pytest.mark.parametrize("beta", [0.01, 0.05])
@pytest.mark.parametrize("below", [0.02, 0.05, 0.1])
def test_a_build_that_is_too_bad_ever_passes_with_a_chance_of_at_most_beta(below: float, beta: float) -> None:
    needed = [mirror.passes_after(failed, below=below, beta=beta) for failed in range(200)]

    def successes_that_pass(counted: int) -> int:
        return counted + 1 - (bisect_left(needed, counted + 1) or 0) if counted >= needed[0] else counted + 1

    devices = needed[-1]
    bad = run(successes_that_pass, rate=1 - below, devices=devices)
    good = run(successes_that_pass, rate=1 - below / 5, devices=devices)
    assert 0.3 * beta < bad.stopped + bad.lost <= beta
    assert good.stopped > 0.99


outcomes = st.lists(st.tuples(st.booleans(), st.none() | st.integers(0, 60)), max_size=80)
"""Of each device whether it fails, and after how many later starts that is known; None: never."""


def shown(devices: list[tuple[bool, int | None]], *, counts_silent: bool = True) -> float:
    """Return the largest evidence against 2 % that is ever seen, when reports come late and in any order."""
    largest = 0.0
    for now in range(len(devices) + 61):
        begun = devices[: now + 1]
        known = [failed for at, (failed, delay) in enumerate(begun) if delay is not None and at + delay <= now]
        started = len(begun) if counts_silent else len(known)
        largest = max(largest, log_evidence(sum(known), started, above=0.02))
    return largest


def undelayed(devices: list[tuple[bool, int | None]]) -> float:
    """Return the largest evidence that the same devices show when each reports before the next one begins."""
    failures = accumulate(failed for failed, _ in devices)
    return max((log_evidence(failed, n, above=0.02) for n, failed in enumerate(failures, 1)), default=0.0)


@given(outcomes)
def test_late_lost_and_reordered_reports_never_show_more_evidence(devices: list[tuple[bool, int | None]]) -> None:
    assert shown(devices) <= max(0.0, undelayed(devices)) + 1e-9


@given(st.lists(st.booleans(), max_size=80))
def test_failures_at_once_and_successes_never_is_no_more_evidence(failures: list[bool]) -> None:
    worst = [(failed, 0 if failed else None) for failed in failures]
    assert shown(worst) <= max(0.0, undelayed(worst)) + 1e-9


def test_counting_only_devices_that_have_reported_would_break_the_promise() -> None:
    """The soak: 4 of 100 devices fail at once, all others are silent for an hour."""
    soaking = [(at % 25 == 24, 0 if at % 25 == 24 else None) for at in range(100)]
    assert shown(soaking, counts_silent=False) > 10
    assert shown(soaking) < 1


known = st.lists(st.sampled_from(list(mirror.Outcome)), max_size=120)


@given(known, st.randoms(use_true_random=False))
def test_a_report_that_comes_in_never_shows_that_one_was_too_trusting(
    devices: list[mirror.Outcome], chance: Random
) -> None:
    later = [
        chance.choice(list(mirror.Outcome)) if outcome is mirror.Outcome.UNRESOLVED else outcome for outcome in devices
    ]
    before = mirror.best_prefix(devices, below=0.05)
    assert mirror.best_prefix(later, below=0.05).log >= before.log
