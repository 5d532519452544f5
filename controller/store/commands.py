"""`controller.app.repositories.Commands` in SQL."""

from collections.abc import Collection, Iterable, Sequence
from itertools import starmap
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from controller.app.records import CommandRecord, CommandState, GivenCommand
from controller.store.columns import Bulk, is_exactly, one_of
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

INSERT: Final = Bulk.insert(command, *command.c.keys())
LAST_ID: Final = sa.select(sa.func.coalesce(sa.func.max(_c.id), 0))
GIVEN: Final = sa.select(*(_c[name] for name in GivenCommand.__struct_fields__)).where(one_of(_c.digest, "digests"))
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
        INSERT.run(self._connection, [_to_row(record) for record in added])
        return added

    def given(self, digests: Collection[Digest]) -> dict[Digest, GivenCommand]:
        rows = self._connection.execute(GIVEN, {"digests": list(digests)}).all()
        return {command.digest: command for command in starmap(_to_given, rows)}

    def open_for(self, device_id: int) -> list[CommandRecord]:
        return self._all(OPEN_FOR, {"device_id": device_id})

    def due(self, at: Instant, *, limit: int) -> list[CommandRecord]:
        return self._all(DUE, {"at": at, "limit": limit})

    def next_due(self) -> Instant | None:
        return self._connection.execute(NEXT_DUE).scalar_one()

    def mark_sent(self, ids: Collection[int], *, again_at: Instant) -> None:
        self._connection.execute(MARK_SENT, {"ids": list(ids), "again_at": again_at})

    def postpone(self, ids: Collection[int], *, until: Instant) -> None:
        self._connection.execute(POSTPONE, {"ids": list(ids), "until": until})

    def close(self, target_ids: Collection[int]) -> None:
        self._connection.execute(CLOSE, {"ids": list(target_ids)})

    def void(self, *, run_id: int, stage: int | None) -> list[int]:
        ids = sorted(self._open_installs(run_id, stage))
        self._connection.execute(VOID, {"ids": ids})
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


def _to_row(record: CommandRecord) -> tuple[object, ...]:
    return (
        record.id,
        record.run_id,
        record.target_id,
        record.device_id,
        record.name,
        record.op.value,
        record.attempt,
        record.epoch,
        record.seq,
        record.digest,
        record.payload,
        record.state.value,
        record.sends,
        record.send_at,
        record.expires_at,
        record.created_at,
    )


def _to_given(  # noqa: PLR0917 - one argument for each column, in the order of `GivenCommand`
    digest: Any, run_id: int, target_id: int | None, device_id: int, op: str, attempt: int, state: str, created_at: Any
) -> GivenCommand:
    return GivenCommand(
        digest=digest,
        run_id=run_id,
        target_id=target_id,
        device_id=device_id,
        op=Op(op),
        attempt=attempt,
        state=CommandState(state),
        created_at=created_at,
    )


def _to_records(rows: Iterable[sa.RowMapping]) -> list[CommandRecord]:
    return [CommandRecord(**{**row, "op": Op(row["op"]), "state": CommandState(row["state"])}) for row in rows]
