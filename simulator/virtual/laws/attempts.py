"""Invariant 4 in the database: attempts follow each other, end for a reason, and never overlap on a device."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from controller.app.records import TargetRecord
from controller.app.repositories import Transaction
from controller.domain.pipeline import Timeouts
from controller.domain.target import RECALL_MS, TargetState
from protocol.ids import Name
from protocol.lifecycle import AttemptState
from protocol.messages import Op, Tick
from protocol.units import SECOND
from simulator.virtual.laws.idle import PATIENCE_MS, Hellos
from simulator.virtual.laws.law import Complaints, Law, Stepped
from simulator.virtual.laws.run_time import RunTimes
from simulator.virtual.laws.ticks import Ticks
from simulator.virtual.picture import Commit, Picture

TOLERANCE_MS: Final = 1 * SECOND
_AT_WORK: Final = TargetState.IN_PROGRESS


class OneWorkPerDevice(Law):
    """A device is at work in one run only."""

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._at_work: dict[int, set[int]] = defaultdict(set)

    def committed(self, commit: Commit) -> Complaints:
        """Keep account of who is at work, and compare at the end of the transaction."""
        for _, row in commit.targets:
            rows = self._at_work[row.device_id]
            (rows.add if row.target.state is _AT_WORK else rows.discard)(row.id)
        for _, row in commit.targets:
            if len(self._at_work[row.device_id]) > 1:
                yield f"{row.name} is at work in {len(self._at_work[row.device_id])} rows at once"


class AttemptsFollowEachOther(Law):
    """Attempts are counted one by one within the budget; only a queued device begins one, and only once.

    What was called back before the device accepted it is not counted.
    """

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._returns: dict[int, int] = defaultdict(int)
        self._watched: dict[int, int] = {}
        """Of who was held back: the attempts until its discharge, which cost nothing of what it has then."""

    def committed(self, commit: Commit) -> Complaints:
        """Compare each row with what it was."""
        for before, row in commit.targets:
            if before is not None and before.target.is_control and not row.target.is_control:
                self._watched[row.id], self._returns[row.id] = before.target.attempt, 0
            yield from self._judge(before, row)
            if before is not None and row.target.returns and not before.target.returns:
                self._returns[row.id] += 1
        released = {row.target.command for _, row in commit.targets if row.target.attempt_state is AttemptState.SENT}
        for command in commit.commands:
            if command.op in {Op.INSTALL, Op.WATCH} and command.digest not in released:
                yield f"a command for {command.name}, whose attempt {command.attempt} is not to be begun"

    def _judge(self, before: TargetRecord | None, row: TargetRecord) -> Iterator[str]:
        attempt = 0 if before is None else before.target.attempt
        if row.target.attempt == attempt:
            return
        retry = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].retry
        budget = retry.attempts_max + self._returns[row.id] + self._watched.get(row.id, 0)
        if row.target.attempt != attempt + 1:
            yield f"{row.name} goes from attempt {attempt} to {row.target.attempt}"
        if row.target.attempt > budget:
            yield f"{row.name} begins attempt {row.target.attempt} of at most {budget}"
        if before is not None and before.target.state is not TargetState.QUEUED:
            yield f"{row.name} begins attempt {row.target.attempt} while it is {before.target.state}"


class ClocksAreRunTime(Law):
    """An attempt ends by its device's word, by hand, or by a lease in run time; pauses and downtimes take none.

    Reports and progress make a lease anew, up to the time that an attempt may take. That of an attempt whose work the
    device has no more is a minute, so that what it tells of it may still come.
    """

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._times = RunTimes(picture)
        self._renewed: dict[int, tuple[int, int]] = {}
        self._was_sent: dict[int, bool] = {}
        self._recalled: dict[int, int] = {}
        self._hellos = Hellos(picture)
        self._idle: dict[int, int] = {}
        self._ticks = Ticks(picture)
        self._accepted: dict[int, int] = {}

    def stepped(self, stepped: Stepped) -> Complaints:
        """Take note of what is said."""
        self._hellos.stepped(stepped)
        return ()

    def ticked(self, name: Name, tick: Tick) -> Complaints:
        """Take note of progress."""
        self._ticks.ticked(name, tick)
        return ()

    def restarted(self, tx: Transaction) -> Complaints:
        """Forget progress, as the controller has."""
        del tx
        self._ticks.restarted()
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Judge every end of an attempt, and keep the time."""
        self._times.begin()
        heard = {(report.target_id, report.state) for report in commit.reports}
        refused = {report.target_id for report in commit.reports if report.state == "refused"}
        for before, row in commit.targets:
            is_end = before is not None and before.target.state is _AT_WORK and row.target.state is not _AT_WORK
            is_by_hand = row.target.reason == "given_up" or row.target.state == "removed"
            is_known = is_by_hand or self._is_told(row, heard, refused) or self._is_recall_heard(row, commit)
            if is_end and not is_known:
                yield from self._overdue(row)
            self._renew(before, row, heard)
        self._note_idle(commit)
        self._times.end(commit)

    def _is_told(self, row: TargetRecord, heard: set[tuple[int | None, str]], refused: set[int | None]) -> bool:
        state = row.target.attempt_state
        return row.id in refused or (state is not None and (row.id, state.value) in heard and state.is_terminal)

    def _is_recall_heard(self, row: TargetRecord, commit: Commit) -> bool:
        if not row.target.cancel_requested:
            return False
        commands = [self.picture.commands.get(report.command) for report in commit.reports]
        return any(
            c is not None and c.op is Op.CANCEL and (c.device_id, c.run_id) == (row.device_id, row.run_id)
            for c in commands
        )

    def _overdue(self, row: TargetRecord) -> Iterator[str]:
        before_at, before_active = self._renewed[row.id]
        active, slack_ms = self._times.of(row.run_id), self._times.jumped_ms(before_at) + TOLERANCE_MS
        if row.id in self._accepted and row.id not in self._idle and row.id not in self._recalled:
            ticked_ms = self._ticks.since(self.picture.runs[row.run_id].uid, row)
            before_active = max(before_active, active - ticked_ms) if ticked_ms is not None else before_active
        waits = [
            (before_active, self._span(row)),
            (self._recalled.get(row.id), RECALL_MS),
            (self._idle.get(row.id), PATIENCE_MS),
            (self._accepted.get(row.id), self._timeouts(row).attempt_ms),
        ]
        if not any(since is not None and active - since + slack_ms >= span_ms for since, span_ms in waits):
            elapsed, span_ms = active - before_active + slack_ms, self._span(row)
            yield f"attempt {row.target.attempt} of {row.name} ended {elapsed} ms into its lease of {span_ms} ms"

    def _span(self, row: TargetRecord) -> int:
        timeouts = self._timeouts(row)
        return timeouts.accept_ms if self._was_sent.get(row.id, True) else timeouts.lease_ms

    def _timeouts(self, row: TargetRecord) -> Timeouts:
        return self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].timeouts

    def _renew(self, before: TargetRecord | None, row: TargetRecord, heard: set[tuple[int | None, str]]) -> None:
        state = row.target.attempt_state
        if row.target.state is not _AT_WORK or state is None:
            for known in (self._recalled, self._idle, self._accepted):
                known.pop(row.id, None)
            return
        is_new = before is None or before.target.attempt != row.target.attempt
        if is_new or (row.id, state.value) in heard:
            self._renewed[row.id] = (self.picture.true_now(), self._times.of(row.run_id))
            self._was_sent[row.id] = state is AttemptState.SENT
            self._idle.pop(row.id, None)
        if state is not AttemptState.SENT:
            self._accepted.setdefault(row.id, self._times.of(row.run_id))
        if row.target.cancel_requested:
            self._recalled.setdefault(row.id, self._times.of(row.run_id))

    def _note_idle(self, commit: Commit) -> None:
        """Take note of who has first said that it has the work no more, and of who has it after all."""
        hellos = {device.id: device for device in commit.hellos}
        for row in self.picture.targets.values() if hellos else ():
            if row.device_id in hellos and row.target.state is _AT_WORK:
                idle = self._hellos.idle(hellos[row.device_id], row)
                if True in idle:
                    self._idle.setdefault(row.id, self._times.of(row.run_id))
                elif idle == {False}:
                    self._idle.pop(row.id, None)
