"""Evidence that a number that devices report is worse on treated ones: a paired sign test, whatever its distribution.

Each treated device is paired with a control device of its model and time. If the build is no worse, the treated one of
a pair has the larger number with a probability of at most one half, and a stage is ever stopped with a probability of
at most alpha: with outliers, skew and drift that both of a pair share. Equal numbers tell nothing and are left out.

Sources: Dixon and Mood, The statistical sign test (Journal of the American Statistical Association, 1946); those of
`odds` for looking at any time.

>>> evidence = START
>>> for treated, control in [(1.9, 1.2), (1.4, 1.4), (2.0, 1.7)]:
...     evidence = after_pair(evidence, treated=treated, control=control)
>>> round(evidence.log, 3)
0.753
"""

from math import isnan
from typing import Final

from controller.domain.gates.odds import Evidence

GRID: Final = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Odds that the treated device of a pair is worse: from a small shift to one that hardly any pair escapes."""

START: Final = Evidence.over(GRID)
"""What is known before the first pair."""

_NULL: Final = 0.5


def after_pair(evidence: Evidence, *, treated: float, control: float) -> Evidence:
    """Return the evidence after one more pair; larger numbers are worse, in any unit that both share.

    Args:
        evidence: what was known before, over `GRID`.
        treated: what the treated device reports.
        control: what the control device reports.

    Raises:
        AssertionError: if either is not a number; no number is no pair.
    """
    assert not any(map(isnan, (treated, control))), "a device that reports no number makes no pair"
    return evidence if treated == control else evidence.after(null=_NULL, failed=treated > control)
