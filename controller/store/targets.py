"""`controller.app.repositories.Targets` in SQL."""

from collections.abc import Collection, Mapping, Sequence
from itertools import starmap
from typing import Any, Final

import sqlalchemy as sa

from controller.app.records import OfModel, PastTarget, TargetRecord
from controller.domain.admission import BlockReason
from controller.domain.control import EVERYWHERE, Places
from controller.domain.query import highest
from controller.domain.target import TargetState
from controller.store import target_statements as sql
from controller.store.target_rows import to_block, to_record, to_row, to_saved
from protocol.ids import AppName
from protocol.units import Instant

STAGE_SHIFT: Final = 32
"""A target's id is its stage's id shifted by this, plus its position."""
_NOT_BLOCKED: Final = (None, "", None)


class SqlTargets:
    """Devices in runs."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._states: dict[int, TargetState] = {}

    def add(self, targets: Sequence[TargetRecord]) -> None:
        sql.INSERT.run(self._connection, [to_row(target) for target in targets])

    def members(self, run_id: int) -> set[int]:
        return set(self._connection.scalars(sql.MEMBERS, {"run_id": run_id}))

    def members_among(self, run_id: int, device_ids: Collection[int]) -> set[int]:
        values = {"run_id": run_id, "device_ids": list(device_ids)}
        return set(self._connection.scalars(sql.MEMBERS_AMONG, values))

    def next_id(self, stage_id: int) -> int:
        last: int | None = self._connection.execute(sql.LAST_IN_STAGE, of_stage(stage_id)).scalar_one()
        return stage_id << STAGE_SHIFT if last is None else last + 1

    def placed(self, run_id: int) -> dict[int, int]:
        rows: Sequence[Any] = self._connection.execute(sql.PLACED, {"run_id": run_id}).all()
        return {device: id_ >> STAGE_SHIFT for device, id_ in rows}

    def get(self, ids: Collection[int]) -> dict[int, TargetRecord]:
        return {target.id: target for target in self._all(sql.BY_IDS, {"ids": list(ids)})}

    def ready(
        self, stage_id: int, *, instance: int, now: int, limit: int, places: Places = EVERYWHERE
    ) -> list[TargetRecord]:
        values = {"instance": instance, "now": now, "limit": limit}
        return self._all(sql.READY, {**of_stage(stage_id, places), **values})

    def in_stage(self, stage_id: int, state: TargetState) -> list[TargetRecord]:
        return self._all(sql.IN_STAGE[state], of_stage(stage_id))

    def of_model(self, stage_id: int, state: TargetState, meant: OfModel) -> list[TargetRecord]:
        if meant.apart_from:
            return self._all(sql.OF_OTHERS[state], {**of_stage(stage_id), "apart_from": list(meant.apart_from)})
        return self._all(sql.OF_MODEL[state], {**of_stage(stage_id), "model": meant.model})

    def in_flight(self, run_id: int) -> list[TargetRecord]:
        return self._all(sql.IN_FLIGHT, {"run_id": run_id})

    def unsuccessful(self, stage_ids: Sequence[int], *, with_cancelled: bool) -> list[PastTarget]:
        return self._past(sql.UNSUCCESSFUL_OR_CANCELLED if with_cancelled else sql.UNSUCCESSFUL, stage_ids)

    def reached(self, stage_ids: Sequence[int]) -> list[PastTarget]:
        return self._past(sql.REACHED, stage_ids)

    def find(self, run_id: int, device_id: int) -> TargetRecord | None:
        return next(iter(self._all(sql.FIND, {"run_id": run_id, "device_id": device_id})), None)

    def of_device(self, device_id: int) -> list[TargetRecord]:
        return self._all(sql.OF_DEVICE, {"device_id": device_id})

    def at_work(self, device_id: int) -> TargetRecord | None:
        return next(iter(self._all(sql.AT_WORK, {"device_id": device_id})), None)

    def due(self, run_id: int, now: int, *, limit: int) -> list[TargetRecord]:
        return self._all(sql.DUE, {"run_id": run_id, "now": now, "limit": limit})

    def next_due(self, run_id: int) -> int | None:
        return self._connection.execute(sql.NEXT_DUE, {"run_id": run_id}).scalar_one()

    def save(self, targets: Sequence[TargetRecord]) -> None:
        self._load_states([t.id for t in targets if t.id not in self._states])
        moved = [t for t in targets if t.target.state is not self._states.get(t.id)]
        stayed = [t for t in targets if t.target.state is self._states.get(t.id)]
        sql.SAVE.run(self._connection, [(t.target.state.value, *_NOT_BLOCKED, *to_saved(t), t.id) for t in moved])
        sql.SAVE_WITHIN_STATE.run(self._connection, [(*to_saved(t), t.id) for t in stayed])
        self._states.update((t.id, t.target.state) for t in moved)

    def note_previous(self, ids: Collection[int], *, app: AppName) -> None:
        if not ids:
            return
        rows: Sequence[Any] = self._connection.execute(sql.VERSIONS, {"ids": list(ids), "app": app}).all()
        versions: dict[int, list[str]] = {id_: [] for id_, _ in rows}
        for id_, version in rows:
            versions[id_] += [] if version is None else [version]
        sql.SET_PREVIOUS.run(self._connection, [(highest(found), id_) for id_, found in versions.items()])

    def set_ready(self, device_ids: Collection[int], instance: int) -> list[int]:
        rows = self._connection.execute(sql.WAITING, {"device_ids": list(device_ids)}).all()
        sql.SET_READY.run(self._connection, [(instance, id_) for id_, _, ready in rows if ready != instance])
        return sorted({row.run_id for row in rows})

    def block(self, targets: Sequence[TargetRecord]) -> None:
        rows = [(*to_block(t), t.site, t.updated_at, t.id) for t in targets]
        sql.BLOCK.run(self._connection, rows)

    def unblock(self, device_ids: Collection[int]) -> list[int]:
        rows = self._connection.execute(sql.BLOCKED_DEVICES, {"device_ids": list(device_ids)}).all()
        self._unblock([row.id for row in rows])
        return sorted({row.run_id for row in rows})

    def unblock_rows(self, ids: Collection[int]) -> None:
        self._unblock(list(ids))

    def unblock_checked(self, run_id: int, at: Instant, *, limit: int) -> None:
        values = {"run_id": run_id, "at": at, "limit": limit}
        self._unblock(list(self._connection.scalars(sql.CHECKED, values)))

    def unblock_reason(self, run_id: int, reason: BlockReason) -> None:
        self._connection.execute(sql.UNBLOCK_REASON, {"b_run_id": run_id, "b_reason": reason.value})

    def unblock_site(self, run_id: int, stage: int, site: str) -> None:
        values = {"run_id": run_id, "stage": stage, "site": site}
        self._unblock(list(self._connection.scalars(sql.SITE_FULL, values)))

    def next_check(self, run_id: int) -> Instant | None:
        return self._connection.execute(sql.NEXT_CHECK, {"run_id": run_id}).scalar_one()

    def at_site(self, stage_id: int, sites: Collection[str]) -> dict[str, int]:
        rows: Sequence[Any] = self._connection.execute(sql.AT_SITE, {**of_stage(stage_id), "sites": list(sites)}).all()
        return dict(rows)

    def blocked_counts(self, run_id: int) -> dict[tuple[int, BlockReason], int]:
        rows: Sequence[Any] = self._connection.execute(sql.BLOCKED_COUNTS, {"run_id": run_id}).all()
        return {(stage, BlockReason(reason)): count for stage, reason, count in rows}

    def page(
        self, run_id: int, *, stage: int | None, state: TargetState | None, after: int, limit: int
    ) -> list[TargetRecord]:
        stage_ids: list[int] = list(self._connection.scalars(sql.STAGES, {"run_id": run_id}))
        wanted = stage_ids if stage is None else stage_ids[stage : stage + 1]
        if not wanted:
            return []
        low, high = of_stage(wanted[0])["low"], of_stage(wanted[-1])["high"]
        values = {"low": max(after, low), "high": high, "limit": limit}
        if state is None:
            return self._all(sql.PAGE, values)
        return self._all(sql.PAGE_IN[state], {**values, "run_id": run_id})

    def _past(self, statement: sa.Select[Any], stage_ids: Sequence[int]) -> list[PastTarget]:
        first, last = of_stage(stage_ids[0]), of_stage(stage_ids[-1])
        rows = self._connection.execute(statement, {"low": first["low"], "high": last["high"]}).all()
        return list(starmap(PastTarget, rows))

    def _load_states(self, ids: Sequence[int]) -> None:
        if ids:
            rows: Sequence[Any] = self._connection.execute(sql.STATES, {"ids": ids}).all()
            self._states.update((id_, TargetState(state)) for id_, state in rows)

    def _unblock(self, ids: Sequence[int]) -> None:
        if ids:
            self._connection.execute(sql.UNBLOCK, {"ids": ids})

    def _all(self, statement: sa.Select[Any], values: Mapping[str, object]) -> list[TargetRecord]:
        found = list(starmap(to_record, self._connection.execute(statement, values).all()))
        self._states.update((record.id, record.target.state) for record in found)
        return found


def of_stage(stage_id: int, places: Places = EVERYWHERE) -> dict[str, int]:
    """Return the open range of the ids of a stage's targets at some positions."""
    first, end = places
    base, last = stage_id << STAGE_SHIFT, (stage_id + 1) << STAGE_SHIFT
    return {"low": base + first - 1, "high": last if end is None else base + end}
