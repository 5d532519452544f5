"""`controller.app.repositories.Runs` in memory."""

from itertools import islice
from typing import Final

import msgspec

from controller.app.errors import Conflict
from controller.app.records import RunRecord
from controller.domain import newcomers
from protocol.units import Instant
from simulator.memory.journal import Journal


class MemoryRuns:
    """Runs and their stages. `job_ids` are those of the jobs that exist; the catalogue keeps them."""

    def __init__(self, journal: Journal, job_ids: dict[int, str]) -> None:
        self._journal = journal
        self._job_ids: Final = job_ids
        self._rows: dict[int, RunRecord] = {}
        self._ids: dict[str, int] = {}
        self._active: dict[int, int] = {}
        """The one active run of a job, by the job's id."""

    def add(self, run: RunRecord) -> RunRecord:
        is_active = not run.run.state.is_terminal
        if is_active and run.job_id in self._active:
            raise Conflict(f"job {run.job!r} has an active run: wait for its end, or terminate it")
        assert run.uid not in self._ids, f"two runs have the uid {run.uid!r}"
        assert run.job_id in self._job_ids, f"run {run.uid!r} is of a job that does not exist"
        first = self._last_stage_id() + 1
        stage_ids = tuple(range(first, first + len(run.run.stages)))
        added = msgspec.structs.replace(run, id=len(self._rows) + 1, stage_ids=stage_ids)
        self._journal.put(self._rows, added.id, added)
        self._journal.put(self._ids, added.uid, added.id)
        if is_active:
            self._journal.put(self._active, added.job_id, added.id)
        return added

    def get(self, run_id: int) -> RunRecord:
        assert run_id in self._rows, f"run {run_id} does not exist"
        return self._rows[run_id]

    def is_known(self, run_id: int) -> bool:
        """Say whether there is such a run."""
        return run_id in self._rows

    def by_uid(self, uid: str) -> RunRecord | None:
        return self._rows.get(self._ids.get(uid, 0))

    def active_of(self, job_id: int) -> RunRecord | None:
        """Return the active run of a job."""
        return self._rows.get(self._active.get(job_id, 0))

    def save(self, run: RunRecord) -> None:
        before = self._rows.get(run.id)
        if before is None:
            return
        after = msgspec.structs.replace(before, run=run.run, wake_at=run.wake_at, ended_at=run.ended_at)
        self._note_active(after)
        self._journal.put(self._rows, after.id, after)

    def page(self, *, job: str | None, active: bool | None, before: int | None, limit: int) -> list[RunRecord]:
        found = (
            row
            for row in reversed(self._rows.values())
            if job in {None, row.job}
            and active in {None, not row.run.state.is_terminal}
            and (before is None or row.id < before)
        )
        return list(islice(found, limit))

    def active_ids(self) -> list[int]:
        return sorted(self._active.values())

    def open_to_newcomers(self) -> list[int]:
        rows = [self._rows[run_id] for run_id in self.active_ids()]
        return [row.id for row in rows if newcomers.open_stages(row.plan, row.run)]

    def waking(self, at: Instant) -> list[int]:
        return [run_id for wake_at, run_id in sorted(self._wakes()) if wake_at <= at]

    def next_wake(self) -> Instant | None:
        return min((wake_at for wake_at, _ in self._wakes()), default=None)

    def _wakes(self) -> list[tuple[Instant, int]]:
        rows = [self._rows[run_id] for run_id in self._active.values()]
        return [(row.wake_at, row.id) for row in rows if row.wake_at is not None]

    def _note_active(self, run: RunRecord) -> None:
        """Keep the rule that a job has one active run."""
        current = self._active.get(run.job_id)
        if run.run.state.is_terminal:
            if current == run.id:
                self._journal.drop(self._active, run.job_id)
        elif current is None:
            self._journal.put(self._active, run.job_id, run.id)
        else:
            assert current == run.id, f"job {run.job!r} has two active runs"

    def _last_stage_id(self) -> int:
        return next((row.stage_ids[-1] for row in reversed(self._rows.values()) if row.stage_ids), 0)
