"""Crashes beside a control group: no order of strata, and no time to look, makes a good build look bad."""

from functools import lru_cache
from math import exp, log

import pytest

from controller.domain.gates.logrank import Crash, after_crash, evidence_of
from controller.domain.gates.odds import Evidence, threshold

Strata = tuple[tuple[int, int], ...]
"""Of each stratum the treated and the control devices still at risk."""


def best_reachable(strata: Strata, *, ratio: float, tolerated: float = 1.0) -> float:
    """Return the highest expected evidence of one who stops when it suits, and says which stratum crashes next.

    *ratio* is the true ratio of hazards within each stratum; every course of events is enumerated.
    """

    @lru_cache(None)
    def value(now: Strata, evidence: Evidence) -> float:
        later = [continued(now, evidence, index) for index, stratum in enumerate(now) if all(stratum)]
        return max([exp(evidence.log), *later])

    def continued(now: Strata, evidence: Evidence, index: int) -> float:
        treated, control = now[index]
        chance = ratio * treated / (ratio * treated + control)
        expected = 0.0
        for is_treated, share in ((True, chance), (False, 1 - chance)):
            crash = Crash(is_treated=is_treated, treated=treated, control=control)
            left = (treated - is_treated, control - (not is_treated))
            after = after_crash(evidence, crash, tolerated=tolerated)
            expected += share * value((*now[:index], left, *now[index + 1 :]), after)
        return expected

    return value(strata, Evidence())


@pytest.mark.parametrize("strata", [((2, 1), (1, 3)), ((4, 1), (1, 2)), ((5, 4),), ((2, 2), (1, 1), (1, 2))], ids=str)
@pytest.mark.parametrize("tolerated", [1.0, 2.0])
def test_no_stopping_rule_makes_a_build_that_is_no_worse_look_bad_on_average(strata: Strata, tolerated: float) -> None:
    assert best_reachable(strata, ratio=tolerated, tolerated=tolerated) == pytest.approx(1, abs=1e-9)
    assert best_reachable(strata, ratio=tolerated / 3, tolerated=tolerated) <= 1 + 1e-9
    assert best_reachable(strata, ratio=tolerated * 3, tolerated=tolerated) > 1.05


def pooled(first: tuple[int, int], second: tuple[int, int], *, hazard: float) -> float:
    """Return the expected evidence of one crash where two models are pooled, and one crashes *hazard* times more."""
    weights = (hazard * first[0], hazard * first[1], second[0], second[1])
    treated, control = first[0] + second[0], first[1] + second[1]
    chance = (weights[0] + weights[2]) / sum(weights)
    crashes = [Crash(is_treated=is_treated, treated=treated, control=control) for is_treated in (True, False)]
    found = [exp(after_crash(Evidence(), crash).log) for crash in crashes]
    return chance * found[0] + (1 - chance) * found[1]


def test_pooling_models_would_blame_a_build_for_going_to_the_model_that_crashes_anyway() -> None:
    assert pooled((90, 10), (10, 90), hazard=1) == pytest.approx(1)
    assert pooled((90, 10), (10, 90), hazard=10) > 1.4


def test_all_strata_add_to_one_evidence() -> None:
    crashes = [Crash(is_treated=True, treated=10, control=10), Crash(is_treated=False, treated=3, control=30)]
    expected = Evidence().after(null=0.5, failed=True).after(null=1 / 11, failed=False)
    assert evidence_of(crashes) == expected
    assert evidence_of([]) == Evidence()


def test_a_tolerated_ratio_weighs_the_treated() -> None:
    crash = Crash(is_treated=True, treated=10, control=20)
    assert after_crash(Evidence(), crash, tolerated=2) == Evidence().after(null=0.5, failed=True)


@pytest.mark.parametrize(("treated", "control", "is_treated"), [(5, 0, True), (0, 5, False)])
def test_with_nobody_to_compare_with_nothing_is_learnt(treated: int, control: int, is_treated: bool) -> None:
    crash = Crash(is_treated=is_treated, treated=treated, control=control)
    assert evidence_of([crash]) == Evidence()


def test_an_outage_that_strikes_all_alike_stops_nothing() -> None:
    """Every device of both groups crashes, in turn."""
    crashes = [Crash(is_treated=at % 2 == 0, treated=100 - (at + 1) // 2, control=100 - at // 2) for at in range(200)]
    ends = [evidence_of(crashes[:length]).log for length in range(0, 201, 10)]
    assert max(ends) < 1 < threshold(0.01)


def test_a_build_that_alone_crashes_is_stopped_after_a_few() -> None:
    crashes = [Crash(is_treated=True, treated=100 - at, control=100) for at in range(10)]
    stops = next(length for length in range(11) if evidence_of(crashes[:length]).log >= threshold(0.01))
    assert stops == 8
    assert evidence_of(crashes[:8]).log == pytest.approx(log(113.9), abs=0.5)


@pytest.mark.parametrize(
    ("treated", "control", "is_treated", "tolerated"),
    [(0, 5, True, 1), (5, 0, False, 1), (-1, 5, False, 1), (5, 5, True, 0)],
)
def test_what_cannot_be_is_a_bug_of_the_caller(treated: int, control: int, is_treated: bool, tolerated: float) -> None:
    with pytest.raises(AssertionError, match=r"at risk|ratio of hazards"):
        after_crash(Evidence(), Crash(is_treated=is_treated, treated=treated, control=control), tolerated=tolerated)
