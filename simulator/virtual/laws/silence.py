"""Invariant 7: who is offline for too long after a success is counted, once, and nobody while nobody would be heard."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from controller.app.records import RunRecord, TargetRecord
from controller.app.repositories import Transaction
from protocol.units import MINUTE, SECOND
from simulator.virtual.laws.clocks import EARLY_MS
from simulator.virtual.laws.law import Complaints, Law
from simulator.virtual.laws.run_time import DOWN_MS_MIN, RunTimes
from simulator.virtual.picture import Commit, Picture

LATELY_MS: Final = 5 * MINUTE
LATE_MS: Final = 10 * SECOND
"""How much later than it is due a silence may be counted, by a controller that lives."""
GRACE_MS: Final = 10 * SECOND
"""What a start of the controller takes, beside the time for which it was down."""
_OPEN: Final = frozenset({"rolling_out", "soaking", "passed"})


class Moment(NamedTuple):
    """A run's time, the true time, how often the controller had been down by then, and how many spans are given."""

    run: int
    true: int
    downs: int
    spans: int = 1


class SilenceCounts(Law):
    """A device counts as silent as long after it went as its gate says, not before and not much later.

    It does not while most of those that the run has not reached have gone as well, or nobody is there. After a hold for
    that its time begins anew. Whom people shut out is not judged.
    """

    number = 7

    def __init__(self, picture: Picture) -> None:
        super().__init__(picture)
        self._times = RunTimes(picture)
        self._watched: defaultdict[int, dict[int, Moment]] = defaultdict(dict)
        """By device: its rows that have succeeded, and since when they are watched."""
        self._away: dict[int, Moment] = {}
        """By row: since when its device is away."""
        self._seen: dict[int, int] = {}
        """By device: when it last came or went."""
        self._has_begun = False

    def restarted(self, tx: Transaction) -> Complaints:
        """Take note that a new life of the controller knows of nobody."""
        del tx
        self._has_begun = True
        return ()

    def committed(self, commit: Commit) -> Complaints:
        """Take note of who comes and goes, and judge who counts as silent, and who does not."""
        self._times.begin()
        if self._has_begun:
            self._has_begun = False
            self._begin_anew()
        for before, row in commit.targets:
            self._succeed(before, row)
        for device_id in (*commit.gone, *commit.unseen, *(hello.id for hello in commit.hellos)):
            self._seen[device_id] = self.picture.true_now()
        for hello in commit.hellos:  # of one batch they come before the wills
            for row_id in self._watched[hello.id]:
                self._away.pop(row_id, None)
        self._leave(commit.gone)
        self._leave(commit.unseen, spans=2)
        for device_id in (*self.picture.blocked, *self.picture.removed, *commit.enrolled):
            self._forget(device_id)
            self._seen.pop(device_id, None)
        for before, row in commit.targets:
            if row.target.is_silent and (before is None or not before.target.is_silent):
                yield from self._counted(row)
        for run_before, run in commit.runs:
            self._excuse(run_before, run)
            yield from self._uncounted(run)
        self._times.end(commit)

    # --- who is away --------------------------------------------------------------------------------------------

    def _now(self, run_id: int) -> Moment:
        return Moment(self._times.of(run_id), self.picture.true_now(), len(self.picture.down_ms))

    def _is_here(self, device_id: int) -> bool:
        return self.picture.present.get(device_id) == self.picture.instance()

    def _succeed(self, before: TargetRecord | None, row: TargetRecord) -> None:
        gate = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].gate
        is_new = row.target.state == "succeeded" and (before is None or before.target.state != "succeeded")
        if is_new and gate.silent_after_ms is not None:
            self._watched[row.device_id][row.id] = self._now(row.run_id)
            if not self._is_here(row.device_id):
                self._leave([row.device_id])

    def _leave(self, device_ids: Iterable[int], *, spans: int = 1) -> None:
        for device_id in device_ids:
            for row_id in self._watched.get(device_id, ()):
                now = self._now(self.picture.targets[row_id].run_id)
                self._away.setdefault(row_id, now._replace(spans=spans))

    def _begin_anew(self) -> None:
        """A new life of the controller knows of nobody, and gives everybody twice as long."""
        self._away.clear()
        self._leave(list(self._watched), spans=2)

    def _forget(self, device_id: int) -> None:
        for row_id in self._watched.pop(device_id, {}):
            self._away.pop(row_id, None)

    def _excuse(self, before: RunRecord | None, run: RunRecord) -> None:
        """Begin anew in the stages for which a run is held from now on, but for who has come back after its time."""
        known = () if before is None else before.run.pause_reasons
        for index, stage in enumerate(run.plan.pipeline.stages):
            reason = f"telemetry:{stage.name}"
            if reason in run.run.pause_reasons and reason not in known:
                for row in list(self._away_in(run, index)):
                    if row.target.watched_until is None and self._may_be_over(row, stage.gate.soak_ms):
                        del self._watched[row.device_id][row.id], self._away[row.id]
                        continue
                    self._away[row.id] = self._watched[row.device_id][row.id] = self._now(run.id)

    def _may_be_over(self, row: TargetRecord, soak_ms: int) -> bool:
        """Say whether a device may have been watched for its whole soak."""
        watched = self._watched[row.device_id][row.id]
        return self._times.of(row.run_id) + self._slack_ms(watched) >= watched.run + soak_ms

    def _away_in(self, run: RunRecord, index: int) -> Iterator[TargetRecord]:
        for row in self.picture.rows[run.id, index].values():
            if row.id in self._away and row.id in self._watched.get(row.device_id, {}):
                yield row

    # --- judging ------------------------------------------------------------------------------------------------

    def _counted(self, row: TargetRecord) -> Complaints:
        span_ms = self.picture.runs[row.run_id].plan.pipeline.stages[row.stage].gate.silent_after_ms
        if row.target.state != "succeeded" or not row.target.is_blamed or span_ms is None:
            yield f"{row.name} counts as silent, and is {row.target.state}, or not a failure of the build"
        elif row.id not in self._away:
            yield f"{row.name} counts as silent, and is there or was shut out"
        elif self._away_ms(row, most=True) + EARLY_MS < span_ms * self._away[row.id].spans:
            yield f"{row.name} counts as silent after {self._away_ms(row, most=True)} ms, and not after {span_ms} ms"
        elif self._is_blind(row.run_id):
            yield f"{row.name} counts as silent, and most of the others, or all, are gone as well"

    def _away_ms(self, row: TargetRecord, *, most: bool) -> int:
        since = self._away[row.id]
        slack_ms = self._slack_ms(since)
        return self._times.of(row.run_id) - since.run + (slack_ms if most else -slack_ms)

    def _slack_ms(self, since: Moment) -> int:
        """Return by how much a span may be wrong: for jumps, and for deaths that are too short to be taken out."""
        short_ms = sum(min(span_ms, DOWN_MS_MIN) + GRACE_MS for span_ms in self.picture.down_ms[since.downs :])
        return self._times.jumped_ms(since.true) + short_ms

    def _is_blind(self, run_id: int) -> bool:
        """Say whether nobody is there, or fewer than have gone lately, of those that the run has not reached."""
        rows = [row for index in range(256) for row in self.picture.rows.get((run_id, index), {}).values()]
        reached = {row.device_id for row in rows if row.target.attempt > row.target.watches}
        others = self._seen.keys() - reached
        lately = self.picture.true_now() - LATELY_MS
        lost = sum(not self._is_here(device_id) and self._seen[device_id] > lately for device_id in others)
        is_anybody_here = any(self._is_here(device_id) for device_id in self._seen)
        return not is_anybody_here or lost > sum(self._is_here(device_id) for device_id in others)

    def _uncounted(self, run: RunRecord) -> Complaints:
        """Look for those who have been away for too long in a run that goes on."""
        if run.run.state != "running" or run.run.is_paused or run.run.is_stopped:
            return
        for index, stage in enumerate(run.plan.pipeline.stages):
            span_ms = stage.gate.silent_after_ms
            if span_ms is None or run.run.stages[index].state not in _OPEN:
                continue
            for row in self._away_in(run, index):
                is_known = row.target.is_silent or row.target.is_unwell
                if not is_known and self._is_in_time(row, span_ms, stage.gate.soak_ms):
                    away_ms = self._away_ms(row, most=False)
                    if away_ms > span_ms * self._away[row.id].spans + LATE_MS:
                        yield f"{row.name} has been away for {away_ms} ms, and counts as well after {span_ms} ms"

    def _is_in_time(self, row: TargetRecord, span_ms: int, soak_ms: int) -> bool:
        """Say whether the silence of a device was sure to be complete within its soak."""
        away, watched = self._away[row.id], self._watched[row.device_id][row.id]
        slack_ms = self._slack_ms(min(away, watched, key=lambda moment: moment.true)) + EARLY_MS
        return away.run + span_ms * away.spans + slack_ms < watched.run + soak_ms
