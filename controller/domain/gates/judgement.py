"""What the gate of a stage says of it: pure functions of its tally.

n are the devices that are *exposed*: that ever began and did not turn the work down. k are those of them that ever
failed by the build's fault. Devices that are still at work count as well so far: a device's failure can only come later
than its beginning, so the test never stops a build more easily than if every report came at once.

Devices of models that are quarantined (`controller.domain.quarantine`) count for a fixed limit of failures alone.

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

from controller.domain.counters import Tally, without
from controller.domain.gates import odds, spending
from controller.domain.gates.interval import interval
from controller.domain.pipeline import Control, FailureLimit, Gate, Metric, Pipeline, Sequential
from controller.domain.wording import counted

Test = Sequential | Control | Metric
"""What may be wrong about a good build, and so has a part of alpha."""

SHOWN_MAX: Final = 1_000_000.0
LOG_SHOWN_MAX: Final = 700.0
"""Evidence beyond e to this is shown as that much: more is no number of a computer."""


class Excepted(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of a stage that are quarantined, the failures of theirs that were accepted, and the rest of alpha.

    `share` is the part of the stage's alpha that is left to the test of all others together.
    """

    tallies: tuple[Tally, ...] = ()
    accepted: int = 0
    share: float = 1.0

    @property
    def blamed(self) -> int:
        """How many of them failed by the build's fault."""
        return sum(tally.blamed for tally in self.tallies)

    @property
    def exposed(self) -> int:
        """How many of them have begun."""
        return sum(tally.exposed for tally in self.tallies)

    def rest(self, tally: Tally) -> Tally:
        """Return the numbers of all others."""
        return without(tally, self.tallies) if self.tallies else tally


NOBODY: Final = Excepted()


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
    """A gate in numbers: k of n, the number of failures on which it stops, and the evidence where it is tested.

    None of these devices is quarantined; `excepted` others have failed that are. A fixed limit counts them, too: where
    they exceed it alone, the gate stops on failure 0.
    """

    exposed: int
    failed: int
    stops_on: int | None
    evidence: Evidence | None
    excepted: int = 0

    @property
    def is_stopped_by_others(self) -> bool:
        """Whether no failure of these devices is needed for a stop."""
        return self.stops_on == 0

    def __str__(self) -> str:
        said = f"{self.failed} of {self.exposed} started failed"
        if self.stops_on is None:
            return said
        seen = f" (evidence {shown(self.evidence.value)} of {shown(self.evidence.threshold)})" if self.evidence else ""
        if self.is_stopped_by_others:
            return f"{said}; stopped by {counted(self.excepted, 'failure')} of quarantined models{seen}"
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
    return _share(pipeline, index)


def control_alpha_of(pipeline: Pipeline, index: int) -> float:
    """Return how likely the comparison of a stage with its control group may be wrong: its share of alpha."""
    return _share(pipeline, len(pipeline.stages) + index)


def metric_alpha_of(pipeline: Pipeline, index: int, name: str) -> float:
    """Return how likely the comparison of one metric of a stage may be wrong: its share of alpha."""
    before = sum(len(stage.gate.metrics) for stage in pipeline.stages[:index])
    names = [metric.name for metric in pipeline.stages[index].gate.metrics]
    return _share(pipeline, 2 * len(pipeline.stages) + before + names.index(name))


def tests_of(pipeline: Pipeline) -> tuple[Test | None, ...]:
    """Return what divides the alpha of a run: each stage's test, then each's comparison, then its metrics; or None."""
    gates = [stage.gate for stage in pipeline.stages]
    metrics = (metric for gate in gates for metric in gate.metrics)
    return (*(gate.sequential for gate in gates), *(gate.control for gate in gates), *metrics)


def _share(pipeline: Pipeline, place: int) -> float:
    tests = tests_of(pipeline)
    before = sum(test is not None for test in tests[:place])
    return _shares(pipeline.alpha_percent, tuple(test.alpha_percent for test in tests if test is not None))[before]


@lru_cache(maxsize=1_024)
def _shares(total: float, named: tuple[float | None, ...]) -> tuple[float, ...]:
    """Return what `spending.shares` does, in percent; a run asks for the same at every step."""
    return spending.shares(total / 100, [share and share / 100 for share in named])


