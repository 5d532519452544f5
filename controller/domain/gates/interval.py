"""Between which shares the rate of failures lies, for people to look at: an interval that holds at all times at once.

With a probability of at least 1 - alpha the true rate is in every interval shown from the first device to the last. It
is for display; what stops a rollout is `odds`, which is faster.

A rate p is left out when the evidence against it is 1 / alpha: the beta-binomial mixture whose mean is p, and whose
weight r is chosen so that the interval is about as narrow as can be at `NARROW_AT` devices.

Source: Howard, Ramdas, McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences (Annals of
Statistics, 2021), proposition 6; r as in their package confseq, `bernoulli_confidence_interval`.

>>> low, high = interval(1, 100, alpha=0.05)
>>> f"{low:.3%} to {high:.2%}"
'0.000% to 8.02%'
"""

from math import lgamma, log, log1p
from typing import Final

NARROW_AT: Final = 300
"""The number of devices for which the interval is made; with ten times more or fewer it could be a little narrower."""

_WEIGHT_MIN: Final = 1e-3
_HALVINGS: Final = 60
"""More are of no use: a float has 53 bits."""


def interval(failed: int, counted: int, *, alpha: float) -> tuple[float, float]:
    """Return the lowest and highest rate of failures that what was seen does not refute, as shares.

    Args:
        failed: how many devices failed, 0 to *counted*.
        counted: how many devices are looked at.
        alpha: the probability with which the true rate may ever lie outside, above 0 and below 1.

    Raises:
        AssertionError: if the counts or alpha are none.

    >>> interval(0, 0, alpha=0.05)
    (0.0, 1.0)
    """
    assert 0 <= failed <= counted, f"{failed} failures of {counted} devices"
    assert 0 < alpha < 1, f"the probability of an error is above 0 and below 1, not {alpha}"
    if counted == 0:
        return 0.0, 1.0
    highest = 1 - _lowest(counted - failed, counted, alpha=alpha)
    return _lowest(failed, counted, alpha=alpha), highest


def log_refutation(failed: int, counted: int, *, rate: float, weight: float) -> float:
    """Return the natural logarithm of the evidence that the rate of failures is another one than *rate*.

    Args:
        failed: how many devices failed, 0 to *counted*.
        counted: how many devices are looked at.
        rate: the share to refute, above 0 and below 1.
        weight: how much the mixture clings to *rate*, in devices, above 0.
    """
    ours, others = weight * rate, weight * (1 - rate)
    mixed = _log_beta(ours + failed, others + counted - failed) - _log_beta(ours, others)
    return mixed - failed * log(rate) - (counted - failed) * log1p(-rate)


def weight_for(counted: int, *, alpha: float) -> float:
    """Return the weight, in devices, with which the interval is about narrowest at *counted* devices."""
    spread = -2 * log(alpha)
    return max(counted / (spread + log1p(spread)) - 1, _WEIGHT_MIN)


def _lowest(failed: int, counted: int, *, alpha: float) -> float:
    """Return the lowest rate that is not refuted; the share that failed never is."""
    weight, goal = weight_for(NARROW_AT, alpha=alpha), -log(alpha)
    low, high = 0.0, failed / counted
    for _ in range(_HALVINGS if failed else 0):
        middle = (low + high) / 2
        if log_refutation(failed, counted, rate=middle, weight=weight) < goal:
            high = middle
        else:
            low = middle
    return low


def _log_beta(first: float, second: float) -> float:
    return lgamma(first) + lgamma(second) - lgamma(first + second)
