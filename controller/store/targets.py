"""`controller.app.repositories.Targets` in SQL."""

from collections.abc import Collection, Mapping, Sequence
from itertools import starmap
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from controller.app.records import OfModel, PastTarget, TargetRecord
from controller.domain.admission import BlockReason
from controller.domain.query import highest
from controller.domain.target import Target, TargetState
from controller.store.columns import Bulk, is_exactly, one_of
from controller.store.tables import (
    BAD_ENDS,
    device,
    device_app,
    is_admissible,
    is_at_site,
    is_at_work,
    is_kept_out,
    is_queued,
    run,
    stage_run,
    target_run,
)
from protocol.ids import AppName
from protocol.lifecycle import AttemptState, Left
from protocol.outputs import Outputs
from protocol.reasons import Reason
from protocol.units import Instant

STAGE_SHIFT: Final = 32
"""A target's id is its stage's id shifted by this, plus its position."""

_t = target_run.c
_low: sa.BindParameter[int] = sa.bindparam("low")
_high: sa.BindParameter[int] = sa.bindparam("high")
_limit = sa.bindparam("limit", type_=sa.Integer)
_in_range = sa.and_(_t.id > _low, _t.id < _high)

_busy = target_run.alias("busy")
_is_busy_elsewhere = sa.exists().where(
    _busy.c.device_id == _t.device_id, is_exactly(_busy.c.state, TargetState.IN_PROGRESS.value)
)
_is_fit = sa.exists().where(device.c.id == _t.device_id, ~device.c.is_blocked, ~device.c.is_broken)

INSERT: Final = Bulk.insert(target_run, *target_run.c.keys())
MEMBERS: Final = sa.select(_t.device_id).where(_t.run_id == sa.bindparam("run_id"))
MEMBERS_AMONG: Final = MEMBERS.where(one_of(_t.device_id, "device_ids"))
LAST_IN_STAGE: Final = sa.select(sa.func.max(_t.id)).where(_in_range)
PLACED: Final = sa.select(_t.device_id, _t.id).where(_t.run_id == sa.bindparam("run_id"))
BY_IDS: Final = sa.select(target_run).where(one_of(_t.id, "ids"))
STATES: Final = sa.select(_t.id, _t.state).where(one_of(_t.id, "ids"))
READY: Final = (
    sa.select(target_run)
    .where(is_admissible, _t.ready == sa.bindparam("instance"), _in_range)
    .where(sa.or_(_t.due.is_(None), _t.due <= sa.bindparam("now")))
    .where(~_is_busy_elsewhere, _is_fit)
    .order_by(_t.id)
    .limit(_limit)
)
IN_FLIGHT: Final = sa.select(target_run).where(_t.run_id == sa.bindparam("run_id"), is_at_work).order_by(_t.id)
FIND: Final = sa.select(target_run).where(
    _t.run_id == sa.bindparam("run_id"), _t.device_id == sa.bindparam("device_id")
)
OF_DEVICE: Final = (
    sa.select(target_run)
    .where(_t.run_id.in_(sa.select(run.c.id).where(run.c.is_active == sa.true())))
    .where(_t.device_id == sa.bindparam("device_id"))
    .order_by(_t.run_id)
)
AT_WORK: Final = sa.select(target_run).where(_t.device_id == sa.bindparam("device_id"), is_at_work)
DUE: Final = (
    sa.select(target_run)
    .where(_t.run_id == sa.bindparam("run_id"), _t.due <= sa.bindparam("now"))
    .order_by(_t.due, _t.id)
    .limit(_limit)
)
NEXT_DUE: Final = sa.select(sa.func.min(_t.due)).where(_t.run_id == sa.bindparam("run_id"), _t.due.is_not(None))
WAITING: Final = (
    sa.select(_t.id, _t.run_id, _t.ready)
    .where(_t.run_id.in_(sa.select(run.c.id).where(run.c.is_active == sa.true())))
    .where(one_of(_t.device_id, "device_ids"), is_queued)
)
SET_READY: Final = Bulk.update(target_run, "ready")
BLOCK: Final = Bulk.update(target_run, "blocked", "block_text", "check_at", "site", "updated_at")
NO_BLOCK: Final = {"blocked": None, "block_text": "", "check_at": None}
BLOCKED_DEVICES: Final = sa.select(_t.id, _t.run_id).where(one_of(_t.device_id, "device_ids"), is_kept_out)
UNBLOCK: Final = sa.update(target_run).where(one_of(_t.id, "ids")).values(NO_BLOCK)
_has_check = _t.check_at.is_not(None)
CHECKED: Final = (
    sa.select(_t.id)
    .where(_t.run_id == sa.bindparam("run_id"), _has_check, _t.check_at <= sa.bindparam("at"))
    .order_by(_t.check_at, _t.id)
    .limit(_limit)
)
NEXT_CHECK: Final = sa.select(sa.func.min(_t.check_at)).where(_t.run_id == sa.bindparam("run_id"), _has_check)
UNBLOCK_REASON: Final = (
    sa.update(target_run)
    .where(_t.run_id == sa.bindparam("b_run_id"), is_kept_out, _t.blocked == sa.bindparam("b_reason"))
    .values(NO_BLOCK)
)
SITE_FULL: Final = (
    sa.select(_t.id)
    .where(_t.run_id == sa.bindparam("run_id"), _t.stage == sa.bindparam("stage"), is_kept_out)
    .where(_t.blocked == BlockReason.SITE_FULL.value, _t.site == sa.bindparam("site"))
)
AT_SITE: Final = (
    sa.select(_t.site, sa.func.count()).where(is_at_site, one_of(_t.site, "sites"), _in_range).group_by(_t.site)
)
BLOCKED_COUNTS: Final = (
    sa.select(_t.stage, _t.blocked, sa.func.count())
    .where(_t.run_id == sa.bindparam("run_id"), is_kept_out)
    .group_by(_t.stage, _t.blocked)
)
STAGES: Final = (
    sa.select(stage_run.c.id).where(stage_run.c.run_id == sa.bindparam("run_id")).order_by(stage_run.c.position)
)
IN_STAGE: Final = {
    state: sa.select(target_run).where(_in_range, is_exactly(_t.state, state.value)).order_by(_t.id)
    for state in TargetState
}
OF_MODEL: Final = {state: statement.where(_t.model == sa.bindparam("model")) for state, statement in IN_STAGE.items()}
OF_OTHERS: Final = {
    state: statement.where(_t.model.is_not(None), ~one_of(_t.model, "apart_from"))
    for state, statement in IN_STAGE.items()
}