def failures_allowed(
    pipeline: Pipeline, index: int, tally: Tally, excepted: Excepted = NOBODY, *, accepted: int = 0
) -> int | None:
    """Return how many devices that are not *excepted* may fail without a breach; None where nothing limits them.

    Those of all devices that an operator has *accepted* are no breach, whatever the limit.
    """
    gate = pipeline.stages[index].gate
    limits: list[int] = []
    if gate.failures is not None:
        limits.append(max(_limit(gate.failures, tally), accepted) - excepted.blamed)
    if gate.sequential is not None:
        alpha, exposed = alpha_of(pipeline, index) * excepted.share, excepted.rest(tally).exposed
        stop = odds.stops_on(exposed, above=gate.sequential.above / 100, alpha=alpha)
        limits.append(max(stop - 1, accepted - excepted.accepted))
    return min(limits, default=None)


def is_breached(pipeline: Pipeline, index: int, tally: Tally, *, accepted: int, excepted: Excepted = NOBODY) -> bool:
    """Say whether failures exceed a limit and what an operator has *accepted* on an earlier breach."""
    gate = pipeline.stages[index].gate
    if tally.blamed <= accepted:
        return False
    if gate.failures is not None and exceeds(gate.failures, tally):
        return True
    rest = excepted.rest(tally)
    if gate.sequential is None or rest.blamed <= accepted - excepted.accepted:
        return False
    return is_refuted(gate.sequential, rest, alpha=alpha_of(pipeline, index) * excepted.share)


def is_refuted(test: Sequential, tally: Tally, *, alpha: float) -> bool:
    """Say whether a test of its own would stop these devices at *alpha*."""
    return odds.log_evidence(tally.blamed, tally.exposed, above=test.above / 100) >= odds.threshold(alpha)


def exceeds(limit: FailureLimit, tally: Tally) -> bool:
    """Say whether failures are more than a limit allows."""
    return tally.blamed > _limit(limit, tally)


def is_success(gate: Gate, tally: Tally) -> bool:
    """Say whether the demanded share of the stage's devices has succeeded, and told of no harm since."""
    return tally.counted > 0 and tally.well * 100 >= gate.success_percent * tally.counted


def read(pipeline: Pipeline, index: int, tally: Tally, excepted: Excepted = NOBODY, *, accepted: int = 0) -> Reading:
    """Return the gate of a stage as people see it, by all devices but those *excepted*."""
    allowed = failures_allowed(pipeline, index, tally, excepted, accepted=accepted)
    test, rest = pipeline.stages[index].gate.sequential, excepted.rest(tally)
    return Reading(
        exposed=rest.exposed,
        failed=rest.blamed,
        stops_on=None if allowed is None else max(0, allowed + 1),
        evidence=None if test is None else evidence(test, rest, alpha=alpha_of(pipeline, index) * excepted.share),
        excepted=excepted.blamed,
    )


def read_alone(test: Sequential, tally: Tally, *, alpha: float, accepted: int = 0) -> Reading:
    """Return the test of some devices alone, those of one model, as people see it."""
    return Reading(
        exposed=tally.exposed,
        failed=tally.blamed,
        stops_on=max(odds.stops_on(tally.exposed, above=test.above / 100, alpha=alpha), accepted + 1),
        evidence=evidence(test, tally, alpha=alpha),
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


@lru_cache(maxsize=4_096)
def _interval(failed: int, exposed: int, alpha: float) -> tuple[float, float]:
    """Return what `interval` does, which takes a third of a millisecond; people look at the same gate many times."""
    return interval(failed, exposed, alpha=alpha)


def evidence(test: Sequential, tally: Tally, *, alpha: float) -> Evidence:
    """Return what a test of these devices at *alpha* knows."""
    low, high = _interval(tally.blamed, tally.exposed, alpha)
    return Evidence(
        value=math.exp(min(odds.log_evidence(tally.blamed, tally.exposed, above=test.above / 100), LOG_SHOWN_MAX)),
        threshold=1 / alpha,
        above_percent=test.above,
        alpha_percent=alpha * 100,
        low=low,
        high=high,
    )
