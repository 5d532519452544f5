"""Invariant 2, of runs that try again: who belongs to them."""

from collections.abc import Iterator
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.rerun import Source
from controller.domain.target import Target
from simulator.virtual.laws.law import Asked, Complaints, Law
from simulator.virtual.laws.limits import Wishes
from simulator.virtual.laws.models import is_kept_out
from simulator.virtual.picture import Commit, Picture

_UNSUCCESSFUL: Final = frozenset({"failed", "timed_out"})
_ACTS: Final = ("retry", "retry with cancelled")
"""How people ask for it: for what failed and was missed, and for what was cancelled as well."""


class RetriesWhatFailed(Law):
    """A retry has the devices that failed or were missed in the same stage of its source, all that may take part.

    It has those that were cancelled there as well, if that was asked for.
    """

    number = 2

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._wishes = {act: Wishes() for act in _ACTS}

    def asked(self, asked: Asked) -> Complaints:
        """Take note of what somebody wants tried again."""
        if asked.act in self._wishes:
            self._wishes[asked.act].asked(asked)
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge who was frozen, and who was not."""
        for row_before, row in commit.targets:
            source = self.picture.runs[row.run_id].plan.source
            if row_before is None and source is not None and source.purpose == "retry":
                yield from self._joined(row, source)
        for before, run in commit.runs:
            if before is None:
                yield from self._began(run)
            if run.plan.source is not None and run.plan.source.purpose == "retry":
                yield from self._missed(commit, before, run)

    def _began(self, run: RunRecord) -> Iterator[str]:
        source = run.plan.source
        if source is None or source.purpose != "retry":
            return
        act = _ACTS[source.with_cancelled]
        if not self._wishes[act].of(source.run):
            yield f"run {run.uid} is made to {act} {source.run}, and nobody has asked for that"

    def _joined(self, row: TargetRecord, source: Source) -> Iterator[str]:
        known = [one for one in self._rows(source.run_id) if one.device_id == row.device_id]
        ended = [f"{one.target.state} in stage {one.stage}" for one in known]
        if not any(one.stage == row.stage and _is_meant(one.target, source) for one in known):
            yield f"{row.name} is tried again in stage {row.stage}, and had ended {ended or 'nowhere'}"

    def _missed(self, commit: Commit, before: RunRecord | None, run: RunRecord) -> Iterator[str]:
        source = run.plan.source
        assert source is not None
        barred = self.picture.blocked | self.picture.broken | self.picture.members[run.id]
        for index, now in enumerate(run.run.stages):
            was = None if before is None else before.run.stages[index]
            is_known_empty = now.state == "skipped" and not now.skipped
            is_frozen_now = now.is_frozen and not (was is not None and was.is_frozen)
            if not is_frozen_now and not (is_known_empty and not now.is_frozen and now != was):
                continue
            for one in self._rows(source.run_id):
                is_out = one.device_id in barred or self._is_unfit(commit, run, one)
                if one.stage == index and _is_meant(one.target, source) and not is_out:
                    yield f"{one.name} {one.target.state} in stage {index}, and {run.uid} does not try it again"

    def _is_unfit(self, commit: Commit, run: RunRecord, past: TargetRecord) -> bool:
        """Say whether a device may be left out for its model, or, where devices go back, for what it has."""
        turns = commit.described.get(past.device_id) or [self.picture.described[past.device_id]]
        if is_kept_out(run, turns[-1].model):
            return True
        if not self.picture.goes_back(run):
            return False
        wanted = run.plan.source.version if run.plan.source and run.plan.source.version else past.wanted or ""
        here = {version for turn in turns for _, version in turn.apps}
        is_below = any(self.picture.counters.get(wanted, 0) < self.picture.floors.get(one, 0) for one in here)
        return wanted in here or is_below or wanted not in run.plan.releases

    def _rows(self, run_id: int) -> list[TargetRecord]:
        return [row for row in self.picture.targets.values() if row.run_id == run_id]


def _is_meant(target: Target, source: Source) -> bool:
    """Say whether a retry is for a device; who was held back to the end was missed, however its watch ended."""
    if target.is_control:
        return source.with_cancelled and target.state != "removed"
    return target.state in _meant(source)


def _meant(source: Source) -> frozenset[str]:
    """Return how devices ended that a retry is for."""
    return _UNSUCCESSFUL | {"cancelled"} if source.with_cancelled else _UNSUCCESSFUL
