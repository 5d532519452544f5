"""The figures of `docs/explanation/gates.md` are those that the code computes."""

import math
from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate
from typing import Final

import pytest

from controller.domain.gates import judgement, odds, peers
from controller.domain.gates.exact import Boundary, Crossing, run
from tests.docs.plots import FOLDER

PAGE: Final = " ".join((FOLDER / "gates.md").read_text().split())
ABOVE: Final = 0.02


@lru_cache
def gate(alpha: float) -> Boundary:
    rungs = odds.ladder(10_000, above=ABOVE, alpha=alpha)
    return lambda started: bisect_left(rungs, started)


def crossing(alpha: float, rate: float) -> Crossing:
    return run(gate(alpha), rate=rate, devices=10_000)


def significant(begun: int, *, level: float) -> int:
    """Return the fewest failures that an ordinary one-sided test of the rate calls significant."""
    chances = (math.comb(begun, k) * ABOVE**k * (1 - ABOVE) ** (begun - k) for k in range(begun + 1))
    return next((k + 1 for k, below in enumerate(accumulate(chances)) if 1 - below <= level), begun + 1)


@pytest.mark.parametrize(("failed", "shown"), [(0, "0.31"), (1, "1.2"), (2, "7.9"), (3, "103")])
def test_the_evidence_of_ten_devices(failed: int, shown: str) -> None:
    evidence = math.exp(odds.log_evidence(failed, 10, above=ABOVE))
    assert judgement.shown(evidence) == shown
    assert f"| {failed} | {shown} |" in PAGE


def test_within_how_many_devices_it_stops() -> None:
    assert odds.ladder(20, above=ABOVE, alpha=0.01)[2:] == (3, 10, 20)
    assert "with two failures within 3 devices, with three within 10, with four within 20" in PAGE


def test_an_ordinary_test_that_is_asked_again_and_again_stops_too_often() -> None:
    asked = [0, *(significant(begun, level=0.01) for begun in range(1, 1_001))]
    stopped = run(lambda begun: asked[begun], rate=ABOVE, devices=1_000).stopped
    assert f"stops {100 * stopped:.1f} of 100 builds" in PAGE


def test_how_often_good_builds_are_stopped() -> None:
    tolerated, good = crossing(0.01, 0.02).stopped, crossing(0.01, 0.01).stopped
    assert f"fail in 2 % of cases {100 * tolerated:.2g} % are stopped" in PAGE
    assert f"fail in 1 %, {100 * good:.2g} %: one of {round(1 / good, -2):,.0f}" in PAGE


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
def test_what_another_alpha_costs(alpha: float) -> None:
    medians = [str(crossing(alpha, rate).median) for rate in (0.05, 0.1, 0.3, 1)]
    assert f"| {100 * alpha:g} % | {' | '.join(medians)} |" in PAGE


def test_what_fixed_limits_let_through_and_stop() -> None:
    let = 1 - run(peers.aws(10, minimum=100), rate=0.05, devices=10_000).stopped
    stopped = run(peers.aws(5, minimum=50), rate=ABOVE, devices=10_000).stopped
    assert f"lets {100 * let:.0f} of 100 builds through that fail in 5 % of cases" in PAGE
    assert f"namely {100 * stopped:.3g} of 100 at 2 %" in PAGE


def test_what_the_gate_of_a_model_spares() -> None:
    share, bad, good = 0.03, 0.6, 0.01
    overall = share * bad + (1 - share) * good
    together, alone = crossing(0.005, overall).median, crossing(0.005 / 10, bad).median
    assert together is not None
    assert f"Over all that is {100 * overall:.2g} %" in PAGE
    assert (round(together, -3), round(share * together, -1), round(share * bad * together, -1)) == (5_000, 150, 90)
    assert alone == 6
    assert "needs about 5,000 of them to be sure. By then 150 devices of that model have had the build, and 90" in PAGE
    assert "on the sixth device of the model" in PAGE
