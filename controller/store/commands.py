"""`controller.app.repositories.Commands` in SQL."""

from collections.abc import Collection, Iterable, Sequence
from itertools import starmap
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningUpdate

from controller.app.records import CommandRecord, CommandState, GivenCommand
from controller.store.columns import Bulk, is_exactly, one_of
from controller.store.tables import command, is_open, is_open_control, is_unsent
from controller.store.target_statements import STAGES
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

INSERT: Final = Bulk.insert(command, *command.c.keys())
LAST_ID: Final = sa.select(sa.func.coalesce(sa.func.max(_c.id), 0))
GIVEN: Final = sa.select(*(_c[name] for name in GivenCommand.__struct_fields__)).where(one_of(_c.digest, "digests"))
OPEN_FOR: Final = sa.select(command).where(is_open, _c.target_id == sa.bindparam("target_id")).order_by(_c.id)
CONTROLS: Final = sa.select(command).where(is_open_control, one_of(_c.device_id, "device_ids")).order_by(_c.id)
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
DROP: Final = (
    sa.update(command).where(is_open, one_of(_c.id, "ids")).values(state=CommandState.DONE.value).returning(_c.id)
)
CLOSE: Final = (
    sa.update(command)
    .where(is_open, one_of(_c.target_id, "ids"))
    .values(state=CommandState.DONE.value)
    .returning(_c.id)
)
OPEN_INSTALLS: Final = sa.select(_c.id).where(
    is_open, _c.target_id >= sa.bindparam("low"), _c.target_id < sa.bindparam("high")
)
VOID: Final = (
    sa.update(command).where(is_open, one_of(_c.id, "ids")).values(state=CommandState.VOID.value).returning(_c.id)
)
UNSENT_COUNT: Final = sa.select(sa.func.count()).select_from(command).where(is_open, is_unsent)


class SqlCommands:
    """Commands, with their exact bytes."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.closed: Final[list[int]] = []

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

    def open_for(self, target_id: int) -> list[CommandRecord]:
        return self._all(OPEN_FOR, {"target_id": target_id})

    def controls_for(self, device_ids: Collection[int]) -> list[CommandRecord]:
        return self._all(CONTROLS, {"device_ids": list(device_ids)})

    def due(self, at: Instant, *, limit: int) -> list[CommandRecord]:
        return self._all(DUE, {"at": at, "limit": limit})

    def next_due(self) -> Instant | None:
        return self._connection.execute(NEXT_DUE).scalar_one()

    def mark_sent(self, ids: Collection[int], *, again_at: Instant) -> None:
        self._connection.execute(MARK_SENT, {"ids": list(ids), "again_at": again_at})

    def drop(self, ids: Collection[int]) -> list[int]:
        return self._close(DROP, ids)

    def postpone(self, ids: Collection[int], *, until: Instant) -> None:
        self._connection.execute(POSTPONE, {"ids": list(ids), "until": until})

    def close(self, target_ids: Collection[int]) -> list[int]:
        return self._close(CLOSE, target_ids)

    def void(self, *, run_id: int, stage: int | None) -> list[int]:
        return self._close(VOID, self._open_installs(run_id, stage))

    def unsent_count(self) -> int:
        return self._connection.execute(UNSENT_COUNT).scalar_one()

    def _close(self, statement: ReturningUpdate[Any], ids: Collection[int]) -> list[int]:
        closed = sorted(self._connection.scalars(statement, {"ids": list(ids)})) if ids else []
        self.closed.extend(closed)
        return closed

    def _open_installs(self, run_id: int, stage: int | None) -> list[int]:
        """Return the ids of open commands by the span of their targets' ids; a run's stages have adjacent ids."""
        stage_ids: list[int] = list(self._connection.scalars(STAGES, {"run_id": run_id}))
        wanted = stage_ids if stage is None else [stage_ids[stage]]
        span = {"low": wanted[0] << STAGE_SHIFT, "high": (wanted[-1] + 1) << STAGE_SHIFT}
        return list(self._connection.scalars(OPEN_INSTALLS, span))

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
    digest: Any,
    run_id: int,
    target_id: int | None,
    device_id: int,
    op: str,
    attempt: int,
    seq: int,
    state: str,
    created_at: Any,
) -> GivenCommand:
    return GivenCommand(
        digest=digest,
        run_id=run_id,
        target_id=target_id,
        device_id=device_id,
        op=Op(op),
        attempt=attempt,
        seq=seq,
        state=CommandState(state),
        created_at=created_at,
    )


def _to_records(rows: Iterable[sa.RowMapping]) -> list[CommandRecord]:
    return [CommandRecord(**{**row, "op": Op(row["op"]), "state": CommandState(row["state"])}) for row in rows]
