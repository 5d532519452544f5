"""Invariant 1: devices in flight never exceed `max_in_flight`, and no minute has more releases than `per_minute`."""

from collections import defaultdict

from controller.app.records import TargetRecord
from controller.domain.pipeline import Growth
from controller.domain.target import TargetState
from protocol.units import MINUTE
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit, Picture


class InFlightIsBounded(Law):
    """At most `max_in_flight` devices of a stage are at work, across crashes, resumes and edits."""

    number = 1

    def committed(self, commit: Commit) -> Complaints:
        """Count what the commit touched."""
        for key in {(row.run_id, row.stage): None for _, row in commit.targets}:
            limit = self.picture.runs[key[0]].plan.pipeline.stages[key[1]].pace.max_in_flight
            at_work = self.picture.counts[key][TargetState.IN_PROGRESS]
            if at_work > limit:
                yield f"{at_work} devices of stage {key[1]} are at work, at most {limit} may be"


class RatesHold(Law):
    """Of a stage with a rate, no 60 s of run time have more releases than the rate says; each attempt is one."""

    number = 1

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._gone: dict[tuple[int, int], list[int]] = defaultdict(list)

    def committed(self, commit: Commit) -> Complaints:
        """Count the releases of the last minute at each one."""
        for before, row in commit.updated:
            limit = self._limit(row)
            if limit is None or before is None or row.target.attempt <= before.target.attempt:
                continue
            now, gone = self._run_time(row), self._gone[row.run_id, row.stage]
            gone.append(now)
            recent = sum(at > now - MINUTE for at in gone)
            if recent > limit:
                yield f"{recent} devices of stage {row.stage} went within a minute, at most {limit} may"

    def _limit(self, row: TargetRecord) -> int | None:
        rate = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].pace.per_minute
        if not isinstance(rate, Growth):
            return rate
        limit = float(rate.start)
        for _ in range(self.picture.counts[row.run_id, row.stage][TargetState.SUCCEEDED] // rate.every):
            limit = min(rate.max, limit * rate.factor)
        return int(limit)

    def _run_time(self, row: TargetRecord) -> int:
        clock = self.picture.runs[row.run_id].run.clock
        return clock.base + (0 if clock.since is None else max(0, row.updated_at - clock.since))
