"""Invariant 7: who told of harm after a success is counted against the build, once, and nobody else is."""

from controller.app.records import ReportRecord, TargetRecord
from controller.domain.target import Target
from protocol.codec import decode
from protocol.health import HEALTH, WATCH, Mark
from protocol.messages import Command, Op
from simulator.virtual.laws.law import Complaints, Handed, Law, Stepped
from simulator.virtual.picture import Commit, Picture


class MarksCount(Law):
    """Each bad mark that is stored has its device blamed in that very transaction, and none is shown without one."""

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._told: dict[int, str] = {}

    def committed(self, commit: Commit) -> Complaints:
        """Look at the row behind each mark, and for the mark behind each row."""
        for report in commit.reports:
            if self._is_harm(report) and not self._is_compared(report):
                assert report.target_id is not None
                self._told.setdefault(report.target_id, report.state)
                yield from self._judge(report, self.picture.targets[report.target_id])
        for before, row in commit.targets:
            if before is not None and _is_blamed_for_a_mark(before.target, row.target):
                yield f"{row.name} told of harm that is compared with that of others, and is blamed as well"
            if row.target.is_unwell and not row.target.is_compared and row.target.health != self._told.get(row.id):
                yield f"{row.name} is shown as {row.target.health}, and told {self._told.get(row.id, 'nothing')} first"

    def _is_harm(self, report: ReportRecord) -> bool:
        """Say whether a report is a bad mark that the device was asked for."""
        command = self.picture.commands.get(report.command)
        is_asked = command is not None and decode(command.payload, Command).watch_ms > 0
        return is_asked and report.target_id is not None and report.state in {Mark.CRASHED, Mark.UNWELL}

    def _is_compared(self, report: ReportRecord) -> bool:
        """Say whether harm is compared with that of others, or told of the time in which the device was held back."""
        assert report.target_id is not None
        target = self.picture.targets[report.target_id].target
        return target.is_compared or report.attempt <= target.watches

    def _judge(self, report: ReportRecord, row: TargetRecord) -> Complaints:
        if not row.target.is_blamed or not row.target.is_unwell:
            yield f"{row.name} told that attempt {report.attempt} is {report.state}, and is not counted"


def _is_blamed_for_a_mark(before: Target, after: Target) -> bool:
    is_told = after.is_compared and after.is_unwell and not before.is_unwell
    is_blamed = after.is_blamed and not before.is_blamed
    return is_told and is_blamed and before.attempt_state is after.attempt_state


class WatchesEndInAWord(Law):
    """A device watches on until it files a mark, also where newer work ends the watch. Who cannot is not asked."""

    number = 7

    def stepped(self, stepped: Stepped) -> Complaints:
        """Judge a step in which a watch ended: its mark is filed, before anything that the newer work says."""
        before, after = stepped.before.durable, stepped.after.durable
        if before.watch is None or (after.watch is not None and after.watch.is_of(before.watch)):
            return
        newer = {one.digest for one in (after.work, after.watch) if one is not None}
        told = [filed.digest for filed in after.filed if filed.report_seq > before.report_seq]
        first = next((digest for digest in told if digest in newer | {before.watch.digest}), None)
        if first != before.watch.digest:
            watched = f"attempt {before.watch.attempt} of {before.watch.run}"
            yield f"{stepped.label} watches {watched} no more, without a word"

    def handed(self, handed: Handed) -> Complaints:
        """Judge who is asked to watch."""
        row = handed.command
        if row is None or row.op not in {Op.INSTALL, Op.WATCH} or not decode(row.payload, Command).watch_ms:
            return
        needed = WATCH if row.op is Op.WATCH else HEALTH
        if needed not in self.picture.capabilities[row.device_id]:
            yield f"{row.name} is asked to watch, and never said that it can"
