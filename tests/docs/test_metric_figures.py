"""The figures of `docs/how-to/choose-a-gate.md` on metrics are those that the code computes."""

from collections.abc import Callable
from functools import lru_cache
from math import exp, log, log1p
from typing import Final

import pytest

from controller.domain.gates import judgement, sign
from controller.domain.gates.exact import run
from controller.domain.gates.odds import log_mean, threshold
from tests.docs.plots import FOLDER

PAIRS_MAX: Final = 1_000


def page(path: str) -> str:
    """Return a page of the documentation as one line."""
    return " ".join((FOLDER.parent / path).read_text().split())


CHOOSE: Final = page("how-to/choose-a-gate.md")


def log_evidence(worse: int, pairs: int) -> float:
    """Return what the sign test knows once the updated device was the worse one in so many pairs, in any order."""
    return log_mean([worse * log(odds) - pairs * log1p((odds - 1) / 2) for odds in sign.GRID])


def boundary(alpha: float) -> Callable[[int], int]:
    """Return how many of so many pairs stop a stage; it takes more of more pairs."""
    stops, fewest = [0], 0
    for pairs in range(1, PAIRS_MAX + 1):
        while fewest <= pairs and log_evidence(fewest, pairs) < threshold(alpha):
            fewest += 1
        stops.append(fewest)
    return stops.__getitem__


@lru_cache
def median(share: float, alpha: float) -> int | None:
    """Return within how many pairs half of all stages are stopped where this share of the updated devices is worse."""
    return run(boundary(alpha), rate=share, devices=PAIRS_MAX).median


def test_the_evidence_by_counts_is_that_of_the_pairs_one_by_one() -> None:
    evidence = sign.START
    for treated in (2.0, 0.5, 2.0, 2.0):
        evidence = sign.after_pair(evidence, treated=treated, control=1.0)
    assert log_evidence(3, 4) == pytest.approx(evidence.log)


@pytest.mark.parametrize("alpha", [0.01, 0.0025])
def test_how_many_pairs_it_takes_until_a_stage_stops(alpha: float) -> None:
    found = [median(share, alpha) for share in (0.6, 0.75, 0.9, 1.0)]
    assert f"| {100 * alpha:g}% | {' | '.join(map(str, found))} |" in CHOOSE


def test_what_a_small_shift_takes_is_told_the_same_everywhere() -> None:
    assert f"of pairs, it takes {median(0.6, 0.01)} of them at alpha 1 %" in page("reference/gates.md")
    told = f"{median(0.75, 0.01)} until half of all stages stop, at alpha 1 %"
    assert told in page("adr/0017-numbers-are-compared-in-pairs.md")


def test_what_the_pairs_of_a_small_share_show() -> None:
    seen = [run(boundary(alpha), rate=0.75, devices=50).stopped for alpha in (0.01, 0.0025)]
    assert [round(share, 1) for share in seen] == [0.7, 0.5]
    assert run(boundary(0.0025), rate=0.9, devices=50).stopped > 0.99
    assert (
        "5% are 50 pairs, which show a build that is worse in 75% of them half of the time, and in 90% nearly" in CHOOSE
    )
    assert median(0.6, 0.0025) == pytest.approx(1_000 / 3, abs=10)
    assert "for 60% it takes a third of the devices" in CHOOSE


def test_how_many_worse_ones_in_a_row_stop_a_stage() -> None:
    assert median(1.0, 0.01) == 10
    assert "ten heads in a row stop a stage at an alpha of 1 %" in page("explanation/gates.md")


@pytest.mark.parametrize(
    ("path", "worse", "pairs", "alpha"),
    [("how-to/choose-a-gate.md", 30, 40, 0.002), ("how-to/follow-a-run.md", 13, 13, 0.0025)],
)
def test_the_lines_that_are_shown_are_those_that_are_printed(path: str, worse: int, pairs: int, alpha: float) -> None:
    evidence = judgement.shown(exp(log_evidence(worse, pairs)))
    assert f"each beside one held back; evidence {evidence} of {judgement.shown(1 / alpha)}" in page(path)


def test_how_often_a_build_that_is_no_worse_is_stopped() -> None:
    stopped = run(boundary(0.01), rate=0.5, devices=PAIRS_MAX).stopped
    assert stopped < 0.01
    assert f"in {100 * stopped:.1g}% of runs within 1,000 pairs at an alpha of 1%" in CHOOSE
