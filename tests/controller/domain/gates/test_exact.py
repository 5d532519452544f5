"""Exact chances of a stop, against enumeration; and the published comparison of rules, made by our own code."""

from bisect import bisect_left
from collections.abc import Mapping
from itertools import product
from math import prod
from typing import Final

import hypothesis.strategies as st
import pytest
from hypothesis import given

from controller.domain.gates import peers
from controller.domain.gates.exact import Boundary, Crossing, run
from controller.domain.gates.odds import ladder

DEVICES: Final = 10_000


def odds(above: float, alpha: float) -> Boundary:
    rungs = ladder(DEVICES, above=above, alpha=alpha)
    return lambda started: bisect_left(rungs, started)


RULES: Final[Mapping[str, Boundary]] = {
    "odds 2 % at 1 %": odds(0.02, 0.01),
    "odds 2 % at 5 %": odds(0.02, 0.05),
    "odds 1 % at 1 %": odds(0.01, 0.01),
    "SPRT 2 % v 5 %": peers.sprt(0.02, against=0.05, alpha=0.01),
    "SPRT 2 % v 10 %": peers.sprt(0.02, against=0.1, alpha=0.01),
    "SPRT 2 % v 30 %": peers.sprt(0.02, against=0.3, alpha=0.01),
    "budget 4 + 2 %": peers.budget(4, share=0.02),
    "AWS 10 % of 10": peers.aws(10, minimum=10),
    "AWS 10 % of 100": peers.aws(10, minimum=100),
    "AWS 5 % of 50": peers.aws(5, minimum=50),
    "AWS 5 % of 100": peers.aws(5, minimum=100),
    "AWS 3 % of 500": peers.aws(3, minimum=500),
}
TABLE: Final = [
    # rule, true rate, chance of a stop, its tolerance, median of devices
    ("odds 2 % at 1 %", 0.01, 0.00044, 0.000005, None),
    ("odds 2 % at 1 %", 0.02, 0.0054, 0.00005, None),
    ("odds 2 % at 1 %", 0.03, 0.994, 0.0005, 2701),
    ("odds 2 % at 1 %", 0.05, 1, 1e-9, 336),
    ("odds 2 % at 1 %", 0.1, 1, 1e-9, 63),
    ("odds 2 % at 1 %", 0.3, 1, 1e-9, 9),
    ("odds 2 % at 1 %", 1.0, 1, 1e-9, 2),
    ("odds 2 % at 5 %", 0.01, 0.0021, 0.00005, None),
    ("odds 2 % at 5 %", 0.02, 0.023, 0.0005, None),
    ("odds 2 % at 5 %", 0.05, 1, 1e-9, 225),
    ("odds 2 % at 5 %", 0.1, 1, 1e-9, 42),
    ("odds 1 % at 1 %", 0.01, 0.0050, 0.00005, None),
    ("odds 1 % at 1 %", 0.03, 1, 1e-9, 403),
    ("odds 1 % at 1 %", 0.05, 1, 1e-9, 126),
    ("odds 1 % at 1 %", 0.1, 1, 1e-9, 35),
    ("SPRT 2 % v 5 %", 0.02, 0.0074, 0.00005, None),
    ("SPRT 2 % v 5 %", 0.03, 0.38, 0.005, None),
    ("SPRT 2 % v 5 %", 0.05, 1, 1e-4, 243),
    ("SPRT 2 % v 10 %", 0.05, 0.87, 0.005, 422),
    ("SPRT 2 % v 10 %", 0.1, 1, 1e-4, 49),
    ("SPRT 2 % v 30 %", 0.1, 0.67, 0.005, 139),
    ("budget 4 + 2 %", 0.02, 0.76, 0.005, 2028),
    ("budget 4 + 2 %", 0.05, 1, 1e-9, 129),
    ("AWS 10 % of 10", 0.01, 0.016, 0.0005, None),
    ("AWS 10 % of 10", 0.05, 0.32, 0.005, None),
    ("AWS 10 % of 10", 0.1, 0.98, 0.005, 17),
    ("AWS 10 % of 100", 0.05, 0.029, 0.0005, None),
    ("AWS 10 % of 100", 0.1, 0.96, 0.005, 107),
    ("AWS 5 % of 50", 0.01, 0.024, 0.0005, None),
    ("AWS 5 % of 50", 0.05, 0.97, 0.005, 54),
    ("AWS 5 % of 100", 0.02, 0.042, 0.0005, None),
    ("AWS 5 % of 100", 0.05, 0.96, 0.005, 114),
    ("AWS 3 % of 500", 0.02, 0.114, 0.0005, None),
    ("AWS 3 % of 500", 0.03, 0.92, 0.005, 522),
]


