"""Nothing takes for ever: an attempt, whatever is heard of it, and waiting for one's turn. Both are in run time."""

from collections.abc import Iterator
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from protocol.units import SECOND
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.laws.run_time import RunTimes
from simulator.virtual.picture import Commit, Picture

EARLY_MS: Final = 1 * SECOND
"""How much earlier than by our clock something may end."""
LATE_MS: Final = 60 * SECOND
"""How much later: the controller may be down, full, or in its grace for a while without taking that out."""


class AttemptsHaveAnEnd(Law):
    """No sign of life keeps an attempt for longer than it may take."""

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._times = RunTimes(picture)
        self._accepted: dict[int, tuple[int, int, int]] = {}

    def committed(self, commit: Commit) -> Complaints:
        """Look at each attempt that the commit touched."""
        self._times.begin()
        for _, row in commit.targets:
            state, attempt = row.target.attempt_state, row.target.attempt
            if row.target.state != "in_progress" or state in {None, "sent"}:
                self._accepted.pop(row.id, None)
                continue
            since = (attempt, self._times.of(row.run_id), self.picture.true_now())
            _, began, began_at = self._accepted.setdefault(row.id, since)
            span_ms = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].timeouts.attempt_ms
            took_ms = self._times.of(row.run_id) - began - self._times.jumped_ms(began_at)
            most_ms = took_ms + max(0, self._times.left_ms(row) or 0)
            if most_ms > span_ms + LATE_MS:
                yield f"attempt {attempt} of {row.name} may go on to {most_ms} ms after it began, and not {span_ms} ms"
        self._times.end(commit)


class WaitingHasAnEnd(Law):
    """Devices that still wait when their time is over go without, then and not before.

    Time in a freeze does not count; how late it is then is not judged for the run of one.
    """

    number = 4

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._times = RunTimes(picture)
        self._opened: dict[tuple[int, int], tuple[int, int]] = {}
        self._discharged: set[tuple[int, int]] = set()

    def committed(self, commit: Commit) -> Complaints:
        """Look who began or was ended while it waited, and who waits on."""
        self._times.begin()
        for _, run in commit.runs:
            for index, stage in enumerate(run.run.stages):
                if stage.opened_at is not None:
                    self._opened.setdefault((run.id, index), (self._times.of(run.id), self.picture.true_now()))
        for before, row in commit.targets:
            if before is not None and before.target.is_control and not row.target.is_control:
                self._begin_anew(row.run_id, row.stage)
            if before is not None and before.target.state == "queued":
                yield from self._left_the_queue(row)
        for _, run in commit.runs:
            yield from self._waits(run)
        self._times.end(commit)

    def _begin_anew(self, run_id: int, stage: int) -> None:
        """Give a stage its time once more from its first discharge on: those that were held back have all of it."""
        if (run_id, stage) not in self._discharged:
            self._discharged.add((run_id, stage))
            self._opened[run_id, stage] = (self._times.of(run_id), self.picture.true_now())

    def _open_for(self, row: TargetRecord | tuple[int, int]) -> tuple[int, int]:
        """Return for how long a stage has been open, and by how much that may be wrong."""
        key = row if isinstance(row, tuple) else (row.run_id, row.stage)
        opened, opened_at = self._opened[key]
        return self._times.of(key[0]) - opened, self._times.jumped_ms(opened_at)

    def _left_the_queue(self, row: TargetRecord) -> Iterator[str]:
        run = self.picture.runs[row.run_id]
        limit_ms, stage = run.plan.pipeline.stages[row.stage].timeouts.queued_ms, run.run.stages[row.stage]
        open_ms, slack_ms = self._open_for(row)
        is_late = limit_ms is not None and open_ms - slack_ms > limit_ms + LATE_MS and not _has_freezes(run)
        if row.target.state == "in_progress" and is_late:
            yield f"{row.name} begins {open_ms} ms after its stage opened, and was to wait for {limit_ms} ms"
        is_early = limit_ms is None or open_ms + slack_ms + EARLY_MS < limit_ms
        if row.target.state == "timed_out" and not stage.is_recalled and is_early:
            yield f"{row.name} goes without after {open_ms} ms, and was to wait for {limit_ms} ms"

    def _waits(self, run: RunRecord) -> Iterator[str]:
        if run.run.state != "running" or run.run.is_paused or _has_freezes(run):
            return
        for index, (plan, stage) in enumerate(zip(run.plan.pipeline.stages, run.run.stages, strict=True)):
            limit_ms = plan.timeouts.queued_ms
            if limit_ms is None or stage.opened_at is None or not stage.tally.queued:
                continue
            open_ms, slack_ms = self._open_for((run.id, index))
            if open_ms - slack_ms > limit_ms + LATE_MS:
                yield f"{stage.tally.queued} devices of stage {index} wait {open_ms} ms, and were to for {limit_ms} ms"


def _has_freezes(run: RunRecord) -> bool:
    """Say whether a freeze has held the run, or may."""
    return bool(run.run.freezes or run.run.freeze or run.run.frozen_ms)
