"""When a stage may pass and when it must stop: pure functions of its tally.

>>> from controller.domain.pipeline import FailureLimit, Gate
>>> gate = Gate(failures=FailureLimit(percent=5, min_sample=20))
>>> failures_allowed(gate, Tally(queued=100))
1
>>> is_breached(gate, Tally(failed=2, queued=98, started=2, blamed=2), accepted=0)
True
"""

import math

from controller.domain.counters import Tally
from controller.domain.pipeline import Gate


def failures_allowed(gate: Gate, tally: Tally) -> int:
    """Return the number of build-blamed failures that does not breach yet.

    A share is taken of at least `min_sample` devices, or of all where there are fewer: then the first failures
    breach as soon as even a faultless rest of the sample could not bring the share down.
    """
    limit = gate.failures
    if limit.count is not None:
        return limit.count
    assert limit.percent is not None, "validate() demands count or percent"
    sample = max(tally.of(limit.of), min(limit.min_sample, tally.counted))
    return math.floor(limit.percent * sample / 100 + 1e-9)


def is_breached(gate: Gate, tally: Tally, *, accepted: int) -> bool:
    """Say whether failures exceed the limit and what an operator has *accepted* on an earlier breach."""
    return tally.blamed > max(failures_allowed(gate, tally), accepted)


def is_success(gate: Gate, tally: Tally) -> bool:
    """Say whether the demanded share of the stage's devices has succeeded."""
    return tally.counted > 0 and tally.succeeded * 100 >= gate.success_percent * tally.counted


def read_out(gate: Gate, tally: Tally) -> str:
    """Return the gate in words.

    >>> from controller.domain.pipeline import Gate
    >>> read_out(Gate(), Tally(queued=98, succeeded=1, failed=1, started=2, blamed=1))
    '1 of 2 started failed; stops on failure 2'
    """
    return f"{tally.blamed} of {tally.started} started failed; stops on failure {failures_allowed(gate, tally) + 1}"
