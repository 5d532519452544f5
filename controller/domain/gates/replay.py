"""Judging a stage again by another gate: pure functions of the moments that its own gate saw.

Both gates are judged by what the run did, so the first stop of the run's own is the one that it made. What the other
one would have changed later cannot be known: after its stop it says nothing more. Where the run was stopped first, the
other gate is known to be looser, and not how much further it would have let the build go.

>>> from controller.domain.pipeline import Gate, Pipeline, Sequential, Stage
>>> pipeline = Pipeline(name="weekly", stages=(Stage(name="all"),))
>>> seen = [Moment(at=ms, accepted=0, tally=Tally(in_progress=n - k, failed=k, started=n, exposed=n, blamed=k))
...         for ms, n, k in ((10, 20, 1), (20, 30, 2), (30, 33, 5))]
>>> judge(pipeline, 0, seen).stop.at, judge(with_gate(pipeline, Gate(sequential=Sequential(above=9))), 0, seen).stop
(30, None)
"""

from collections.abc import Iterable, Sequence
from math import exp
from typing import Final

import msgspec

from controller.domain.counters import Tally
from controller.domain.course import Moment, unseen
from controller.domain.gates import judgement, odds
from controller.domain.gates.judgement import LOG_SHOWN_MAX, Reading
from controller.domain.pipeline import Gate, Pipeline
from controller.domain.wording import counted
from protocol.ids import StageName

ALPHA_MAX: Final = 1 - 1e-9
"""Short of certain; evidence of 1 is what every test begins with."""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Where a gate stops: the `number` of the moment, counted from 0, its run time, k of n, and that in words."""

    number: int
    at: int
    failed: int
    exposed: int
    said: str


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The most evidence that a sequential test had, up to its stop, as a logarithm; and the counts that it was of.

    Every test begins with 1, of which the logarithm is 0.
    """

    log_evidence: float
    failed: int
    exposed: int


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate says of the moments: where it stops first, if it does, and its most evidence, if it tests."""

    stop: Stop | None = None
    peak: Peak | None = None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A stage by its own gate and by another.

    `spared` devices began after the other gate would have stopped: so many would not have, but for those whose command
    was on its way. Where the other gate stops nowhere and the run's own did, `exposed_more` are those that never began:
    at most so many more would have. `reading` is what the other gate says of the stage as it stands, with reports that
    came when no gate was looking any more. So many failures as are `unseen` came before the record begins: either gate
    may have stopped on them.
    """

    stage: StageName
    own: Judged
    other: Judged
    spared: int
    exposed_more: int
    reading: Reading
    unseen: int = 0
    begins: Moment | None = None

    def __str__(self) -> str:
        if not self.unseen:
            return self._said()
        if self.begins is None:
            return "not known: what its gate saw is not kept"
        first = self.begins.tally
        return f"not known before failure {first.blamed} of {first.exposed} started; since then: {self._said()}"

    def _said(self) -> str:
        own, other = self.own.stop, self.other.stop
        if other is None and own is None:
            return "does not stop; nor did the run's own"
        if other is None:
            assert own is not None
            more = f"at most {counted(self.exposed_more, 'more device')} would have begun"
            return f"does not stop; the run's own did on failure {own.failed} of {own.exposed} started, and {more}"
        return f"stops on failure {other.failed} of {other.exposed} started, {_compared(own, other, self.spared)}"


def with_gate(pipeline: Pipeline, gate: Gate, *, stage: StageName | None = None) -> Pipeline:
    """Return *pipeline* with what *gate* says of failures, in one stage or in all; alpha is divided anew."""
    changes = {"sequential": gate.sequential, "failures": gate.failures}
    stages = tuple(
        msgspec.structs.replace(one, gate=msgspec.structs.replace(one.gate, **changes))
        if stage in {None, one.name}
        else one
        for one in pipeline.stages
    )
    return msgspec.structs.replace(pipeline, stages=stages)


