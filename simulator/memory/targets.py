"""`controller.app.repositories.Targets` in memory."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice, takewhile
from typing import Any, Final

import msgspec

from controller.app.records import OfModel, PastTarget, TargetRecord
from controller.domain.admission import BlockReason
from controller.domain.control import EVERYWHERE, Places
from controller.domain.target import Target, TargetState
from protocol.ids import AppName
from protocol.units import Instant
from simulator.memory.deadlines import Deadlines
from simulator.memory.devices import MemoryDevices
from simulator.memory.journal import Journal
from simulator.memory.ordered import Ordered
from simulator.memory.runs import MemoryRuns

STAGE_SHIFT: Final = 32
"""A target's id is its stage's id shifted by this, plus its position."""
_POSITION: Final = (1 << STAGE_SHIFT) - 1
_NOT_BLOCKED: Final[dict[str, Any]] = {"blocked": None, "block_text": "", "check_at": None}


class MemoryTargets:
    """Devices in runs."""

    def __init__(self, journal: Journal, devices: MemoryDevices, runs: MemoryRuns) -> None:
        self._journal = journal
        self._devices = devices
        self._runs = runs
        self._rows: dict[int, TargetRecord] = {}
        self._members: defaultdict[int, dict[int, int]] = defaultdict(dict)
        """By run: the row of each device."""
        self._stages: defaultdict[int, Ordered] = defaultdict(lambda: Ordered(journal))
        self._queued: defaultdict[tuple[int, int], Ordered] = defaultdict(lambda: Ordered(journal))
        """By stage and `ready`: the positions of queued rows."""
        self._at_work: dict[int, int] = {}
        """By device: the row in which it is at work."""
        self._in_flight: defaultdict[int, dict[int, None]] = defaultdict(dict)
        self._due: defaultdict[int, Deadlines] = defaultdict(lambda: Deadlines(journal))
        self._checks: defaultdict[int, Deadlines] = defaultdict(lambda: Deadlines(journal))
        self._kept_out: dict[int, None] = {}
        """The rows that something blocks."""

    def add(self, targets: Sequence[TargetRecord]) -> None:
        for row in targets:
            members = self._members[row.run_id]
            assert row.id not in self._rows, f"two targets have the id {row.id}"
            assert row.device_id not in members, f"{row.name} is in run {row.run_id} already"
            assert self._runs.is_known(row.run_id), f"run {row.run_id} does not exist"
            assert self._devices.is_known(row.device_id), f"device {row.device_id} does not exist"
            self._journal.put(members, row.device_id, row.id)
            self._stages[row.id >> STAGE_SHIFT].add(row.id & _POSITION)
            self._put(None, row)

    def members(self, run_id: int) -> set[int]:
        return set(self._members[run_id])

    def members_among(self, run_id: int, device_ids: Collection[int]) -> set[int]:
        return set(self._members[run_id]) & set(device_ids)

    def next_id(self, stage_id: int) -> int:
        return max((row.id + 1 for row in self._in_order(stage_id)), default=stage_id << STAGE_SHIFT)

    def placed(self, run_id: int) -> dict[int, int]:
        return {device: id_ >> STAGE_SHIFT for device, id_ in self._members[run_id].items()}

    def get(self, ids: Collection[int]) -> dict[int, TargetRecord]:
        return {id_: self._rows[id_] for id_ in sorted(set(ids)) if id_ in self._rows}

    def ready(
        self, stage_id: int, *, instance: int, now: int, limit: int, places: Places = EVERYWHERE
    ) -> list[TargetRecord]:
        first, end = places
        queued = takewhile(lambda place: end is None or place < end, self._queued[stage_id, instance].ascending(first))
        rows = (self._rows[stage_id << STAGE_SHIFT | position] for position in queued)
        return list(islice((row for row in rows if self._may_go(row, now)), limit))

    def in_stage(self, stage_id: int, state: TargetState | None = None) -> list[TargetRecord]:
        return [row for row in self._in_order(stage_id) if state in {None, row.target.state}]

    def of_model(self, stage_id: int, state: TargetState, meant: OfModel) -> list[TargetRecord]:
        return [row for row in self.in_stage(stage_id, state) if meant.is_met(row.model)]

    def in_flight(self, run_id: int) -> list[TargetRecord]:
        return [self._rows[id_] for id_ in sorted(self._in_flight[run_id])]

    def unsuccessful(self, stage_ids: Sequence[int], *, with_cancelled: bool) -> list[PastTarget]:
        ends = {TargetState.FAILED, TargetState.TIMED_OUT, *([TargetState.CANCELLED] if with_cancelled else [])}
        rows = (row for id_ in stage_ids for row in self._in_order(id_))
        return [self._past(row) for row in rows if _is_missed(row, ends, with_held_back=with_cancelled)]

    def reached(self, stage_ids: Sequence[int]) -> list[PastTarget]:
        return [self._past(row) for id_ in stage_ids for row in self._in_order(id_) if is_reached(row.target)]

    def find(self, run_id: int, device_id: int) -> TargetRecord | None:
        return self._rows.get(self._members[run_id].get(device_id, 0))

    def of_device(self, device_id: int) -> list[TargetRecord]:
        found = (self.find(run_id, device_id) for run_id in sorted(self._runs.active_ids()))
        return [row for row in found if row is not None]

    def at_work(self, device_id: int) -> TargetRecord | None:
        return self._rows.get(self._at_work.get(device_id, 0))

    def due(self, run_id: int, now: int, *, limit: int) -> list[TargetRecord]:
        return [self._rows[id_] for id_ in self._due[run_id].until(now, limit=limit)]

    def next_due(self, run_id: int) -> int | None:
        return self._due[run_id].earliest()

    def save(self, targets: Sequence[TargetRecord]) -> None:
        for row in targets:
            before = self._rows.get(row.id)
            if before is not None:
                is_moved = before.target.state is not row.target.state
                kept = msgspec.structs.replace(before, **_NOT_BLOCKED) if is_moved else before
                saved = msgspec.structs.replace(kept, target=row.target, site=row.site, updated_at=row.updated_at)
                self._put(before, saved)

    def note_previous(self, ids: Collection[int], *, app: AppName) -> None:
        for row in self.get(ids).values():
            if row.previous is None:
                version = self._devices.version_of(row.device_id, app)
                self._put(row, msgspec.structs.replace(row, previous=version))

    def set_ready(self, device_ids: Collection[int], instance: int) -> list[int]:
        return [run_id for run_id in self._runs.active_ids() if self._set_ready(run_id, device_ids, instance)]

    def block(self, targets: Sequence[TargetRecord]) -> None:
        for row in targets:
            kept = {name: getattr(row, name) for name in (*_NOT_BLOCKED, "site", "updated_at")}
            before = self._rows[row.id]
            self._put(before, msgspec.structs.replace(before, **kept))

    def unblock(self, device_ids: Collection[int]) -> list[int]:
        wanted = set(device_ids)
        rows = self._blocked(lambda row: row.device_id in wanted)
        self._unblock(rows)
        return sorted({row.run_id for row in rows})

    def unblock_rows(self, ids: Collection[int]) -> None:
        self._unblock(self._blocked(lambda row: row.id in ids))

    def unblock_checked(self, run_id: int, at: Instant, *, limit: int) -> None:
        self._unblock([self._rows[id_] for id_ in self._checks[run_id].until(at, limit=limit)])

    def unblock_reason(self, run_id: int, reason: BlockReason) -> None:
        self._unblock(self._blocked(lambda row: row.run_id == run_id and row.blocked is reason))

    def unblock_site(self, run_id: int, stage: int, site: str) -> None:
        def is_meant(row: TargetRecord) -> bool:
            is_full = row.blocked is BlockReason.SITE_FULL and row.site == site
            return is_full and (row.run_id, row.stage) == (run_id, stage)

        self._unblock(self._blocked(is_meant))

    def next_check(self, run_id: int) -> Instant | None:
        earliest = self._checks[run_id].earliest()
        return None if earliest is None else Instant(earliest)

    def at_site(self, stage_id: int, sites: Collection[str]) -> dict[str, int]:
        rows = (self._rows[id_] for id_ in self._at_work.values() if id_ >> STAGE_SHIFT == stage_id)
        return dict(Counter(row.site for row in rows if row.site in sites and row.site))

    def blocked_counts(self, run_id: int) -> dict[tuple[int, BlockReason], int]:
        rows = self._blocked(lambda row: row.run_id == run_id)
        return dict(Counter((row.stage, row.blocked) for row in rows if row.blocked is not None))

    def page(
        self, run_id: int, *, stage: int | None, state: TargetState | None, after: int, limit: int
    ) -> list[TargetRecord]:
        stage_ids = self._runs.get(run_id).stage_ids if self._runs.is_known(run_id) else ()
        wanted = stage_ids if stage is None else stage_ids[stage : stage + 1]
        rows = (row for stage_id in wanted for row in self._in_order(stage_id, after=after))
        return list(islice((row for row in rows if state in {None, row.target.state}), limit))

    def _in_order(self, stage_id: int, *, after: int = -1) -> Iterator[TargetRecord]:
        base = stage_id << STAGE_SHIFT
        return (self._rows[base | position] for position in self._stages[stage_id].ascending(max(0, after + 1 - base)))

    def _past(self, row: TargetRecord) -> PastTarget:
        device = self._devices.get(row.device_id)
        return PastTarget(
            id=row.id,
            device_id=row.device_id,
            name=row.name,
            previous=row.previous,
            wanted=row.wanted,
            instance=device.instance,
            is_blocked=device.is_blocked,
            is_broken=device.is_broken,
            installed=device.installed,
            model=device.model,
        )

    def _blocked(self, is_meant: Callable[[TargetRecord], bool]) -> list[TargetRecord]:
        rows = (self._rows[id_] for id_ in sorted(self._kept_out))
        return [row for row in rows if is_meant(row)]

    def _unblock(self, rows: Sequence[TargetRecord]) -> None:
        for row in rows:
            self._put(row, msgspec.structs.replace(row, **_NOT_BLOCKED))

    def _may_go(self, row: TargetRecord, now: int) -> bool:
        due = row.target.due
        is_time = due is None or due <= now
        return is_time and row.device_id not in self._at_work and self._devices.is_fit(row.device_id)

    def _set_ready(self, run_id: int, device_ids: Collection[int], instance: int) -> bool:
        """Set `ready` on the queued rows of devices in one run; say whether there are any."""
        members = self._members[run_id]
        rows = [self._rows[members[device_id]] for device_id in device_ids if device_id in members]
        queued = [row for row in rows if row.target.state is TargetState.QUEUED]
        for row in queued:
            if row.ready != instance:
                self._put(row, msgspec.structs.replace(row, ready=instance))
        return bool(queued)

    # --- indexes ------------------------------------------------------------------------------------------------

    def _put(self, before: TargetRecord | None, after: TargetRecord) -> None:
        self._note_work(before, after)
        self._note_queue(before, after)
        self._due[after.run_id].set(after.id, after.target.due)
        self._checks[after.run_id].set(after.id, after.check_at)
        if after.blocked is not None:
            self._journal.put(self._kept_out, after.id, None)
        elif after.id in self._kept_out:
            self._journal.drop(self._kept_out, after.id)
        self._journal.put(self._rows, after.id, after)

    def _note_work(self, before: TargetRecord | None, after: TargetRecord) -> None:
        was, is_now = before is not None and _is_at_work(before), _is_at_work(after)
        if is_now and not was:
            assert after.device_id not in self._at_work, f"{after.name} is at work already"
            self._journal.put(self._at_work, after.device_id, after.id)
            self._journal.put(self._in_flight[after.run_id], after.id, None)
        elif was and not is_now:
            self._journal.drop(self._at_work, after.device_id)
            self._journal.drop(self._in_flight[after.run_id], after.id)

    def _note_queue(self, before: TargetRecord | None, after: TargetRecord) -> None:
        old = None if before is None else _queue(before)
        new = _queue(after)
        if old == new:
            return
        position = after.id & _POSITION
        if old is not None:
            self._queued[old].discard(position)
        if new is not None:
            self._queued[new].add(position)


def _is_at_work(row: TargetRecord) -> bool:
    return row.target.state is TargetState.IN_PROGRESS


def _is_missed(row: TargetRecord, ends: Collection[TargetState], *, with_held_back: bool) -> bool:
    if row.target.is_control:
        return with_held_back and row.target.state is not TargetState.REMOVED
    return row.target.state in ends


def is_reached(target: Target) -> bool:
    """Say whether a device was sent what the run brings; one that is held back is sent to watch what it has."""
    return target.attempt > target.watches and not target.is_control


def _queue(row: TargetRecord) -> tuple[int, int] | None:
    """Return which queue a row waits in."""
    is_admissible = row.target.state is TargetState.QUEUED and row.blocked is None
    return (row.id >> STAGE_SHIFT, row.ready) if is_admissible else None