_PAST: Final = ("id", "device_id", "name", "previous", "wanted")
_past = (
    sa.select(
        *(_t[name] for name in _PAST),
        device.c.instance,
        device.c.is_blocked,
        device.c.is_broken,
        device.c.installed,
        device.c.model,
    )
    .select_from(sa.join(target_run, device, device.c.id == _t.device_id))
    .where(_in_range)
    .order_by(_t.id)
)
_UNSUCCESSFUL: Final = (TargetState.FAILED.value, TargetState.TIMED_OUT.value)
UNSUCCESSFUL: Final = _past.where(is_exactly(_t.state, *_UNSUCCESSFUL))
UNSUCCESSFUL_OR_CANCELLED: Final = _past.where(is_exactly(_t.state, *_UNSUCCESSFUL, TargetState.CANCELLED.value))
REACHED: Final = _past.where(_t.attempt > 0)

_app = device_app.c
_has_app = sa.and_(_app.device_id == _t.device_id, _app.app == sa.bindparam("app"))
VERSIONS: Final = (
    sa.select(_t.id, _app.version)
    .select_from(sa.outerjoin(target_run, device_app, _has_app))
    .where(one_of(_t.id, "ids"), _t.previous.is_(None))
)
SET_PREVIOUS: Final = Bulk.update(target_run, "previous")
PAGE: Final = sa.select(target_run).where(_in_range).order_by(_t.id).limit(_limit)


def _page_in(state: TargetState) -> sa.Select[Any]:
    """Return the statement for one page of a state; those that are few have an index by run."""
    has_index = state is TargetState.IN_PROGRESS or state.value in BAD_ENDS
    of_run = (_t.run_id == sa.bindparam("run_id"),) if has_index else ()
    is_indexed = (is_exactly(_t.state, *BAD_ENDS),) if state.value in BAD_ENDS else ()
    return PAGE.where(is_exactly(_t.state, state.value), *of_run, *is_indexed)


