"""The rules by which others stop a rollout, for `exact`: each a boundary, as their documents and code say it.

They wait for nothing here, and are asked after each device: the kindest way to run them.

>>> [aws(10, minimum=10)(started) for started in (9, 10, 100)]
[10, 2, 11]
>>> [hawkbit(10, group=100)(started) for started in (1, 100)]
[11, 11]
"""

from math import ceil, log, log1p

from controller.domain.gates.exact import Boundary


def aws(percent: float, *, minimum: int) -> Boundary:
    """Return the abort rule of AWS IoT Jobs: more than *percent* of at least *minimum* devices failed.

    Source: AWS IoT API reference, AbortCriteria: thresholdPercentage, minNumberOfExecutedThings.
    """
    return lambda started: int(percent * started // 100) + 1 if started >= minimum else started + 1


def hawkbit(percent: float, *, group: int) -> Boundary:
    """Return the error condition of an Eclipse hawkBit rollout group: more than *percent* of all its devices failed.

    It counts within one group: to be used with ``restart_every=group``.
    Source: hawkBit, ThresholdRolloutGroupErrorCondition: the errors divided by all targets of the group.
    """
    return lambda _started: int(percent * group // 100) + 1


def budget(allowed: float, *, share: float) -> Boundary:
    """Return the rule that stops where failures reach so many and *share* of the started devices."""
    return lambda started: ceil(allowed + share * started)


def sprt(above: float, *, against: float, alpha: float) -> Boundary:
    """Return Wald's sequential probability ratio test of the rate *above* against one higher rate.

    Source: Wald, Sequential Analysis (1947), with the threshold 1 / alpha, which holds at all times.
    """
    step = log1p(-above) - log1p(-against)
    return lambda started: ceil((-log(alpha) + started * step) / (log(against / above) + step))
