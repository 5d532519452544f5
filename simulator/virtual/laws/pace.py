"""Invariant 1: devices in flight never exceed `max_in_flight`."""

from controller.domain.target import TargetState
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit


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
