"""Invariant 2, of devices that were taken out of the fleet: nothing is for them, and nothing of them counts."""

from collections.abc import Iterator

from controller.app.records import TargetRecord
from protocol.messages import Op
from simulator.virtual.laws.law import Asked, Complaints, Handed, Law
from simulator.virtual.picture import Commit, Picture

_LEFT = frozenset({"queued", "in_progress"})
_BEGINS = frozenset({Op.INSTALL, Op.WATCH, Op.GO})


class RemovedIsGone(Law):
    """A removed device ends everywhere at once, is in no group and no new stage, says no hello and may begin nothing.

    It may still hear that it is called back. Only a removal ends a device so.
    """

    number = 2

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._gone: set[str] = set()
        """Devices whose removal was answered, and that nobody has asked to enrol since."""
        self._coming: set[str] = set()
        """Devices that somebody is enrolling: a removal that is answered meanwhile may have come before that."""

    def committed(self, commit: Commit) -> Complaints:
        """Judge the rows, groups, hellos and commands of devices that are removed."""
        for device_id in commit.removed:
            yield from self._ended(device_id)
        for before, row in commit.targets:
            yield from self._moved(before, row, commit)
        for hello in commit.hellos:
            if hello.id in self.picture.removed:
                yield f"a hello of {hello.name} was taken, which was removed"
        for command in commit.commands:
            is_gone = command.device_id in self.picture.removed and command.device_id not in commit.removed
            if is_gone and command.op in _BEGINS:
                yield f"a command to {command.op} for {command.name}, which was removed"

    def _ended(self, device_id: int) -> Iterator[str]:
        device = self.picture.described[device_id]
        for row in self.picture.targets.values():
            if row.device_id == device_id and row.target.state in _LEFT:
                yield f"{device.device} was removed, and is {row.target.state} in run {row.run_id}"
        if device.groups:
            yield f"{device.device} was removed, and is in groups {sorted(device.groups)}"

    def _moved(self, before: TargetRecord | None, row: TargetRecord, commit: Commit) -> Iterator[str]:
        is_new = before is None or before.target.state != row.target.state
        if is_new and row.target.state == "removed" and row.device_id not in commit.removed:
            yield f"{row.name} ended as removed, and nobody has removed it"
        is_gone = row.device_id in self.picture.removed and row.device_id not in commit.removed
        if is_gone and row.target.state in _LEFT:
            yield f"{row.name} was removed, and is {row.target.state} in run {row.run_id}"

    def handed(self, handed: Handed) -> Complaints:
        """Judge what goes to a device whose removal was answered."""
        device, command = self.picture.names[handed.name], handed.command
        if command is not None and command.op in _BEGINS and device.device in self._gone:
            yield f"a command to {command.op} was handed to {handed.name} after its removal was answered"

    def asked(self, asked: Asked) -> Complaints:
        """Let a device in again as soon as somebody asks for it."""
        if asked.act == "enrol":
            self._gone.discard(asked.subject)
            self._coming.add(asked.subject)
        return ()

    def answered(self, asked: Asked, *, is_done: bool) -> Complaints:
        """Take note that a device is removed, and nobody has undone it."""
        ids = {device.id for device in self.picture.devices.values() if device.device == asked.subject}
        is_gone = asked.act == "remove" and is_done and ids <= self.picture.removed
        if is_gone and asked.subject not in self._coming:
            self._gone.add(asked.subject)
        if asked.act == "enrol":
            self._coming.discard(asked.subject)
        return ()
