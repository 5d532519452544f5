"""Evidence that too many fail, which may be looked at at any time: a mixture over a grid of odds ratios.

The rules it keeps:

1. A build whose devices each fail with a probability of at most `above`, given what went before, is ever stopped with
   a probability of at most `alpha`: however often one looks, and whenever the rollout ends (Ville's inequality).
2. That also holds when reports are late, lost or reordered, even by how devices fare, as long as *started* counts every
   device that has begun and *failed* those of them known to have failed: the evidence grows with the failures, so it
   never exceeds what the same devices would have shown without delay.
3. More failures among as many devices are never less evidence; more devices with as many failures never more.

Each point t of the grid bets that the odds of a failure are t times those of `above`. After k failures of n devices its
likelihood ratio is t^k / (1 + (t - 1) above)^n; the evidence is the plain mean of these, and costs at most ln 12
against the point that happens to be best. A rollout stops where the evidence reaches 1 / alpha.

Sources: Wald, Sequential Analysis (1947), for one point; Ville, Étude critique de la notion de collectif (1939);
Ramdas, Grünwald, Vovk and Shafer, Game-theoretic statistics and safe anytime-valid inference (2023), for mixtures.

>>> [stops_on(started, above=0.02, alpha=0.01) for started in (2, 10, 20, 33, 49, 87, 130, 396)]
[2, 3, 4, 5, 6, 8, 10, 20]
>>> round(log_evidence(3, 10, above=0.02), 3), round(threshold(0.01), 3)
(4.639, 4.605)
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil, exp, floor, fsum, inf, log, log1p
from typing import Final, Self

import msgspec

GRID: Final = (1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0, 22.0, 35.0, 60.0, 120.0, 400.0)
"""Odds ratios: from a rate half again as high as the tolerated one to a build that fails nearly everywhere."""

_POINTS: Final = tuple((log(odds), odds - 1) for odds in GRID)


def log_evidence(failed: int, started: int, *, above: float) -> float:
    """Return the natural logarithm of the evidence that devices fail more often than *above*.

    It is right to about 1e-15 times *started*.

    Args:
        failed: how many devices are known to have failed, 0 to *started*.
        started: how many devices have begun.
        above: the share of failures that is tolerated, 0 to 1. A failure where none is tolerated is infinite evidence.

    Raises:
        AssertionError: if the counts or the share are none.

    >>> log_evidence(0, 0, above=0.02)
    0.0
    >>> round(log_evidence(2, 2, above=0.02), 4)
    6.0158
    """
    assert 0 <= failed <= started, f"{failed} failures of {started} started devices"
    assert 0 <= above <= 1, f"a share is from 0 to 1, not {above}"
    if above == 0 and failed:
        return inf
    return log_mean([failed * ratio - started * log1p(extra * above) for ratio, extra in _POINTS])


def threshold(alpha: float) -> float:
    """Return the logarithm of evidence at which to stop: ln(1 / alpha), by Ville's inequality.

    Args:
        alpha: the probability with which a build as good as tolerated may be stopped, above 0 and below 1.

    Raises:
        AssertionError: if alpha is no such probability.
    """
    assert 0 < alpha < 1, f"the probability of a false stop is above 0 and below 1, not {alpha}"
    return -log(alpha)


def stops_on(started: int, *, above: float, alpha: float) -> int:
    """Return the smallest number of failures that stops among so many started devices; `started + 1` if none does.

    The evidence is at most its best term and at least a twelfth of it, which leaves a few numbers to try.

    Args:
        started: how many devices have begun.
        above: the share of failures that is tolerated, 0 to 1.
        alpha: the probability of a false stop, above 0 and below 1.

    Raises:
        AssertionError: if an argument is outside its range.

    >>> stops_on(1_000_000, above=0.02, alpha=0.01)
    24559
    >>> stops_on(1, above=0.5, alpha=0.01)
    2
    """
    goal = threshold(alpha)
    if above == 0:
        return 1
    fewest, enough = (
        min((needed + started * log1p(extra * above)) / ratio for ratio, extra in _POINTS)
        for needed in (goal, goal + log(len(GRID)))
    )
    low, high = (min(max(0, bound), started + 1) for bound in (floor(fewest) - 1, ceil(enough) + 1))
    return low + bisect_left(
        range(low, high), True, key=lambda failed: log_evidence(failed, started, above=above) >= goal
    )


def stops_within(failed: int, *, above: float, alpha: float) -> int:
    """Return the largest number of started devices among which so many failures stop; -1 if there is none.

    The read-out of a gate as a short table: `stops_on` is the first number of failures that reaches so far.

    Args:
        failed: how many devices are known to have failed, 0 or more.
        above: the share of failures that is tolerated, above 0 and at most 1; at 0 there is no largest number.
        alpha: the probability of a false stop, above 0 and below 1.

    Raises:
        AssertionError: if an argument is outside its range.

    >>> [stops_within(failed, above=0.02, alpha=0.01) for failed in (1, 2, 3, 4, 5, 6, 8, 10, 20)]
    [-1, 3, 10, 20, 33, 49, 87, 130, 396]
    """
    assert above > 0, "where no failure is tolerated, one stops among any number of devices"
    goal = threshold(alpha)
    least, most = (
        max((failed * ratio - needed) / log1p(extra * above) for ratio, extra in _POINTS)
        for needed in (goal + log(len(GRID)), goal)
    )
    low, high = max(failed, floor(least) - 1), max(failed, ceil(most) + 2)
    found = low + bisect_left(
        range(low, high), True, key=lambda started: log_evidence(failed, started, above=above) < goal
    )
    return found - 1 if found > failed else -1


def ladder(devices: int, *, above: float, alpha: float) -> tuple[int, ...]:
    """Return of each number of failures, from 0 on, the devices within which it stops, up to so many *devices*.

    Where `stops_on` is asked again and again, ``bisect_left(ladder(…), started)`` says the same, as far as that many
    can fail.

    Args:
        devices: how far the table goes, 0 or more.
        above: the share of failures that is tolerated, above 0 and at most 1.
        alpha: the probability of a false stop, above 0 and below 1.

    >>> ladder(100, above=0.02, alpha=0.01)
    (-1, -1, 3, 10, 20, 33, 49, 67, 87, 108)
    """
    rungs: list[int] = []
    while len(rungs) <= devices and (not rungs or rungs[-1] < devices):
        rungs.append(stops_within(len(rungs), above=above, alpha=alpha))
    return tuple(rungs)


class Evidence(msgspec.Struct, frozen=True):
    """The same process where what is tolerated changes from event to event; it survives as JSON.

    The order in which events are told is the order in which they happened, and the null of each one depends only on
    what was known before it.

    >>> evidence = Evidence()
    >>> for failed in (True, False, True):
    ...     evidence = evidence.after(null=0.02, failed=failed)
    >>> round(evidence.log - log_evidence(2, 3, above=0.02), 12)
    0.0
    """

    grid: tuple[float, ...] = GRID
    """The odds ratios, each above 1. They stay with what was gathered over them, should `GRID` ever be another one."""
    logs: tuple[float, ...] = (0.0,) * len(GRID)
    """The logarithm of the likelihood ratio of each point of the grid."""

    @classmethod
    def over(cls, grid: tuple[float, ...]) -> Self:
        """Return what is known before the first event, by a *grid* of odds ratios."""
        assert grid, "evidence needs a grid of at least one odds ratio"
        return cls(grid=grid, logs=(0.0,) * len(grid))

    def after(self, *, null: float, failed: bool) -> Self:
        """Return the evidence after one more event.

        Args:
            null: the highest probability, above 0 and below 1, with which this event is a failure if all is well.
            failed: whether it was one.

        Raises:
            AssertionError: if *null* decides the event: then it tells nothing, or the null is wrong.
        """
        assert 0 < null < 1, f"an event tells something if its outcome is open, not at a probability of {null}"
        logs = (
            weight + (log(odds) if failed else 0.0) - log1p((odds - 1) * null)
            for odds, weight in zip(self.grid, self.logs, strict=True)
        )
        return type(self)(grid=self.grid, logs=tuple(logs))

    @property
    def log(self) -> float:
        """The natural logarithm of the evidence; to stop where it reaches `threshold` keeps the promise."""
        return log_mean(self.logs)


def log_mean(logs: Sequence[float]) -> float:
    """Return the logarithm of the mean of numbers of which the logarithms are given; at least one."""
    top = max(logs)
    return top + log(fsum(exp(each - top) for each in logs) / len(logs))
