"""How the probability of a false stop is divided among the gates of a run: together they spend no more than it has.

The gates' own promises add up (Boole's inequality), whatever their order, and however they depend on one another.

>>> shares(0.01, [None, 0.005, None])
(0.0025, 0.005, 0.0025)
"""

from collections.abc import Sequence
from math import fsum
from typing import Final

from controller.domain.wording import counted

ROUNDING: Final = 1e-9
"""By which part shares written as decimals may exceed their total in binary, and no more."""


class Overspent(ValueError):
    """The shares that were named leave nothing, or exceed what there is; the message says by how much."""


def shares(total: float, explicit: Sequence[float | None]) -> tuple[float, ...]:
    """Return the share of each gate: those named keep theirs, the others divide what is left alike.

    Args:
        total: the probability of a false stop of the run, above 0 and below 1.
        explicit: of each gate what was named for it, or None.

    Returns:
        As many shares as gates, each above 0; their sum is at most the total.

    Raises:
        Overspent: when those named are more than the total, or leave nothing for the others, or one is not above 0.
    """
    assert 0 < total < 1, f"the probability of a false stop is above 0 and below 1, not {total}"
    named = [share for share in explicit if share is not None]
    if any(not share > 0 for share in named):
        raise Overspent(f"a share of {_shown(min(named))}: expected each above 0%")
    spent, others = fsum(named), len(explicit) - len(named)
    if spent > total * (1 + ROUNDING):
        raise Overspent(f"shares of {_shown(spent)} in all: expected at most the total of {_shown(total)}")
    left = total - spent
    if others and left <= total * ROUNDING:
        more = f"{counted(others, 'more gate')} to have a share"
        raise Overspent(
            f"shares of {_shown(spent)} in all: expected less than the total of {_shown(total)}, for {more}"
        )
    return tuple(left / others if share is None else share for share in explicit)


def _shown(share: float) -> str:
    """Return a share as files write it."""
    return f"{share * 100:g}%"
