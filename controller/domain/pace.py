"""How fast a stage may release its devices: `pace.per_minute`, constant or growing with success.

The promise: in any 60 s of run time (half open, wherever they begin) a stage releases at most as many attempts as
`per_minute` says at their end; a retry is an attempt, a newer command for the same attempt is none. It costs one
number, the run time before which nobody may go: a stage that released n devices waits n times the span of one.
Nothing is saved up, so neither a pause, nor a freeze, nor a controller that was down is followed by a burst.

Above 60 a minute devices go in groups of up to a second's worth, b of them. The last group of any 60 s may then come
whole, so the span for one is 60 s / (r - b + 1), and not 60 s / r: with r devices at most before it comes. That is what
being exact costs: less than 2 % of the rate.

>>> [group_max(rate) for rate in (1, 60, 61, 100_000)]
[1, 1, 2, 1667]
>>> span_ms(7, released=1), span_ms(100_000, released=1667)
(8572, 1018)
>>> present(Growth(start=10, factor=2, every=100, max=1000), succeeded=350)
80
"""

from math import log
from typing import Final

from controller.domain.pipeline import Growth, Pace
from protocol.units import MINUTE, SECOND

GROUPS: Final = MINUTE // SECOND
"""The groups that a minute has at least, where the rate allows as many."""


def per_minute(pace: Pace, *, succeeded: int) -> int | None:
    """Return how many devices may go in a minute, once *succeeded* of the stage have; None where no rate is set."""
    match pace.per_minute:
        case Growth() as growth:
            return present(growth, succeeded=succeeded)
        case rate:
            return rate


def present(growth: Growth, *, succeeded: int) -> int:
    """Return the rate after so many successes: `start` times `factor` for each `every` of them, `max` at most.

    As the exponential rate of AWS IoT Jobs.
    """
    steps = succeeded // growth.every
    if steps * log(growth.factor) >= log(growth.max / growth.start):
        return growth.max
    return min(growth.max, int(growth.start * growth.factor**steps))


def group_max(rate: int) -> int:
    """Return how many devices may go at once at *rate* devices a minute: about a second's worth."""
    return -(-rate // GROUPS)


def span_ms(rate: int, *, released: int) -> int:
    """Return the span after a release of so many devices in which nobody may go, rounded up."""
    return -(-released * MINUTE // (rate - group_max(rate) + 1))
