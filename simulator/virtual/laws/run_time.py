"""The time of runs as laws keep it: true time less pauses, and less what the controller was down for."""

from collections import defaultdict
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from protocol.units import SECOND
from simulator.virtual.picture import Commit, Picture

JUMP_MS: Final = 21 * SECOND
"""What one jump of the controller's clock may take from a span before anybody can notice."""
DOWN_MS_MIN: Final = 15 * SECOND
"""A controller that was down for less may let the clocks go on."""


class RunTimes:
    """The clocks of all runs. `begin` goes before a law judges a commit, `end` after it."""

    def __init__(self, picture: Picture) -> None:
        """Begin with no run."""
        self._picture = picture
        self._paused_at: dict[int, int] = {}
        self._paused_ms: dict[int, int] = defaultdict(int)
        self._down_ms: dict[int, int] = defaultdict(int)
        self._down_count = 0

    def begin(self) -> None:
        """Take the time in which the controller was down out of the clocks of all runs that were not paused."""
        for span_ms in self._picture.down_ms[self._down_count :]:
            for run_id in self._picture.runs.keys() - self._paused_at.keys():
                self._down_ms[run_id] += span_ms if span_ms >= DOWN_MS_MIN else 0
        self._down_count = len(self._picture.down_ms)

    def end(self, commit: Commit) -> None:
        """Take note of who pauses and who goes on."""
        for _, run in commit.runs:
            self._pause(run)

    def of(self, run_id: int) -> int:
        """Return the time of a run; only the difference of two such times means something."""
        now = self._picture.true_now()
        paused_ms = self._paused_ms[run_id] + now - self._paused_at.get(run_id, now)
        return now - paused_ms - self._down_ms[run_id]

    def left_ms(self, row: TargetRecord) -> int | None:
        """Return how long the deadline of a device is ahead, None where a jump of the clock makes that uncertain."""
        now, clock = self._picture.true_now(), self._picture.runs[row.run_id].run.clock
        if row.target.due is None or any(now - at < JUMP_MS for at in self._picture.jumped_at[-1:]):
            return None
        since_ms = 0 if clock.since is None else max(0, self._picture.wall_now() - clock.since)
        return row.target.due - clock.base - since_ms

    def jumped_ms(self, since: int) -> int:
        """Return what jumps of the controller's clock since the true time *since* may have taken or given.

        So may a full disk: time in which no heartbeat could be written is time in which nobody looked.
        """
        unwritten = [at for at in self._picture.unwritable_at if at >= since]
        unwritten_ms = unwritten[-1] - unwritten[0] + DOWN_MS_MIN if unwritten else 0
        jumps = sum(since <= at <= self._picture.true_now() for at in self._picture.jumped_at)
        return JUMP_MS * jumps + unwritten_ms

    def _pause(self, run: RunRecord) -> None:
        now = self._picture.true_now()
        began = self._paused_at.pop(run.id, None)
        if began is not None:
            self._paused_ms[run.id] += now - began
        if run.run.is_paused:
            self._paused_at[run.id] = now
