"""Invariant 7, of metrics: what pairs come to, by our own arithmetic, and when that stops a stage."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp
from typing import Final

from controller.app.records import RunRecord
from controller.domain.metrics import MetricRun
from controller.domain.pipeline import Metric, OnBreach
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.laws.limits import ROUNDING, share_of
from simulator.virtual.laws.told import Numbers, matches
from simulator.virtual.picture import Commit, Picture

_ODDS: Final = (1.2, 1.5, 2, 3, 5, 10)
_OPEN: Final = frozenset({"rolling_out", "soaking"})
_Place = tuple[int, int, str]
"""(run id, stage, metric)."""


@dataclass(slots=True)
class _Sign:
    """What the pairs of a stage have shown of a metric, and the bets that they have decided."""

    pairs: int = 0
    worse: int = 0
    equal: int = 0
    bets: list[float] = field(default_factory=lambda: [1.0] * len(_ODDS))

    @property
    def evidence(self) -> float:
        return sum(self.bets) / len(self.bets)

    def move(self, metric: Metric, updated: Numbers, control: Numbers) -> None:
        """Take in one pair, where both told the metric."""
        if metric.name not in updated or metric.name not in control:
            return
        more = updated[metric.name] - control[metric.name]
        excess = more if metric.worse == "higher" else -more
        self.pairs, self.worse, self.equal = self.pairs + 1, self.worse + (excess > 0), self.equal + (excess == 0)
        if excess:
            bets = zip(_ODDS, self.bets, strict=True)
            self.bets = [bet * (2 * odds if excess > 0 else 2) / (1 + odds) for odds, bet in bets]


class MetricsHold(Law):
    """The evidence of a metric is what its pairs make of it, in the order in which they were made, until the discharge.

    Where it is enough the stage stops, unless a person has accepted as many worse ones; only then it does.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._known: defaultdict[_Place, _Sign] = defaultdict(_Sign)
        self._alerts: Counter[_Place] = Counter()

    def committed(self, commit: Commit) -> Complaints:
        """Take in every pair, and compare with what each stage knows."""
        yield from self._pairs(commit)
        for event in commit.events:
            if event.kind == "metric":
                stages = self.picture.runs[event.run_id].plan.pipeline.stages
                index = next(index for index, one in enumerate(stages) if one.name == event.data["stage"])
                self._alerts[event.run_id, index, str(event.data["text"])] += 1
        for before, run in commit.runs:
            for index, stage in enumerate(run.plan.pipeline.stages):
                for metric in () if stage.gate.control is None else stage.gate.control.metrics:
                    yield from self._judge(before, run, index, metric)

    def _pairs(self, commit: Commit) -> Iterator[str]:
        for updated, control in matches(commit):
            run = self.picture.runs[updated.run_id]
            rules = run.plan.pipeline.stages[updated.stage].gate.control
            before = next((was for was, now in commit.runs if now.id == run.id), run)
            group = None if before is None else before.run.stages[updated.stage].control
            if group is None or group.discharged_at is not None:
                yield f"{updated.name} is compared with {control.name}, and its stage compares nobody any more"
            for metric in () if rules is None else rules.metrics:
                place = run.id, updated.stage, metric.name
                self._known[place].move(metric, updated.target.measures, control.target.measures)

    def _judge(self, before: RunRecord | None, run: RunRecord, index: int, metric: Metric) -> Iterator[str]:
        known, place = self._known[run.id, index, metric.name], f"{metric.name} of stage {index} of run {run.uid}"
        now, was = _metric(run, index, metric), _metric(before, index, metric)
        shown, expected = (now.pairs, now.worse, now.equal), (known.pairs, known.worse, known.equal)
        if shown != expected or abs(exp(now.evidence.log) - known.evidence) > 1e-6 * known.evidence:
            of_rows = f"its pairs show {expected} with {known.evidence}"
            yield f"{place} is known of (pairs, worse, equal) {shown} with {exp(now.evidence.log)}, and {of_rows}"
        reached = known.evidence * share_of(run, metric)
        if now.breach != was.breach:
            is_newer = was.breach is None or (known.worse > now.accepted >= was.breach.worse)
            if now.breach is None or not is_newer or reached < 1 - ROUNDING:
                yield f"{place} stops it with {reached:.3f} of what is needed, or again: {was.breach}, {now.breach}"
        yield from self._accepted(before, run, index, metric)
        yield from self._goes_on(run, index, metric, is_enough=reached > 1 + ROUNDING)
        is_alert = run.plan.pipeline.stages[index].gate.on_breach is OnBreach.ALERT
        told, wanted = self._alerts[run.id, index, metric.name], int(is_alert and now.breach is not None)
        if told != wanted:
            yield f"{place} is told of {told} times, not {wanted}"

    def _accepted(self, before: RunRecord | None, run: RunRecord, index: int, metric: Metric) -> Iterator[str]:
        """Judge who goes on over a metric: a person who resumes the run that it holds, and only so."""
        now, was, reason = _metric(run, index, metric), _metric(before, index, metric), _reason(run, index, metric)
        was_held = before is not None and reason in before.run.pause_reasons
        place, is_open = f"{metric.name} of stage {index} of run {run.uid}", run.run.stages[index].state in _OPEN
        if now.accepted != was.accepted and not was_held:
            yield f"{place} is accepted, and has not held the run"
        if was_held and reason not in run.run.pause_reasons and is_open and now.accepted != now.worse:
            yield f"{place} holds the run no more, and {now.accepted} of {now.worse} are accepted"
        if reason in run.run.pause_reasons and now.breach is None:
            yield f"{place} holds the run, and has stopped nothing"

    def _goes_on(self, run: RunRecord, index: int, metric: Metric, *, is_enough: bool) -> Iterator[str]:
        stage, gate, now = run.run.stages[index], run.plan.pipeline.stages[index].gate, _metric(run, index, metric)
        is_open = stage.state in _OPEN and run.run.state == "running" and not run.run.reason
        if not (is_enough and is_open and now.worse > now.accepted):
            return
        if gate.on_breach is OnBreach.ALERT and now.breach is None:
            yield f"{metric.name} is worse in stage {index} of run {run.uid}, and nobody is told"
        elif gate.on_breach is not OnBreach.ALERT and _reason(run, index, metric) not in run.run.pause_reasons:
            yield f"stage {index} of run {run.uid} goes on, and {metric.name} is worse on its updated devices"


def _metric(run: RunRecord | None, index: int, metric: Metric) -> MetricRun:
    group = None if run is None else run.run.stages[index].control
    return MetricRun() if group is None else group.metrics.get(metric.name, MetricRun())


def _reason(run: RunRecord, index: int, metric: Metric) -> str:
    return f"metric:{run.plan.pipeline.stages[index].name}:{metric.name}"