def judge(pipeline: Pipeline, index: int, moments: Iterable[Moment], *, is_own: bool = False) -> Judged:
    """Return where the gate of a stage stops first, and its most evidence until then.

    Args:
        pipeline: the pipeline in which the gate stands, which decides its share of alpha.
        index: the stage.
        moments: what was seen of the stage, in order.
        is_own: whether the gate was that of the run: then failures that a person accepted do not stop it.
    """
    gate = pipeline.stages[index].gate
    watch = (
        None if gate.sequential is None else _Watch(gate.sequential.above / 100, judgement.alpha_of(pipeline, index))
    )
    for number, moment in enumerate(moments):
        tally, excepted = moment.tally, moment.excepted
        is_news = watch is not None and watch.sees(excepted.rest(tally))
        if is_news or (gate.failures is not None and judgement.exceeds(gate.failures, tally)):
            accepted = moment.accepted if is_own else 0
            if judgement.is_breached(pipeline, index, tally, accepted=accepted, excepted=excepted):
                return Judged(stop=_stop(pipeline, index, number, moment), peak=watch.peak if watch else None)
    return Judged(peak=watch.peak if watch else None)


def replay(pipeline: Pipeline, other: Pipeline, index: int, moments: Sequence[Moment], now: Moment) -> Replayed:
    """Judge a stage by the gate of *pipeline* and by that of *other*, which has the same stages.

    Args:
        pipeline: that of the run.
        other: the same with another gate, as `with_gate` returns it.
        index: the stage.
        moments: what the stage's own gate saw, in order.
        now: the stage as it stands.
    """
    own = judge(pipeline, index, moments, is_own=True)
    found = judge(other, index, moments)
    is_looser = own.stop is not None and found.stop is None
    return Replayed(
        stage=pipeline.stages[index].name,
        own=own,
        other=found,
        spared=0 if found.stop is None else now.tally.exposed - moments[found.stop.number].tally.exposed,
        exposed_more=max(0, now.tally.counted + now.tally.cancelled - now.tally.exposed) if is_looser else 0,
        reading=judgement.read(other, index, now.tally, now.excepted),
        unseen=unseen(moments, now.tally),
        begins=moments[0] if moments else None,
    )


def _compared(own: Stop | None, other: Stop, spared: int) -> str:
    if own is None:
        return f"which the run's own does not; {counted(spared, 'device')} began after that"
    if own.exposed == other.exposed:
        return "where the run's own does"
    is_earlier = other.exposed < own.exposed
    apart = counted(abs(own.exposed - other.exposed), "device")
    return f"{apart} {'earlier' if is_earlier else 'later'} than the run's own"


def _stop(pipeline: Pipeline, index: int, number: int, moment: Moment) -> Stop:
    reading = judgement.read(pipeline, index, moment.tally, moment.excepted)
    return Stop(number=number, at=moment.at, failed=reading.failed, exposed=reading.exposed, said=str(reading))


class _Watch:
    """The most evidence so far, weighed no more often than it may be exceeded.

    Among more devices it takes more failures for as much. So as long as there are fewer than it took for the most so
    far, among the devices of the last weighing, the present evidence is neither that much nor enough for a stop. Fewer
    devices than then are weighed anew: some were quarantined since.
    """

    def __init__(self, above: float, alpha: float) -> None:
        self.peak = Peak(log_evidence=0.0, failed=0, exposed=0)
        self._above = above
        self._goal = odds.threshold(alpha)
        self._bar = self._weighed = 0

    def sees(self, tally: Tally) -> bool:
        """Take note of a tally; say whether it had to be weighed."""
        if tally.blamed < self._bar and tally.exposed >= self._weighed:
            return False
        self._weighed = tally.exposed
        value = min(odds.log_evidence(tally.blamed, tally.exposed, above=self._above), LOG_SHOWN_MAX)
        if value > self.peak.log_evidence:
            self.peak = Peak(log_evidence=value, failed=tally.blamed, exposed=tally.exposed)
        wanted = min(self.peak.log_evidence, self._goal)
        self._bar = odds.stops_on(tally.exposed, above=self._above, alpha=min(exp(-wanted), ALPHA_MAX))
        return True
