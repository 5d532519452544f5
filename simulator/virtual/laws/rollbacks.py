"""Invariant 2, of runs that take devices back: who belongs to them, and to which version each device goes."""

from collections.abc import Iterator
from typing import Final

from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.domain.model import StageRun
from controller.domain.pipeline import OnFailure
from protocol.codec import decode
from protocol.messages import Command, Op
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit, Picture

_ENDS: Final = frozenset({"succeeded", "failed", "terminated", "timed_out"})
_Place = tuple[int, int]
"""(run id, device id)."""


class BackToWhatWasThere(Law):
    """Once, and after its end, the devices that a run has reached go back: each to what it had, or to what was named.

    What a device had is what it had told of itself when its first command was committed. Within that transaction it
    may have told several things, and any of them will do.
    """

    number = 2

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._had: dict[_Place, frozenset[str]] = {}
        self._rolled_back: dict[int, str] = {}

    def committed(self, commit: Commit) -> Complaints:
        """Judge who was taken back, and to what."""
        for command in commit.commands:
            yield from self._commanded(commit, command)
        for before, run in commit.runs:
            if before is None:
                yield from self._began(run)
            if self._is_frozen_now(before, run):
                yield from self._frozen(commit, run)
            if run.run.state in _ENDS and (before is None or before.run.state not in _ENDS):
                yield from self._ended(commit, run)
        for row_before, row in commit.targets:
            if row_before is None:
                yield from self._joined(commit, row)

    # --- what a device had, and what it goes to -------------------------------------------------------------------

    def _commanded(self, commit: Commit, command: CommandRecord) -> Iterator[str]:
        if command.target_id is None or command.op is Op.WATCH:
            return
        run = self.picture.runs[command.run_id]
        self._had.setdefault((run.id, command.device_id), self._has(commit, command.device_id))
        if run.plan.source is None:
            return
        version = decode(command.payload, Command).releases[0].path.split("/")[1]
        expected = self._wanted(run, command.device_id)
        if version not in expected:
            yield f"run {run.uid} tells {command.name} to install {version}, and not one of {sorted(expected)}"
        if self.picture.runs[run.plan.source.run_id].run.state not in _ENDS:
            yield f"run {run.uid} commands {command.name} before {run.plan.source.run} has ended"

    def _has(self, commit: Commit, device_id: int) -> frozenset[str]:
        turns = commit.described.get(device_id) or [self.picture.described[device_id]]
        return frozenset(next((version for _, version in turn.apps), "") for turn in turns)

    def _before(self, run: RunRecord, device_id: int) -> frozenset[str]:
        """Return what a device had before a run, or before the first of the runs that this one tries again.

        A run that it belonged to and that never reached it is one of those.
        """
        source = run.plan.source
        if source is not None and source.purpose == "retry" and device_id in self.picture.members[source.run_id]:
            earlier = self._before(self.picture.runs[source.run_id], device_id)
            if earlier:
                return earlier
        return self._had.get((run.id, device_id), frozenset())

    def _wanted(self, run: RunRecord, device_id: int) -> frozenset[str]:
        source = run.plan.source
        if source is None or not self.picture.goes_back(run):
            return frozenset({run.plan.operation.version})
        if source.version:
            return frozenset({source.version})
        past = self.picture.runs[source.run_id]
        return self._before(past, device_id) if source.purpose == "rollback" else self._wanted(past, device_id)

    # --- who goes back --------------------------------------------------------------------------------------------

    def _began(self, run: RunRecord) -> Iterator[str]:
        source = run.plan.source
        if source is None:
            return
        past = self.picture.runs[source.run_id]
        rows = [row for row in self.picture.targets.values() if row.run_id == past.id]
        at_work = [row.name for row in rows if row.target.state == "in_progress"]
        if past.run.state not in _ENDS or at_work:
            yield f"run {run.uid} is over {past.uid}, which is {past.run.state} with {at_work} at work"
        if source.purpose != "rollback":
            return
        if past.id in self._rolled_back and self._is_through(self._rolled_back[past.id]):
            yield f"run {past.uid} is rolled back by {run.uid}, and was by {self._rolled_back[past.id]}"
        self._rolled_back[past.id] = run.uid
        if past.run.rolled_back_by != run.uid:
            yield f"run {run.uid} rolls {past.uid} back, which says {past.run.rolled_back_by or 'nothing'} of it"

    def _is_through(self, uid: str) -> bool:
        """Say whether a rollback is under way, or has succeeded: then no other may follow it."""
        return any(run.uid == uid and run.run.state in {"running", "succeeded"} for run in self.picture.runs.values())

    def _joined(self, commit: Commit, row: TargetRecord) -> Iterator[str]:
        run = self.picture.runs[row.run_id]
        source = run.plan.source
        if source is None or not self.picture.goes_back(run):
            return
        if source.purpose == "rollback" and (source.run_id, row.device_id) not in self._had:
            yield f"{row.name} is taken back by {run.uid}, and {source.run} has never reached it"
        wanted, now = self._wanted(run, row.device_id), self._has(commit, row.device_id)
        if wanted and all(self._is_below(version, here) for version in wanted for here in now):
            yield f"{row.name} is to go to {sorted(wanted)}, below the floor of {sorted(now)}"

    def _is_below(self, version: str, here: str) -> bool:
        """Say whether a version lies below the floor that another one has set."""
        return bool(here and version) and self.picture.counters.get(version, 0) < self.picture.floors.get(here, 0)

    def _is_frozen_now(self, before: RunRecord | None, run: RunRecord) -> bool:
        source = run.plan.source
        was = before is not None and before.run.stages[0].is_frozen
        return source is not None and source.purpose == "rollback" and run.run.stages[0].is_frozen and not was

    def _frozen(self, commit: Commit, run: RunRecord) -> Iterator[str]:
        assert run.plan.source is not None
        past = self.picture.runs[run.plan.source.run_id]
        for device_id in self._fit(commit, past, run):
            if device_id not in self.picture.members[run.id]:
                yield f"{self.picture.devices[device_id].device} could go back, and {run.uid} left it out"

    def _fit(self, commit: Commit, past: RunRecord, run: RunRecord | None = None) -> Iterator[int]:
        """Yield the devices that a run has reached and that can surely be taken back."""
        barred = self.picture.blocked | self.picture.broken
        for run_id, device_id in list(self._had):
            if run_id != past.id or device_id in barred or len(self._has(commit, device_id)) > 1:
                continue
            wanted = self._before(past, device_id) if run is None else self._wanted(run, device_id)
            [now] = self._has(commit, device_id)
            if all(one and one != now and not self._is_below(one, now) for one in wanted):
                yield device_id

    def _ended(self, commit: Commit, run: RunRecord) -> Iterator[str]:
        """A run that a stage has failed that wants it is rolled back at once, unless nobody can be taken back."""
        if self.picture.runs[run.id].run.state != "failed" or self.picture.runs[run.id].run.rolled_back_by:
            return
        stages = zip(run.plan.pipeline.stages, run.run.stages, strict=True)
        failed = [stage.name for stage, now in stages if _wants_back(now, stage.on_failure)]
        left = list(self._fit(commit, run)) if failed else []
        if left:
            yield f"run {run.uid} failed in {failed[0]} and is not rolled back; {len(left)} devices could be"


def _wants_back(now: StageRun, on_failure: OnFailure) -> bool:
    return now.state == "failed" and on_failure is OnFailure.ROLLBACK
