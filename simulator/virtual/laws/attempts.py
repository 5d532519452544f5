"""Invariant 4 in the database: attempts follow each other, end for a reason, and never overlap on a device."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.target import RECALL_MS, TargetState
from protocol.lifecycle import AttemptState
from protocol.messages import Op
from protocol.units import SECOND
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.picture import Commit, Picture

JUMP_MS: Final = 21 * SECOND
"""What one jump of the controller's clock may take from a lease before anybody can notice."""
TOLERANCE_MS: Final = 1 * SECOND
DOWN_MS_MIN: Final = 15 * SECOND
"""A controller that was down for less may let the clocks go on."""

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

    def committed(self, commit: Commit) -> Complaints:
        """Compare each row with what it was."""
        for before, row in commit.targets:
            yield from self._judge(before, row)
            if before is not None and row.target.returns and not before.target.returns:
                self._returns[row.id] += 1
        released = {row.target.command for _, row in commit.targets if row.target.attempt_state is AttemptState.SENT}
        for command in commit.commands:
            if command.op is Op.INSTALL and command.digest not in released:
                yield f"an install command for {command.name}, whose attempt {command.attempt} is not to be begun"

    def _judge(self, before: TargetRecord | None, row: TargetRecord) -> Iterator[str]:
        attempt = 0 if before is None else before.target.attempt
        if row.target.attempt == attempt:
            return
        retry = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].retry
        budget = retry.attempts_max + self._returns[row.id]
        if row.target.attempt != attempt + 1:
            yield f"{row.name} goes from attempt {attempt} to {row.target.attempt}"
        if row.target.attempt > budget:
            yield f"{row.name} begins attempt {row.target.attempt} of at most {budget}"
        if before is not None and before.target.state is not TargetState.QUEUED:
            yield f"{row.name} begins attempt {row.target.attempt} while it is {before.target.state}"


class ClocksAreRunTime(Law):
    """An attempt ends by its device's word, by hand, or by a lease in run time; pauses and downtimes take none."""

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._paused_at: dict[int, int] = {}
        self._paused_ms: dict[int, int] = defaultdict(int)
        self._renewed: dict[int, tuple[int, int]] = {}
        self._was_sent: dict[int, bool] = {}
        self._recalled: dict[int, int] = {}
        self._down_ms: dict[int, int] = defaultdict(int)
        self._down_count = 0

    def committed(self, commit: Commit) -> Complaints:
        """Judge every end of an attempt, and keep the time."""
        self._note_down()
        heard = {(report.target_id, report.state) for report in commit.reports}
        refused = {report.target_id for report in commit.reports if report.state == "refused"}
        for before, row in commit.targets:
            is_end = before is not None and before.target.state is _AT_WORK and row.target.state is not _AT_WORK
            is_by_hand = row.target.reason == "given_up"
            is_known = is_by_hand or self._is_told(row, heard, refused) or self._is_recall_heard(row, commit)
            if is_end and not is_known:
                yield from self._overdue(row)
            self._renew(before, row, heard)
        for _, run in commit.runs:
            self._pause(run)

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
        now, active = self.picture.true_now(), self._active(row.run_id)
        jumps = sum(before_at <= at <= now for at in self.picture.jumped_at)
        elapsed = active - before_active + jumps * JUMP_MS + TOLERANCE_MS
        if elapsed >= self._span(row):
            return
        recalled_for = active - self._recalled.get(row.id, active) + jumps * JUMP_MS + TOLERANCE_MS
        if row.id in self._recalled and recalled_for >= RECALL_MS:
            return
        yield f"attempt {row.target.attempt} of {row.name} ended {elapsed} ms into its lease of {self._span(row)} ms"

    def _span(self, row: TargetRecord) -> int:
        timeouts = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].timeouts
        is_sent = self._was_sent.get(row.id, True)
        return timeouts.accept_ms if is_sent else timeouts.lease_ms

    def _renew(self, before: TargetRecord | None, row: TargetRecord, heard: set[tuple[int | None, str]]) -> None:
        state = row.target.attempt_state
        if row.target.state is not _AT_WORK or state is None:
            self._recalled.pop(row.id, None)
            return
        is_new = before is None or before.target.attempt != row.target.attempt
        if is_new or (row.id, state.value) in heard:
            self._renewed[row.id] = (self.picture.true_now(), self._active(row.run_id))
            self._was_sent[row.id] = state is AttemptState.SENT
        if row.target.cancel_requested:
            self._recalled.setdefault(row.id, self._active(row.run_id))

    def _pause(self, run: RunRecord) -> None:
        now = self.picture.true_now()
        began = self._paused_at.pop(run.id, None)
        if began is not None:
            self._paused_ms[run.id] += now - began
        if run.run.is_paused:
            self._paused_at[run.id] = now

    def _active(self, run_id: int) -> int:
        now = self.picture.true_now()
        paused_ms = self._paused_ms[run_id] + now - self._paused_at.get(run_id, now)
        return now - paused_ms - self._down_ms[run_id]

    def _note_down(self) -> None:
        """Take the time in which the controller was down out of the clocks of all runs that were not paused."""
        for span_ms in self.picture.down_ms[self._down_count :]:
            for run_id in self.picture.runs.keys() - self._paused_at.keys():
                self._down_ms[run_id] += span_ms if span_ms >= DOWN_MS_MIN else 0
        self._down_count = len(self.picture.down_ms)