PAGE_IN: Final = {state: _page_in(state) for state in TargetState}

_SAVED: Final = (
    "attempt",
    "attempt_state",
    "command",
    "due",
    "reason",
    "detail",
    "left_with",
    "outputs",
    "is_started",
    "is_blamed",
    "cancel_requested",
    "is_idle",
    "accepted_at",
    "returns",
    "recalls",
    "late_success_at",
    "site",
    "updated_at",
)
SAVE: Final = Bulk.update(target_run, "state", "blocked", "block_text", "check_at", *_SAVED)
SAVE_WITHIN_STATE: Final = Bulk.update(target_run, *_SAVED)
"""Most reports leave the state as it is, and with it all indexes but one."""
_NOT_BLOCKED: Final = (None, "", None)


_outputs: Final[msgspec.json.Decoder[Outputs]] = msgspec.json.Decoder(Outputs)
"""Few devices have any: a column type of its own would look at every row."""


class SqlTargets:
    """Devices in runs."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._states: dict[int, TargetState] = {}

    def add(self, targets: Sequence[TargetRecord]) -> None:
        INSERT.run(self._connection, [_to_row(target) for target in targets])

    def members(self, run_id: int) -> set[int]:
        return set(self._connection.scalars(MEMBERS, {"run_id": run_id}))

    def members_among(self, run_id: int, device_ids: Collection[int]) -> set[int]:
        values = {"run_id": run_id, "device_ids": list(device_ids)}
        return set(self._connection.scalars(MEMBERS_AMONG, values))

    def next_id(self, stage_id: int) -> int:
        last: int | None = self._connection.execute(LAST_IN_STAGE, _of_stage(stage_id)).scalar_one()
        return stage_id << STAGE_SHIFT if last is None else last + 1

    def placed(self, run_id: int) -> dict[int, int]:
        rows: Sequence[Any] = self._connection.execute(PLACED, {"run_id": run_id}).all()
        return {device: id_ >> STAGE_SHIFT for device, id_ in rows}

    def get(self, ids: Collection[int]) -> dict[int, TargetRecord]:
        return {target.id: target for target in self._all(BY_IDS, {"ids": list(ids)})}

    def ready(self, stage_id: int, *, instance: int, now: int, limit: int) -> list[TargetRecord]:
        return self._all(READY, {**_of_stage(stage_id), "instance": instance, "now": now, "limit": limit})

    def in_stage(self, stage_id: int, state: TargetState) -> list[TargetRecord]:
        return self._all(IN_STAGE[state], _of_stage(stage_id))

    def of_model(self, stage_id: int, state: TargetState, meant: OfModel) -> list[TargetRecord]:
        if meant.apart_from:
            return self._all(OF_OTHERS[state], {**_of_stage(stage_id), "apart_from": list(meant.apart_from)})
        return self._all(OF_MODEL[state], {**_of_stage(stage_id), "model": meant.model})

    def in_flight(self, run_id: int) -> list[TargetRecord]:
        return self._all(IN_FLIGHT, {"run_id": run_id})

    def unsuccessful(self, stage_ids: Sequence[int], *, with_cancelled: bool) -> list[PastTarget]:
        return self._past(UNSUCCESSFUL_OR_CANCELLED if with_cancelled else UNSUCCESSFUL, stage_ids)

    def reached(self, stage_ids: Sequence[int]) -> list[PastTarget]:
        return self._past(REACHED, stage_ids)

    def find(self, run_id: int, device_id: int) -> TargetRecord | None:
        return next(iter(self._all(FIND, {"run_id": run_id, "device_id": device_id})), None)

    def of_device(self, device_id: int) -> list[TargetRecord]:
        return self._all(OF_DEVICE, {"device_id": device_id})

    def at_work(self, device_id: int) -> TargetRecord | None:
        return next(iter(self._all(AT_WORK, {"device_id": device_id})), None)

    def due(self, run_id: int, now: int, *, limit: int) -> list[TargetRecord]:
        return self._all(DUE, {"run_id": run_id, "now": now, "limit": limit})

    def next_due(self, run_id: int) -> int | None:
        return self._connection.execute(NEXT_DUE, {"run_id": run_id}).scalar_one()

    def save(self, targets: Sequence[TargetRecord]) -> None:
        self._load_states([t.id for t in targets if t.id not in self._states])
        moved = [t for t in targets if t.target.state is not self._states.get(t.id)]
        stayed = [t for t in targets if t.target.state is self._states.get(t.id)]
        SAVE.run(self._connection, [(t.target.state.value, *_NOT_BLOCKED, *_to_saved(t), t.id) for t in moved])
        SAVE_WITHIN_STATE.run(self._connection, [(*_to_saved(t), t.id) for t in stayed])
        self._states.update((t.id, t.target.state) for t in moved)

    def note_previous(self, ids: Collection[int], *, app: AppName) -> None:
        if not ids:
            return
        rows: Sequence[Any] = self._connection.execute(VERSIONS, {"ids": list(ids), "app": app}).all()
        versions: dict[int, list[str]] = {id_: [] for id_, _ in rows}
        for id_, version in rows:
            versions[id_] += [] if version is None else [version]
        SET_PREVIOUS.run(self._connection, [(highest(found), id_) for id_, found in versions.items()])

    def set_ready(self, device_ids: Collection[int], instance: int) -> list[int]:
        rows = self._connection.execute(WAITING, {"device_ids": list(device_ids)}).all()
        SET_READY.run(self._connection, [(instance, id_) for id_, _, ready in rows if ready != instance])
        return sorted({row.run_id for row in rows})

    def block(self, targets: Sequence[TargetRecord]) -> None:
        rows = [(*_to_block(t), t.site, t.updated_at, t.id) for t in targets]
        BLOCK.run(self._connection, rows)

    def unblock(self, device_ids: Collection[int]) -> list[int]:
        rows = self._connection.execute(BLOCKED_DEVICES, {"device_ids": list(device_ids)}).all()
        self._unblock([row.id for row in rows])
        return sorted({row.run_id for row in rows})

    def unblock_checked(self, run_id: int, at: Instant, *, limit: int) -> None:
        values = {"run_id": run_id, "at": at, "limit": limit}
        self._unblock(list(self._connection.scalars(CHECKED, values)))

    def unblock_reason(self, run_id: int, reason: BlockReason) -> None:
        self._connection.execute(UNBLOCK_REASON, {"b_run_id": run_id, "b_reason": reason.value})

    def unblock_site(self, run_id: int, stage: int, site: str) -> None:
        values = {"run_id": run_id, "stage": stage, "site": site}
        self._unblock(list(self._connection.scalars(SITE_FULL, values)))

    def next_check(self, run_id: int) -> Instant | None:
        return self._connection.execute(NEXT_CHECK, {"run_id": run_id}).scalar_one()

    def at_site(self, stage_id: int, sites: Collection[str]) -> dict[str, int]:
        rows: Sequence[Any] = self._connection.execute(AT_SITE, {**_of_stage(stage_id), "sites": list(sites)}).all()
        return dict(rows)

    def blocked_counts(self, run_id: int) -> dict[tuple[int, BlockReason], int]:
        rows: Sequence[Any] = self._connection.execute(BLOCKED_COUNTS, {"run_id": run_id}).all()
        return {(stage, BlockReason(reason)): count for stage, reason, count in rows}

    def page(
        self, run_id: int, *, stage: int | None, state: TargetState | None, after: int, limit: int
    ) -> list[TargetRecord]:
        stage_ids: list[int] = list(self._connection.scalars(STAGES, {"run_id": run_id}))
        wanted = stage_ids if stage is None else stage_ids[stage : stage + 1]
        if not wanted:
            return []
        low, high = _of_stage(wanted[0])["low"], _of_stage(wanted[-1])["high"]
        values = {"low": max(after, low), "high": high, "limit": limit}
        if state is None:
            return self._all(PAGE, values)
        return self._all(PAGE_IN[state], {**values, "run_id": run_id})

    def _past(self, statement: sa.Select[Any], stage_ids: Sequence[int]) -> list[PastTarget]:
        first, last = _of_stage(stage_ids[0]), _of_stage(stage_ids[-1])
        rows = self._connection.execute(statement, {"low": first["low"], "high": last["high"]}).all()
        return list(starmap(PastTarget, rows))

    def _load_states(self, ids: Sequence[int]) -> None:
        if ids:
            rows: Sequence[Any] = self._connection.execute(STATES, {"ids": ids}).all()
            self._states.update((id_, TargetState(state)) for id_, state in rows)

    def _unblock(self, ids: Sequence[int]) -> None:
        if ids:
            self._connection.execute(UNBLOCK, {"ids": ids})

    def _all(self, statement: sa.Select[Any], values: Mapping[str, object]) -> list[TargetRecord]:
        found = list(starmap(_to_record, self._connection.execute(statement, values).all()))
        self._states.update((record.id, record.target.state) for record in found)
        return found


def _of_stage(stage_id: int) -> dict[str, int]:
    """Return the open range of the ids of a stage's targets."""
    return {"low": (stage_id << STAGE_SHIFT) - 1, "high": (stage_id + 1) << STAGE_SHIFT}


