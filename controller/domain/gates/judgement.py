"""What the gate of a stage says of it: pure functions of its tally.

n are the devices that are *exposed*: that ever began and did not turn the work down. k are those of them that ever
failed by the build's fault. Devices that are still at work count as well so far: a device's failure can only come later
than its beginning, so the test never stops a build more easily than if every report came at once.

>>> from controller.domain.pipeline import Pipeline, Stage
>>> pipeline = Pipeline(name="weekly", stages=(Stage(name="all"),))
>>> tally = Tally(failed=6, in_progress=44, queued=50, started=50, exposed=50, blamed=6)
>>> is_breached(pipeline, 0, tally, accepted=0), failures_allowed(pipeline, 0, tally)
(False, 6)
>>> print(read(pipeline, 0, tally))
6 of 50 started failed; stops on failure 7 (evidence 96 of 100)
"""

import math
from functools import lru_cache
from typing import Final

import msgspec

from controller.domain.counters import Tally
from controller.domain.gates import odds, spending
from controller.domain.gates.interval import interval
from controller.domain.pipeline import FailureLimit, Gate, Pipeline, Sequential

SHOWN_MAX: Final = 1_000_000.0
LOG_SHOWN_MAX: Final = 700.0
"""Evidence beyond e to this is shown as that much: more is no number of a computer."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a sequential test knows: its evidence, that at which it stops, and where the share of failures lies.

    `low` and `high` are shares between which it lies with a probability of 1 - alpha, however often one looks.
    """

    value: float
    threshold: float
    above_percent: float
    alpha_percent: float
    low: float
    high: float


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A gate in numbers: k of n, the number of failures on which it stops, and the evidence where it is tested."""

    exposed: int
    failed: int
    stops_on: int | None
    evidence: Evidence | None

    def __str__(self) -> str:
        said = f"{self.failed} of {self.exposed} started failed"
        if self.stops_on is None:
            return said
        seen = f" (evidence {shown(self.evidence.value)} of {shown(self.evidence.threshold)})" if self.evidence else ""
        return f"{said}; stops on failure {self.stops_on}{seen}"


def shown(evidence: float) -> str:
    """Return evidence as people read it.

    >>> [shown(value) for value in (0.031, 2.4, 99.6, 123_456.7, 1e30)]
    ['0.031', '2.4', '100', '123,457', 'over 1,000,000']
    """
    if evidence >= SHOWN_MAX:
        return f"over {SHOWN_MAX:,.0f}"
    return f"{evidence:,.0f}" if evidence >= 10 else f"{evidence:.2g}"  # noqa: PLR2004 - two digits are enough


def alpha_of(pipeline: Pipeline, index: int) -> float:
    """Return how likely the sequential test of a stage may stop a build that it should tolerate: its share of alpha."""
    tests = [stage.gate.sequential for stage in pipeline.stages]
    place = sum(test is not None for test in tests[:index])
    return _shares(pipeline.alpha_percent, tuple(test.alpha_percent for test in tests if test is not None))[place]


@lru_cache(maxsize=1_024)
def _shares(total: float, named: tuple[float | None, ...]) -> tuple[float, ...]:
    """Return what `spending.shares` does, in percent; a run asks for the same at every step."""
    return spending.shares(total / 100, [share and share / 100 for share in named])


def failures_allowed(pipeline: Pipeline, index: int, tally: Tally) -> int | None:
    """Return the number of build-blamed failures that does not breach yet; None where nothing limits them."""
    gate = pipeline.stages[index].gate
    limits: list[int] = []
    if gate.failures is not None:
        limits.append(_limit(gate.failures, tally))
    if gate.sequential is not None:
        limits.append(_stops_on(pipeline, index, gate.sequential, tally) - 1)
    return min(limits, default=None)


def is_breached(pipeline: Pipeline, index: int, tally: Tally, *, accepted: int) -> bool:
    """Say whether failures exceed a limit and what an operator has *accepted* on an earlier breach."""
    gate = pipeline.stages[index].gate
    if tally.blamed <= accepted:
        return False
    if gate.failures is not None and exceeds(gate.failures, tally):
        return True
    return gate.sequential is not None and _is_refuted(pipeline, index, gate.sequential, tally)


def exceeds(limit: FailureLimit, tally: Tally) -> bool:
    """Say whether failures are more than a limit allows."""
    return tally.blamed > _limit(limit, tally)


def is_success(gate: Gate, tally: Tally) -> bool:
    """Say whether the demanded share of the stage's devices has succeeded."""
    return tally.counted > 0 and tally.succeeded * 100 >= gate.success_percent * tally.counted


def read(pipeline: Pipeline, index: int, tally: Tally) -> Reading:
    """Return the gate of a stage as people see it."""
    allowed, test = failures_allowed(pipeline, index, tally), pipeline.stages[index].gate.sequential
    return Reading(
        exposed=tally.exposed,
        failed=tally.blamed,
        stops_on=None if allowed is None else allowed + 1,
        evidence=None if test is None else _evidence(test, alpha_of(pipeline, index), tally),
    )


def _limit(limit: FailureLimit, tally: Tally) -> int:
    """Return the failures that a limit allows.

    A share is taken of at least `min_sample` devices, or of all where there are fewer: then the first failures
    breach as soon as even a faultless rest of the sample could not bring the share down.
    """
    if limit.count is not None:
        return limit.count
    assert limit.percent is not None, "validate() demands count or percent"
    sample = max(tally.of(limit.of), min(limit.min_sample, tally.counted))
    return math.floor(limit.percent * sample / 100 + 1e-9)


def _is_refuted(pipeline: Pipeline, index: int, test: Sequential, tally: Tally) -> bool:
    value = odds.log_evidence(tally.blamed, tally.exposed, above=test.above / 100)
    return value >= odds.threshold(alpha_of(pipeline, index))


def _stops_on(pipeline: Pipeline, index: int, test: Sequential, tally: Tally) -> int:
    return odds.stops_on(tally.exposed, above=test.above / 100, alpha=alpha_of(pipeline, index))


def _evidence(test: Sequential, alpha: float, tally: Tally) -> Evidence:
    low, high = interval(tally.blamed, tally.exposed, alpha=alpha)
    return Evidence(
        value=math.exp(min(odds.log_evidence(tally.blamed, tally.exposed, above=test.above / 100), LOG_SHOWN_MAX)),
        threshold=1 / alpha,
        above_percent=test.above,
        alpha_percent=alpha * 100,
        low=low,
        high=high,
    )
