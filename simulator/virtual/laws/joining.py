"""Who joins a stage that is open already: where it includes new devices all of them, else nobody."""

import hashlib
from collections.abc import Iterator

from controller.app.records import RunRecord, TargetRecord
from controller.domain.pipeline import Targets
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.laws.models import is_kept_out
from simulator.virtual.laws.selection import mismatch
from simulator.virtual.picture import Commit


class NewcomersJoin(Law):
    """A device joins a stage late only while that rolls out and includes new ones; and whoever then matches does.

    A run over an earlier run has the devices of that one, and takes nobody else.
    """

    number = 2

    def committed(self, commit: Commit) -> Complaints:
        """Judge who joined in this transaction, and who changed and did not."""
        old = {run.id: before for before, run in reversed(commit.runs)}
        for before, row in commit.targets:
            was = old.get(row.run_id, self.picture.runs[row.run_id])
            if before is None and was is not None and was.run.stages[row.stage].is_frozen:
                yield from self._joined(row, was)
        for device_id in sorted(commit.described):
            for run in self.picture.runs.values():
                if device_id not in self.picture.members[run.id]:
                    yield from self._left_out(commit, device_id, run, old.get(run.id, run))

    def _joined(self, row: TargetRecord, run: RunRecord) -> Iterator[str]:
        wanted, stage = run.plan.pipeline.stages[row.stage].targets, run.run.stages[row.stage]
        takes = wanted.include_new and run.plan.source is None
        if not takes or stage.state != "rolling_out" or run.run.state != "running":
            yield f"{row.name} joined stage {row.stage} of run {run.uid}, which takes nobody any more"
        if not _is_in_share(wanted, self.picture.devices[row.device_id].device, run.plan.salt):
            yield f"{row.name} joined stage {row.stage} of run {run.uid}, and is not in its share"
        others = [one for one in self.picture.targets.values() if one.id >> 32 == row.id >> 32 and one is not row]
        if any(one.id > row.id and one.updated_at < row.updated_at for one in others):
            yield f"{row.name} joined stage {row.stage} of run {run.uid} before devices that it has already"

    def _left_out(self, commit: Commit, device_id: int, run: RunRecord, was: RunRecord | None) -> Iterator[str]:
        device = self.picture.devices[device_id].device
        is_barred = device_id in self.picture.blocked | self.picture.broken
        is_over_another = run.plan.source is not None
        if is_barred or is_over_another or was is None or run.run.state != "running" or run.run.reason:
            return
        turns = commit.described[device_id]
        for index, stage in enumerate(run.plan.pipeline.stages):
            states = {was.run.stages[index].state, run.run.stages[index].state}
            wanted = stage.targets
            is_open = wanted.include_new and states == {"rolling_out"} and was.run.stages[index].is_frozen
            is_out = any(is_kept_out(one, turns[-1].model) for one in (was, run))
            is_meant = not is_out and not mismatch(wanted, turns[-1])
            if is_open and is_meant and _is_in_share(wanted, device, run.plan.salt):
                yield f"{device} belongs to stage {index} of run {run.uid}, which includes new ones, and was left out"


def _is_in_share(wanted: Targets, device: str, salt: str) -> bool:
    """Say whether a device falls into the share, by what the documentation says of the order of a run."""
    place = int(hashlib.sha256(f"{salt}\0{device}".encode()).hexdigest()[:16], 16) // 2
    return wanted.percent >= 100 or place * 100 < wanted.percent * 2**63  # noqa: PLR2004 - per cent
