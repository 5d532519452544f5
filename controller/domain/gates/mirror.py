"""Evidence that few enough fail: the mirror image of `odds`, for letting a rollout go on.

The rules it keeps:

1. A build whose devices each fail with a probability of at least `below`, given what went before, ever shows a safety
   of 1 / beta with a probability of at most beta, over all prefixes of the devices and all times of looking.
2. Whoever is silent counts as failed. A device that reports late only ever adds to the safety, so nothing is gained by
   builds that fail in silence.

Each point t of the grid, an odds ratio below 1, bets that the odds of a failure are t times those of `below`; the
safety after k failures of n devices is the mean of t^k / (1 + (t - 1) below)^n. The order of the devices is fixed
before any outcome is known; then any prefix of them may be judged, and so the best one.

Sources: those of `odds`.

>>> [passes_after(failed, below=0.05, beta=0.05) for failed in (0, 1, 2, 5)]
[70, 130, 175, 285]
"""

from bisect import bisect_left
from collections.abc import Iterable
from enum import StrEnum
from itertools import groupby
from math import ceil, inf, log, log1p
from typing import Final

import msgspec

from controller.domain.gates.odds import log_mean, threshold

GRID: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
"""Odds ratios: from a build that never fails to one that fails a little less often than it may."""

_POINTS: Final = tuple((log(odds), odds - 1) for odds in GRID if odds)


class Outcome(StrEnum):
    """What is known of a device: well is final, so that a device in its soak is unresolved yet.

    A silent one is unresolved until its deadline, and failed after it.
    """

    OK = "ok"
    FAILED = "failed"
    UNRESOLVED = "unresolved"


class Prefix(msgspec.Struct, frozen=True):
    """The first devices in their fixed order, and how safe the build looks by them."""

    counted: int = 0
    failed: int = 0
    """Those that failed or are unresolved."""
    log: float = 0.0
    """The natural logarithm of the safety; a pass at `threshold` of beta keeps the promise."""


def log_safety(failed: int, counted: int, *, below: float) -> float:
    """Return the natural logarithm of the evidence that devices fail less often than *below*.

    Args:
        failed: how many devices failed, or may have: 0 to *counted*.
        counted: how many devices are looked at.
        below: the share of failures that would be too many, 0 to 1. Success where none can be is infinite evidence.

    Raises:
        AssertionError: if the counts or the share are none.

    >>> log_safety(0, 0, below=0.05)
    0.0
    >>> round(log_safety(0, 70, below=0.05), 3), round(log_safety(1, 70, below=0.05), 3)
    (3.005, 0.734)
    """
    assert 0 <= failed <= counted, f"{failed} failures of {counted} devices"
    assert 0 <= below <= 1, f"a share is from 0 to 1, not {below}"
    if counted == 0:
        return 0.0
    if below == 1 and failed < counted:
        return inf
    faultless = -inf if failed else -counted * log1p(-below)
    return log_mean([faultless, *(failed * ratio - counted * log1p(extra * below) for ratio, extra in _POINTS)])


def passes_after(failed: int, *, below: float, beta: float) -> int:
    """Return the smallest number of counted devices that lets a rollout go on with so many failures.

    Args:
        failed: how many devices failed, or may have; 0 or more.
        below: the share of failures that would be too many, above 0 and below 1.
        beta: the probability of letting a build pass that is so bad, above 0 and below 1.

    Raises:
        AssertionError: if an argument is outside its range.
    """
    assert 0 < below < 1, f"the share that would be too many is above 0 and below 1, not {below}"
    goal = threshold(beta) + log(len(GRID))
    enough = min((goal - failed * ratio) / -log1p(extra * below) for ratio, extra in _POINTS)
    counts = range(failed, max(failed, ceil(enough)) + 2)
    return failed + bisect_left(
        counts, True, key=lambda counted: log_safety(failed, counted, below=below) >= threshold(beta)
    )


def best_prefix(outcomes: Iterable[Outcome], *, below: float) -> Prefix:
    """Return the prefix of the devices that shows the largest safety; the empty one where none shows any.

    One pass. Only where a row of devices that are well ends can the safety be largest.

    Args:
        outcomes: what is known of each device, in the order that was fixed before any of them began.
        below: the share of failures that would be too many, 0 to 1.

    >>> best_prefix([Outcome.OK] * 70 + [Outcome.UNRESOLVED] * 30, below=0.05).counted
    70
    """
    best, counted, failed = Prefix(), 0, 0
    for is_ok, row in groupby(outcomes, key=Outcome.OK.__eq__):
        length = sum(1 for _ in row)
        counted += length
        if not is_ok:
            failed += length
        elif (safety := log_safety(failed, counted, below=below)) > best.log:
            best = Prefix(counted=counted, failed=failed, log=safety)
    return best
