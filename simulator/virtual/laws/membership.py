"""Invariant 2: commands go to members of the frozen stage alone, and to nobody who is blocked or broken."""

from collections.abc import Iterator, Sequence

from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.domain.query import Described
from controller.domain.target import TargetState
from protocol.lifecycle import Left
from simulator.virtual.laws.law import Asked, Complaints, Handed, Law
from simulator.virtual.laws.models import is_kept_out
from simulator.virtual.laws.selection import mismatch
from simulator.virtual.picture import Commit, Picture

PERCENT_ALL = 100


class OnlyMembers(Law):
    """A device is commanded only where its stage's targets name it, and while it may take part."""

    number = 2

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._shut_out: set[str] = set()

    def committed(self, commit: Commit) -> Complaints:
        """Judge who was frozen, and who was given a command."""
        for before, row in commit.targets:
            if before is None:
                yield from self._joined(row, commit)
            elif row.target.left is Left.BROKEN is not before.target.left and row.device_id not in self.picture.broken:
                yield f"{row.name} was left broken, and is not marked as such"
        for command in commit.commands:
            yield from self._commanded(command)

    def _joined(self, row: TargetRecord, commit: Commit) -> Iterator[str]:
        device = self.picture.devices[row.device_id]
        plan = self.picture.runs[row.run_id].plan
        wanted = plan.pipeline.stages[row.stage].targets
        reasons = [mismatch(wanted, turn) for turn in _turns(self.picture, commit, row.device_id)]
        if all(reasons) and plan.source is None:
            yield f"{device.device} {reasons[-1]}, and was frozen"
        if row.device_id in self.picture.blocked | self.picture.broken:
            yield f"{device.device} is blocked or broken and was frozen"
        others = [r for r in self.picture.targets.values() if (r.run_id, r.device_id) == (row.run_id, row.device_id)]
        if len(others) > 1:
            yield f"{device.device} belongs to {len(others)} stages of one run"

    def _commanded(self, command: CommandRecord) -> Iterator[str]:
        if command.device_id not in self.picture.members[command.run_id]:
            yield f"a command for {command.name}, which is no member of the run"
        if command.target_id is None:
            return
        row = self.picture.targets[command.target_id]
        is_new = row.target.state is TargetState.IN_PROGRESS and row.target.command == command.digest
        if is_new and command.device_id in self.picture.blocked | self.picture.broken:
            yield f"an install command for {command.name}, which is blocked or broken"

    def handed(self, handed: Handed) -> Complaints:
        """Judge whom bytes went to."""
        command = handed.command
        if command is not None and command.name != handed.name:
            yield f"the command for {command.name} was handed to {handed.name}"
        device = self.picture.names[handed.name]
        if device.device in self._shut_out and device.id in self.picture.blocked:
            yield f"a command was handed to {handed.name} after its block was answered"

    def asked(self, asked: Asked) -> Complaints:
        """Let a device in again as soon as somebody asks for it."""
        if asked.act == "unblock":
            self._shut_out.discard(asked.subject)
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Take note that a device is blocked, and nobody has undone it."""
        ids = {device.id for device in self.picture.devices.values() if device.device == asked.subject}
        if asked.act == "block" and is_done and ids <= self.picture.blocked:
            self._shut_out.add(asked.subject)
        return ()


class NobodyIsLeftOut(Law):
    """A stage freezes everyone who belongs to it; of one that takes a share only, too many are judged, not too few."""

    number = 2

    def committed(self, commit: Commit) -> Complaints:
        """Judge every stage that was frozen in this transaction."""
        for before, run in commit.runs:
            for index, stage in enumerate(run.run.stages):
                was_frozen = before is not None and before.run.stages[index].is_frozen
                if stage.is_frozen and not was_frozen and run.plan.source is None:
                    yield from self._frozen(commit, run, index)

    def _frozen(self, commit: Commit, run: RunRecord, index: int) -> Complaints:
        wanted = run.plan.pipeline.stages[index].targets
        if wanted.percent < PERCENT_ALL:
            return
        for device_id, device in self.picture.devices.items():
            is_barred = device_id in self.picture.blocked | self.picture.broken
            if is_barred or device_id in self.picture.members[run.id]:
                continue
            turns = _turns(self.picture, commit, device_id)
            if not any(mismatch(wanted, turn) or is_kept_out(run, turn.model) for turn in turns):
                yield f"{device.device} belongs to stage {index} of run {run.uid} and was left out"


def _turns(picture: Picture, commit: Commit, device_id: int) -> Sequence[Described]:
    """Return all that a device was while a transaction went on: who is judged may be sure of any of it."""
    return commit.described.get(device_id) or [picture.described[device_id]]
