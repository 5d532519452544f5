"""What begins a run begins it once, and what it was begun with stays: invariants 12 and 9."""

import re
from collections import Counter, defaultdict
from typing import Final

import msgspec

from controller.app.records import RunRecord
from controller.app.repositories import Transaction
from controller.domain.model import Plan
from controller.domain.pipeline import Pace, Pipeline, Stage
from protocol.ids import StageName
from protocol.units import MINUTE
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit, Picture
from simulator.virtual.shapes import DELIVERY, FLIGHT

_SCHEDULE: Final = re.compile(r"trigger:schedule \*/(\d+) \* \* \* \* UTC")


class StartsOnce(Law):
    """An instant of a schedule, a release put into a channel, and a delivery to a hook start one run of a job at most.

    Schedules that worlds draw come every few minutes of the hour, so that the minutes since 1970 number their instants.
    """

    number = 12

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._last: dict[str, int] = {}
        self._put: Counter[str] = Counter()
        self._begun: Counter[tuple[str, str]] = Counter()
        self._delivered: dict[str, set[str]] = defaultdict(set)

    def committed(self, commit: Commit) -> Complaints:
        """Judge every run that was begun."""
        self._put.update(record.version for record in commit.channels)
        for before, run in commit.runs:
            if before is None:
                yield from self._begins(run)

    def _begins(self, run: RunRecord) -> Complaints:
        by = run.plan.started_by
        schedule = _SCHEDULE.fullmatch(by)
        if schedule is not None:
            yield from self._scheduled(run, run.created_at // (int(schedule[1]) * MINUTE))
        elif by.startswith("trigger:channel"):
            yield from self._released(run)
        elif by == "trigger:hook":
            yield from self._called(run)

    def _scheduled(self, run: RunRecord, instant: int) -> Complaints:
        if instant <= self._last.get(run.job, -1):
            yield f"run {run.uid} of {run.job} was started by an instant of its schedule that had started one"
        self._last[run.job] = instant

    def _released(self, run: RunRecord) -> Complaints:
        version = run.plan.operation.version
        self._begun[run.job, version] += 1
        if self._begun[run.job, version] > self._put[version]:
            yield f"run {run.uid} of {run.job} was started by {version} in a channel, which had started one"

    def _called(self, run: RunRecord) -> Complaints:
        delivery = run.plan.operation.env.get(DELIVERY, "")
        if delivery in self._delivered[run.job]:
            yield f"run {run.uid} of {run.job} was started by the delivery {delivery!r}, which had started one"
        self._delivered[run.job].add(delivery)


class PlansStay(Law):
    """A run is begun by the newest revision, with the values that were given; its plan is never another one.

    A run over an earlier run has what that one has: a retry its stages, a rollback one stage by its rules.
    """

    number = 9

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._plans: dict[int, Plan] = {}

    def committed(self, commit: Commit) -> Complaints:
        """Judge the plan of every run that was written."""
        for before, run in commit.runs:
            if before is None:
                self._plans[run.id] = run.plan
                yield from self._begins(run)
            elif run.plan != self._plans[run.id]:
                yield f"run {run.uid} goes by another plan than it was begun with"

    def _begins(self, run: RunRecord) -> Complaints:
        source = run.plan.source
        if source is None:
            yield from self._begins_by_the_newest(run)
        else:
            yield from _follows(run, self.picture.runs[source.run_id])

    def _begins_by_the_newest(self, run: RunRecord) -> Complaints:
        revisions = self.picture.revisions[run.plan.pipeline.name]
        if run.plan.revision != len(revisions):
            yield f"run {run.uid} is begun by revision {run.plan.revision}, and {len(revisions)} is the newest"
        elif run.plan.pipeline.stages != _stages(revisions[-1], run.plan):
            yield f"run {run.uid} is begun with other stages than its revision has"

    def restarted(self, tx: Transaction) -> Complaints:
        """Judge the plans that a new life of the controller finds."""
        for run_id, plan in self._plans.items():
            run = tx.runs.get(run_id)
            if run.plan != plan:
                yield f"run {run.uid} is found with another plan than it was begun with"


def _follows(run: RunRecord, past: RunRecord) -> Complaints:
    """Judge a run over an earlier one; the version may be another, everything else that was given stays."""
    assert run.plan.source is not None
    is_rollback = run.plan.source.purpose == "rollback"
    stages = (_stage_back(past.plan.pipeline),) if is_rollback else past.plan.pipeline.stages
    given, given_before = _given(run), _given(past)
    if given != given_before:
        yield f"run {run.uid} is over {past.uid} and goes by {given}, where that went by {given_before}"
    elif run.plan.pipeline != msgspec.structs.replace(past.plan.pipeline, stages=stages):
        yield f"run {run.uid} is over {past.uid} and is begun with other stages than that leaves it"


def _given(run: RunRecord) -> tuple[object, ...]:
    """Return what a run was begun with, but its definition and its version."""
    operation = msgspec.structs.replace(run.plan.operation, version="")
    return run.job, run.plan.revision, run.plan.parameters, operation


def _stage_back(definition: Pipeline) -> Stage:
    """Return the stage in which devices go back: by the rules for it, as wide as the widest stage without any."""
    rules = definition.rollback
    pace = rules.pace or Pace(max_in_flight=max(stage.pace.max_in_flight for stage in definition.stages))
    return Stage(name=StageName("rollback"), pace=pace, gate=rules.gate, timeouts=rules.timeouts, retry=rules.retry)


def _stages(definition: Pipeline, plan: Plan) -> tuple[Stage, ...]:
    """Return the stages that a revision means; in those that worlds leave open, the pace is what is given."""
    if not definition.parameters:
        return definition.stages
    flight = plan.parameters[FLIGHT]
    assert isinstance(flight, int)
    pace = Pace(max_in_flight=flight)
    return tuple(msgspec.structs.replace(stage, pace=pace) for stage in definition.stages)