def _to_row(record: TargetRecord) -> tuple[object, ...]:
    *saved, site, updated_at = _to_saved(record)
    row = (record.id, record.run_id, record.stage, record.device_id, record.name, record.ready)
    return (
        *row,
        *_to_block(record),
        site,
        updated_at,
        record.target.state.value,
        *saved,
        record.previous,
        record.wanted,
        record.model,
    )


def _to_block(record: TargetRecord) -> tuple[object, ...]:
    return record.blocked and record.blocked.value, record.block_text, record.check_at


def _to_saved(record: TargetRecord) -> tuple[object, ...]:
    """Return the values of the columns `_SAVED`, which are in the table's order but for the last two."""
    target = record.target
    return (
        target.attempt,
        target.attempt_state and target.attempt_state.value,
        target.command,
        target.due,
        target.reason and target.reason.value,
        target.detail,
        target.left and target.left.value,
        msgspec.json.encode(target.outputs).decode() if target.outputs else None,
        target.is_started,
        target.is_blamed,
        target.cancel_requested,
        target.is_idle,
        target.accepted_at,
        target.returns,
        target.recalls,
        target.late_success_at,
        record.site,
        record.updated_at,
    )


def _to_record(  # noqa: PLR0917 - one argument for each column, in the table's order
    id_: int,
    run_id: int,
    stage: int,
    device_id: int,
    name: Any,
    ready: int,
    blocked: str | None,
    block_text: str,
    check_at: Any,
    site: str,
    updated_at: Any,
    state: str,
    attempt: int,
    attempt_state: str | None,
    command: Any,
    due: int | None,
    reason: str | None,
    detail: str,
    left: str | None,
    outputs: str | None,
    is_started: bool,  # noqa: FBT001
    is_blamed: bool,  # noqa: FBT001
    cancel_requested: bool,  # noqa: FBT001
    is_idle: bool,  # noqa: FBT001
    accepted_at: int | None,
    returns: bool,  # noqa: FBT001
    recalls: int,
    late_success_at: int | None,
    previous: str | None,
    wanted: str | None,
    model: str | None,
) -> TargetRecord:
    target = Target(
        state=TargetState(state),
        attempt=attempt,
        attempt_state=None if attempt_state is None else AttemptState(attempt_state),
        command=command,
        due=due,
        reason=None if reason is None else Reason(reason),
        detail=detail,
        left=None if left is None else Left(left),
        outputs={} if outputs is None else _outputs.decode(outputs),
        is_started=is_started,
        is_blamed=is_blamed,
        cancel_requested=cancel_requested,
        is_idle=is_idle,
        accepted_at=accepted_at,
        returns=returns,
        recalls=recalls,
        late_success_at=late_success_at,
    )
    return TargetRecord(
        id=id_,
        run_id=run_id,
        stage=stage,
        device_id=device_id,
        name=name,
        target=target,
        ready=ready,
        blocked=None if blocked is None else BlockReason(blocked),
        block_text=block_text,
        check_at=check_at,
        site=site,
        updated_at=updated_at,
        previous=previous,
        wanted=wanted,
        model=model,
    )
