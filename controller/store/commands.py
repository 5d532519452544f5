"""`controller.app.repositories.Commands` in SQL."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from controller.app.records import CommandRecord, CommandState
from controller.store.columns import chunks, is_exactly, one_of
from controller.store.tables import command, is_open, is_unsent, stage_run
from controller.store.targets import STAGE_SHIFT
from protocol.ids import Digest
from protocol.messages import Op
from protocol.units import Instant

_c = command.c
_CONTROL: Final = tuple(op.value for op in Op if op.is_control)
_sent_state = sa.case(
    (is_exactly(_c.op, *_CONTROL), sa.literal_column(f"'{CommandState.DONE.value}'")),
    else_=sa.literal_column(f"'{CommandState.SENT.value}'"),
)
_of_run = sa.and_(is_open, _c.run_id == sa.bindparam("run_id"), _c.target_id.is_not(None))
_of_stage = sa.and_(_of_run, _c.target_id >= sa.bindparam("low"), _c.target_id < sa.bindparam("high"))

INSERT: Final = sa.insert(command)
LAST_ID: Final = sa.select(sa.func.coalesce(sa.func.max(_c.id), 0))
BY_DIGESTS: Final = sa.select(command).where(one_of(_c.digest, "digests"))
OPEN_FOR: Final = sa.select(command).where(is_open, _c.device_id == sa.bindparam("device_id")).order_by(_c.seq, _c.id)
DUE: Final = (
    sa.select(command)
    .where(is_open, _c.send_at <= sa.bindparam("at"))
    .order_by(_c.send_at, _c.id)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
NEXT_DUE: Final = sa.select(sa.func.min(_c.send_at)).where(is_open)
MARK_SENT: Final = (
    sa.update(command)
    .where(is_open, one_of(_c.id, "ids"))
    .values(state=_sent_state, sends=_c.sends + 1, send_at=sa.bindparam("again_at"))
)
POSTPONE: Final = sa.update(command).where(is_open, one_of(_c.id, "ids")).values(send_at=sa.bindparam("until"))
CLOSE: Final = sa.update(command).where(is_open, one_of(_c.target_id, "ids")).values(state=CommandState.DONE.value)
STAGE_ID: Final = sa.select(stage_run.c.id).where(
    stage_run.c.run_id == sa.bindparam("run_id"), stage_run.c.position == sa.bindparam("stage")
)
OPEN_OF_RUN: Final = sa.select(_c.id).where(_of_run)
OPEN_OF_STAGE: Final = sa.select(_c.id).where(_of_stage)
VOID: Final = sa.update(command).where(is_open, one_of(_c.id, "ids")).values(state=CommandState.VOID.value)
UNSENT_COUNT: Final = sa.select(sa.func.count()).select_from(command).where(is_open, is_unsent)


class SqlCommands:
    """Commands, with their exact bytes."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, commands: Sequence[CommandRecord]) -> list[CommandRecord]:
        if not commands:
            return []
        first = self._connection.execute(LAST_ID).scalar_one() + 1
        added = [msgspec.structs.replace(record, id=first + index) for index, record in enumerate(commands)]
        self._connection.execute(INSERT, [_to_row(record) for record in added])
        return added

    def by_digests(self, digests: Collection[Digest]) -> dict[Digest, CommandRecord]:
        found = [record for chunk in chunks(digests) for record in self._all(BY_DIGESTS, {"digests": chunk})]
        return {record.digest: record for record in found}

    def open_for(self, device_id: int) -> list[CommandRecord]:
        return self._all(OPEN_FOR, {"device_id": device_id})

    def due(self, at: Instant, *, limit: int) -> list[CommandRecord]:
        return self._all(DUE, {"at": at, "limit": limit})

    def next_due(self) -> Instant | None:
        return self._connection.execute(NEXT_DUE).scalar_one()

    def mark_sent(self, ids: Collection[int], *, again_at: Instant) -> None:
        for chunk in chunks(ids):
            self._connection.execute(MARK_SENT, {"ids": chunk, "again_at": again_at})

    def postpone(self, ids: Collection[int], *, until: Instant) -> None:
        for chunk in chunks(ids):
            self._connection.execute(POSTPONE, {"ids": chunk, "until": until})

    def close(self, target_ids: Collection[int]) -> None:
        for chunk in chunks(target_ids):
            self._connection.execute(CLOSE, {"ids": chunk})

    def void(self, *, run_id: int, stage: int | None) -> list[int]:
        ids = sorted(self._open_installs(run_id, stage))
        for chunk in chunks(ids):
            self._connection.execute(VOID, {"ids": chunk})
        return ids

    def unsent_count(self) -> int:
        return self._connection.execute(UNSENT_COUNT).scalar_one()

    def _open_installs(self, run_id: int, stage: int | None) -> list[int]:
        if stage is None:
            return list(self._connection.scalars(OPEN_OF_RUN, {"run_id": run_id}))
        stage_id: int = self._connection.execute(STAGE_ID, {"run_id": run_id, "stage": stage}).scalar_one()
        span = {"low": stage_id << STAGE_SHIFT, "high": (stage_id + 1) << STAGE_SHIFT}
        return list(self._connection.scalars(OPEN_OF_STAGE, {"run_id": run_id, **span}))

    def _all(self, statement: sa.Select[Any], values: dict[str, object]) -> list[CommandRecord]:
        return _to_records(self._connection.execute(statement, values).mappings())


def _to_row(record: CommandRecord) -> dict[str, object]:
    return {**msgspec.structs.asdict(record), "op": record.op.value, "state": record.state.value}


def _to_records(rows: Iterable[sa.RowMapping]) -> list[CommandRecord]:
    return [CommandRecord(**{**row, "op": Op(row["op"]), "state": CommandState(row["state"])}) for row in rows]
