"""The chance of so many failures or more in a batch, as a curve over the logarithm of the failure rate.

It is concave, so a straight line that touches it is nowhere below it.

>>> chance = log_chance(10, 3, log(0.1))
>>> f"{exp(chance.value):.6f}"
'0.070191'
>>> chance.at(log(0.2)) > log_chance(10, 3, log(0.2)).value
True
"""

from math import exp, expm1, lgamma, log
from typing import Final, NamedTuple, Self

TERMS_MAX: Final = 10_000
PRECISION: Final = 1e-10
"""Relative, of the continued fraction."""


class Tangent(NamedTuple):
    """A straight line that touches a concave curve at `x`, and is nowhere below it."""

    x: float
    value: float
    slope: float

    def at(self, x: float) -> float:
        """Return the height of the line at *x*."""
        return self.value + self.slope * (x - self.x)

    def meets(self, other: Self) -> float:
        """Return where it meets one of another slope."""
        return (other.at(0) - self.at(0)) / (self.slope - other.slope)


def log_chance(batch: float, breaking: int, x: float) -> Tangent:
    """Return the logarithm of the chance of at least *breaking* failures in a batch, as it grows with *x*.

    The chance is that of a binomial variable, an incomplete beta function; right to about 1e-9 for a million devices.

    Args:
        batch: how many devices it has; a part of one makes it as likely as lies between.
        breaking: from 1 to *batch*.
        x: the logarithm of the failure rate, below 0.
    """
    rate, rest = exp(x), batch - breaking + 1
    log_front = lgamma(batch + 1) - lgamma(breaking) - lgamma(rest) + breaking * x + rest * log(-expm1(x))
    if rate * (batch + 3) < breaking + 1:
        ratio = _beta_fraction(breaking, rest, rate) / breaking
        return Tangent(x=x, value=log_front + log(ratio), slope=-1 / (expm1(x) * ratio))
    front = exp(log_front)
    chance = 1 - front * _beta_fraction(rest, breaking, -expm1(x)) / rest
    return Tangent(x=x, value=log(chance), slope=-front / (expm1(x) * chance))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, which converges fast for x < (a + 1)/(a + b + 2).

    DLMF 8.17.22, by the algorithm of Lentz as in Numerical Recipes, section 6.4.
    """
    upper, lower = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value, change, term = lower, 0.0, 0
    while abs(change - 1) > PRECISION:
        term += 1
        assert term < TERMS_MAX, f"the incomplete beta function of {a}, {b} and {x} did not converge"
        even = a + 2 * term
        part = term * (b - term) * x / ((even - 1) * even)
        upper, lower = 1 + part / upper, 1 / (1 + part * lower)
        value *= upper * lower
        part = -(a + term) * (a + b + term) * x / (even * (even + 1))
        upper, lower = 1 + part / upper, 1 / (1 + part * lower)
        change = upper * lower
        value *= change
    return value
