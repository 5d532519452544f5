"""Invariant 7, of metrics: what pairs come to, by our own arithmetic, and when that stops a stage."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
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


@dataclass(frozen=True, slots=True)
class _Move:
    """What a commit made of one metric of a run."""

    before: RunRecord | None
    run: RunRecord
    index: int
    metric: Metric
    is_resumed: bool

    @property
    def was(self) -> MetricRun:
        return self._of(self.before)

    @property
    def now(self) -> MetricRun:
        return self._of(self.run)

    def _of(self, run: RunRecord | None) -> MetricRun:
        group = None if run is None else run.run.stages[self.index].control
        return MetricRun() if group is None else group.metrics.get(self.metric.name, MetricRun())

    @property
    def is_open(self) -> bool:
        return self.run.run.stages[self.index].state in _OPEN

    @property
    def is_alert(self) -> bool:
        return self.run.plan.pipeline.stages[self.index].gate.on_breach is OnBreach.ALERT

    @property
    def is_held(self) -> bool:
        return self._reason in self.run.run.pause_reasons

    @property
    def was_held(self) -> bool:
        return self.before is not None and self._reason in self.before.run.pause_reasons

    @property
    def _reason(self) -> str:
        return f"metric:{self.run.plan.pipeline.stages[self.index].name}:{self.metric.name}"

    @property
    def place(self) -> _Place:
        return self.run.id, self.index, self.metric.name

    def __str__(self) -> str:
        return f"{self.metric.name} of stage {self.index} of run {self.run.uid}"


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
                stages = [str(stage.name) for stage in self.picture.runs[event.run_id].plan.pipeline.stages]
                self._alerts[event.run_id, stages.index(str(event.data["stage"])), str(event.data["text"])] += 1
        resumed = {event.run_id for event in commit.events if event.kind == "resumed"}
        for before, run in commit.runs:
            for index, stage in enumerate(run.plan.pipeline.stages):
                for metric in () if stage.gate.control is None else stage.gate.control.metrics:
                    move = _Move(before, run, index, metric, run.id in resumed)
                    yield from chain(self._counted(move), self._stopped(move), _accepted(move))

    def _pairs(self, commit: Commit) -> Iterator[str]:
        for updated, control in matches(commit):
            run = self.picture.runs[updated.run_id]
            before = next((was for was, now in commit.runs if now.id == run.id), run)
            group = None if before is None else before.run.stages[updated.stage].control
            if group is None or group.discharged_at is not None:
                yield f"{updated.name} is compared with {control.name}, and its stage compares nobody any more"
            rules = run.plan.pipeline.stages[updated.stage].gate.control
            for metric in () if rules is None else rules.metrics:
                known = self._known[run.id, updated.stage, metric.name]
                known.move(metric, updated.target.measures, control.target.measures)

    def _counted(self, move: _Move) -> Iterator[str]:
        """Judge what is known of a metric."""
        now, known = move.now, self._known[move.place]
        shown, expected = (now.pairs, now.worse, now.equal), (known.pairs, known.worse, known.equal)
        if shown != expected or abs(exp(now.evidence.log) - known.evidence) > 1e-6 * known.evidence:
            of_rows = f"its pairs show {expected} with {known.evidence}"
            yield f"{move} is known of (pairs, worse, equal) {shown} with {exp(now.evidence.log)}, and {of_rows}"

    def _stopped(self, move: _Move) -> Iterator[str]:
        """Judge whether a metric stops its stage, or only is told, and where it does not."""
        now, was, known = move.now, move.was, self._known[move.place]
        reached = known.evidence * share_of(move.run, move.metric)
        if now.breach != was.breach:
            is_newer = was.breach is None or (known.worse > now.accepted >= was.breach.worse)
            if now.breach is None or not is_newer or reached < 1 - ROUNDING:
                yield f"{move} stops it with {reached:.3f} of what is needed, or again: {was.breach}, {now.breach}"
        if self._alerts[move.place] != int(move.is_alert and now.breach is not None):
            yield f"{move} is told of {self._alerts[move.place]} times, and its breach is {now.breach}"
        is_going = move.is_open and move.run.run.state == "running" and not move.run.run.reason
        is_enough = reached > 1 + ROUNDING and known.worse > now.accepted
        is_known = now.breach is not None and (move.is_alert or move.is_held)
        if is_going and is_enough and not is_known:
            yield f"{move} is worse on its updated devices, and nothing comes of it"


def _accepted(move: _Move) -> Iterator[str]:
    """Judge who goes on over a metric: a person who resumes the run that it holds, and only so."""
    now = move.now
    if now.accepted != move.was.accepted and not move.was_held:
        yield f"{move} is accepted, and has not held the run"
    is_let_go = move.was_held and (move.is_resumed or not move.is_held)
    if is_let_go and move.is_open and now.accepted != now.worse:
        yield f"somebody goes on over {move}, and {now.accepted} of {now.worse} are accepted"
    if move.is_held and (now.breach is None or move.is_alert):
        yield f"{move} holds the run, and has stopped nothing"