@pytest.mark.parametrize(("rule", "rate", "stopped", "within", "median"), TABLE)
def test_the_published_comparison_is_what_our_code_finds(
    rule: str, rate: float, stopped: float, within: float, median: int | None
) -> None:
    found = run(RULES[rule], rate=rate, devices=DEVICES)
    assert found.stopped == pytest.approx(stopped, abs=within)
    assert found.median == median
    assert found.lost < 1e-12


boundaries = st.lists(st.integers(0, 9), min_size=1, max_size=8)
"""Of 1, 2, … devices the failures that stop: in no order, as a rule with a smallest sample has none."""


@given(boundaries, st.sampled_from([0.0, 0.02, 0.3, 0.5, 1.0]), st.none() | st.integers(1, 9))
def test_it_is_what_enumerating_all_outcomes_gives(limits: list[int], rate: float, restart_every: int | None) -> None:
    stops = [0.0] * (len(limits) + 1)
    for outcomes in product((0, 1), repeat=len(limits)):
        chance = prod(rate if failed else 1 - rate for failed in outcomes)
        if at := stopped_at(outcomes, limits, restart_every or len(limits)):
            stops[at] += chance
    found = run(lambda started: limits[started - 1], rate=rate, devices=len(limits), restart_every=restart_every)
    assert found.stopped == pytest.approx(sum(stops), abs=1e-12)
    half = [device for device in range(len(stops)) if sum(stops[: device + 1]) >= 0.5]
    assert found.median in ({half[0]} if half else {None}) or sum(stops) == pytest.approx(0.5)


def stopped_at(outcomes: tuple[int, ...], limits: list[int], restart_every: int) -> int | None:
    """Return the device at which a rollout with these outcomes is stopped."""
    failed = 0
    for at, outcome in enumerate(outcomes):
        failed = outcome if at % restart_every == 0 else failed + outcome
        if failed >= limits[at % restart_every]:
            return at + 1
    return None


def test_what_is_dropped_is_told() -> None:
    found = run(lambda started: started, rate=1e-3, devices=50)
    assert 0 < found.lost < 1e-15
    certain = run(lambda _started: 1, rate=1.0, devices=DEVICES)
    assert certain == Crossing(stopped=1.0, median=1, lost=0.0)


def test_groups_that_count_anew_are_stopped_as_independent_trials() -> None:
    one = run(peers.hawkbit(10, group=50), rate=0.06, devices=50)
    ten = run(peers.hawkbit(10, group=50), rate=0.06, devices=500, restart_every=50)
    assert ten.stopped == pytest.approx(1 - (1 - one.stopped) ** 10, abs=1e-12)


def test_peers_stop_where_their_documents_say() -> None:
    aws = peers.aws(12.5, minimum=8)
    assert [aws(started) for started in (1, 7, 8, 15, 16)] == [2, 8, 2, 2, 3]
    assert peers.hawkbit(50, group=7)(1) == 4
    assert [peers.budget(4, share=0.02)(started) for started in (1, 50, 51, 100)] == [5, 5, 6, 6]
    wald = peers.sprt(0.02, against=0.3, alpha=0.01)
    assert [wald(started) for started in (2, 11, 12)] == [2, 3, 3]


def test_what_cannot_be_is_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="a rate is a share"):
        run(lambda started: started, rate=1.1, devices=1)
    with pytest.raises(AssertionError, match="a rollout has devices"):
        run(lambda started: started, rate=0.1, devices=0)
