"""Invariant 2, of runs that try again: who belongs to them."""

from collections.abc import Iterator
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit

_UNSUCCESSFUL: Final = frozenset({"failed", "timed_out"})


class RetriesWhatFailed(Law):
    """A retry has the devices that failed or were missed in the same stage of its source, all that may take part."""

    number = 2

    def committed(self, commit: Commit) -> Complaints:
        """Judge who was frozen, and who was not."""
        for row_before, row in commit.targets:
            source = self.picture.runs[row.run_id].plan.source
            if row_before is None and source is not None and source.purpose == "retry":
                yield from self._joined(row, source.run_id)
        for before, run in commit.runs:
            if run.plan.source is not None and run.plan.source.purpose == "retry":
                yield from self._missed(before, run, run.plan.source.run_id)

    def _joined(self, row: TargetRecord, past: int) -> Iterator[str]:
        known = [one for one in self._rows(past) if one.device_id == row.device_id]
        ended = [f"{one.target.state} in stage {one.stage}" for one in known]
        if not any(one.stage == row.stage and one.target.state in _UNSUCCESSFUL for one in known):
            yield f"{row.name} is tried again in stage {row.stage}, and had ended {ended or 'nowhere'}"

    def _missed(self, before: RunRecord | None, run: RunRecord, past: int) -> Iterator[str]:
        barred = self.picture.blocked | self.picture.broken | self.picture.members[run.id]
        for index, now in enumerate(run.run.stages):
            was = None if before is None else before.run.stages[index]
            is_known_empty = now.state == "skipped" and not now.skipped
            is_frozen_now = now.is_frozen and not (was is not None and was.is_frozen)
            if not is_frozen_now and not (is_known_empty and not now.is_frozen and now != was):
                continue
            for one in self._rows(past):
                if one.stage == index and one.target.state in _UNSUCCESSFUL and one.device_id not in barred:
                    yield f"{one.name} {one.target.state} in stage {index}, and {run.uid} does not try it again"

    def _rows(self, run_id: int) -> list[TargetRecord]:
        return [row for row in self.picture.targets.values() if row.run_id == run_id]
