"""Invariant 3, the other half: devices at work that are connected are told of a pause and of a recall."""

from collections.abc import Iterator

from controller.app.records import TargetRecord
from controller.domain.target import TargetState
from protocol.messages import Op
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit


class StopsAreTold(Law):
    """The commit that pauses a run or calls a device back has a command that says so, for each device it can reach."""

    number = 3

    def committed(self, commit: Commit) -> Complaints:
        """Look for the command to each device at work."""
        told = {(command.device_id, command.run_id, command.op) for command in commit.commands}
        for before, row in commit.targets:
            is_news = before is not None and _is_called_back(before, row)
            is_told = (row.device_id, row.run_id, Op.CANCEL) in told
            if is_news and not is_told and self.picture.session(row.name) is not None:
                yield f"{row.name} is at work and connected, and was not told that it is called back"
        for before_run, run in commit.runs:
            if run.run.is_paused and before_run is not None and not before_run.run.is_paused:
                for row in self._at_work(run.id):
                    if not told & {(row.device_id, row.run_id, op) for op in (Op.HOLD, Op.CANCEL)}:
                        yield f"{row.name} is at work and connected, and was not told of the pause"

    def _at_work(self, run_id: int) -> Iterator[TargetRecord]:
        rows = (row for row in self.picture.targets.values() if row.run_id == run_id)
        return (row for row in rows if self._is_reachable(row))

    def _is_reachable(self, row: TargetRecord) -> bool:
        return row.target.state is TargetState.IN_PROGRESS and self.picture.session(row.name) is not None


def _is_called_back(before: TargetRecord, row: TargetRecord) -> bool:
    if before.target.state is not TargetState.IN_PROGRESS:
        return False
    is_given_up = row.target.reason == "given_up"
    is_recalled = row.target.state is TargetState.IN_PROGRESS and row.target.cancel_requested
    return is_given_up or (is_recalled and not before.target.cancel_requested)
