"""Invariant 5: what a device was told is stored is stored for ever, and only a device's word says what it did."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from controller.app.records import TargetRecord
from protocol.ids import Name
from protocol.lifecycle import AttemptState
from protocol.messages import Ack, HelloReply
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit, Picture

_TOLD: Final = frozenset(
    {
        AttemptState.ACCEPTED,
        AttemptState.DOWNLOADING,
        AttemptState.INSTALLING,
        AttemptState.VERIFYING,
        AttemptState.SUCCEEDED,
        AttemptState.REJECTED,
    }
)
"""The states that nobody but the device can know."""


class AcknowledgedIsStored(Law):
    """An acknowledgement names committed reports only, and a row shows only what was reported of its own attempt."""

    number = 5

    def answered_device(self, name: Name, answer: Ack | HelloReply) -> Complaints:
        """Look every acknowledged number up."""
        if not isinstance(answer, Ack):
            return
        device = self.picture.names[name]
        for report_seq in answer.stored:
            if (device.id, answer.incarnation, report_seq) not in self.picture.reports:
                yield f"report {report_seq} of {name} was acknowledged and is not stored"

    def dropped(self, name: Name, incarnation: str, report_seqs: Sequence[int]) -> Complaints:
        """Look every number up that a device holds for settled."""
        device = self.picture.names[name]
        for report_seq in report_seqs:
            if (device.id, incarnation, report_seq) not in self.picture.reports:
                yield f"{name} has dropped report {report_seq}, which is not stored"

    def committed(self, commit: Commit) -> Complaints:
        """Look for the report behind each state that a row shows."""
        for before, row in commit.targets:
            state = row.target.attempt_state
            is_news = before is None or before.target.attempt_state is not state
            if is_news and state in _TOLD and not self._is_told(row, commit):
                yield f"{row.name} is shown as {state} in attempt {row.target.attempt}, which it never reported"

    def _is_told(self, row: TargetRecord, commit: Commit) -> bool:
        for report in commit.reports:
            command = self.picture.commands.get(report.command)
            is_of_row = command is not None and command.target_id == row.id and command.attempt == row.target.attempt
            if is_of_row and report.state == row.target.attempt_state:
                return True
        return False


class DuplicatesChangeNothing(Law):
    """A report is stored once, and a hello that is not newer than the last of its incarnation is not stored at all."""

    number = 5

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._stored: Counter[tuple[int, str, int]] = Counter()
        self._hellos: dict[tuple[int, str], int] = {}

    def committed(self, commit: Commit) -> Complaints:
        """Compare with all that was stored before."""
        for report in commit.reports:
            key = (report.device_id, report.incarnation, report.report_seq)
            self._stored[key] += 1
            if self._stored[key] > 1:
                yield f"report {report.report_seq} of device {report.device_id} is taken for the second time"
        for device in commit.hellos:
            last = self._hellos.get((device.id, device.incarnation), 0)
            if device.hello_seq <= last:
                yield f"hello {device.hello_seq} of {device.name} is taken after hello {last}"
            self._hellos[device.id, device.incarnation] = device.hello_seq
