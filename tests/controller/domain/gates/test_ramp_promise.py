"""Failures exceed `risk + above * exposed` with a probability of `delta` at most: computed, not sampled."""

from collections.abc import Sequence
from typing import Final

import pytest

from tests.controller.domain.gates.ramps import Ended, Rule, ended, ramp

pytestmark = pytest.mark.no_cover

DEVICES: Final = 2_000
ABOVE: Final = 0.02
DELTA: Final = 0.01
RATES: Final = (0.005, 0.01, 0.015, 0.018, 0.02, 0.022, 0.03, 0.04, 0.05, 0.07, 0.1, 0.2, 0.4, 0.7, 1.0)
RISKS: Final = (10, 25)

RAMPS: Final = {risk: ramp(DEVICES, risk=risk, above=ABOVE, delta=DELTA) for risk in RISKS}


def at(rates: Sequence[float], *, risk: int, rule: Rule | None = None) -> Ended:
    end = ended(rule or RAMPS[risk], DEVICES, rates=rates, risk=risk, above=ABOVE)
    assert end.broken + end.held + end.done + end.lost == pytest.approx(1)
    assert end.lost < DELTA / 10
    return end


@pytest.mark.parametrize("rate", RATES)
def test_the_promise_holds_at_every_rate(rate: float) -> None:
    end = at([rate], risk=10)
    assert end.broken + end.lost <= DELTA


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_the_promise_holds_for_a_larger_budget(rate: float) -> None:
    end = at([rate], risk=25)
    assert end.broken + end.lost <= DELTA


@pytest.mark.parametrize("rates", [(0.3, 0.1, 0.05, 0.03, 0.01), (0.15, 0.15, 0.02), (0.05, 0.04, 0.03, 0.02, 0.0)])
def test_the_promise_holds_while_the_rate_falls(rates: Sequence[float]) -> None:
    end = at(rates, risk=10)
    assert end.broken + end.lost <= DELTA


def test_nothing_is_promised_to_a_rate_that_rises() -> None:
    """Two rounds without a failure pay for 743 devices; should all of them fail, that is no bet that was offered."""
    assert at([0.0, 0.0, 1.0], risk=25).broken == 1


def test_a_healthy_build_reaches_everybody() -> None:
    assert at([0.002], risk=10).done > 0.999


@pytest.mark.parametrize(("rate", "broken"), [(0.3, 0.05), (1.0, 1.0)])
def test_fixed_shares_break_the_same_limit(rate: float, broken: float) -> None:
    """As the ramp's own check of these tests: what is too fast is seen to be."""
    goals = {0: 20, 20: 100, 100: 400, 400: 1_000, 1_000: DEVICES}

    def fixed(exposed: int, failed: int, spent: int) -> int:
        return goals.get(exposed, DEVICES) - exposed

    assert at([rate], risk=10, rule=fixed).broken >= broken


def test_a_round_too_many_is_what_the_rule_of_rounds_prevents() -> None:
    assert RAMPS[25](25, 0, 14) > 0
    assert RAMPS[25](25, 0, 15) == 0
