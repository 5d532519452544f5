"""`controller.app.repositories.Watches` in SQL."""

from collections.abc import Collection, Mapping, Sequence
from itertools import starmap
from typing import Any, Final

import sqlalchemy as sa

from controller.app.records import TargetRecord
from controller.domain.silence import Bystander
from controller.store.columns import one_of
from controller.store.tables import device, is_unpaired, is_watched, run, target_run
from controller.store.target_rows import to_record
from controller.store.target_statements import was_reached
from controller.store.targets import of_stage
from protocol.units import Instant

_t, _d = target_run.c, device.c
_limit = sa.bindparam("limit", type_=sa.Integer)
_is_reached = sa.exists().where(_t.run_id == sa.bindparam("run_id"), _t.device_id == _d.id, was_reached)
_is_here = sa.exists().where(_d.id == _t.device_id, _d.instance == sa.bindparam("instance"), _d.instance > 0)

OF_DEVICES: Final = (
    sa.select(target_run)
    .where(one_of(_t.device_id, "device_ids"), is_watched)
    .where(sa.exists().where(run.c.id == _t.run_id, run.c.is_active == sa.true()))
)
AWAY: Final = (
    sa.select(target_run)
    .where(_t.id > sa.bindparam("low"), _t.id < sa.bindparam("high"), is_watched, ~_is_here)
    .order_by(_t.id)
    .limit(_limit)
)
PARTNERS: Final = (
    sa.select(target_run)
    .where(_t.id > sa.bindparam("low"), _t.id < sa.bindparam("high"), is_unpaired)
    .where(_t.model == sa.bindparam("model"), _t.measured_at >= sa.bindparam("since"))
    .order_by(_t.id)
    .limit(_limit)
)
LAST_DEVICE: Final = sa.select(sa.func.coalesce(sa.func.max(_d.id), 0))
BYSTANDERS: Final = sa.select(_d.instance, _d.last_seen_at, _is_reached).where(
    one_of(_d.id, "ids"), ~_d.is_blocked, _d.removed_at.is_(None)
)


class SqlWatches:
    """Devices in runs that are watched after their success."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def of_devices(self, device_ids: Collection[int]) -> list[TargetRecord]:
        return sorted(self._all(OF_DEVICES, {"device_ids": list(device_ids)}), key=lambda row: row.id)

    def away(self, stage_id: int, *, instance: int, after: int, limit: int) -> list[TargetRecord]:
        bounds = of_stage(stage_id)
        low = max(after, bounds["low"])
        return self._all(AWAY, {"low": low, "high": bounds["high"], "instance": instance, "limit": limit})

    def partners(self, stage_id: int, *, model: str, since: Instant, limit: int) -> list[TargetRecord]:
        return self._all(PARTNERS, of_stage(stage_id) | {"model": model, "since": since, "limit": limit})

    def bystanders(self, run_id: int, *, instance: int, limit: int) -> list[Bystander]:
        ids = spread(self._connection.execute(LAST_DEVICE).scalar_one(), limit=limit)
        rows: Sequence[Any] = self._connection.execute(BYSTANDERS, {"run_id": run_id, "ids": list(ids)}).all()
        return [
            Bystander(is_online=0 < at == instance, last_seen_at=seen_at, is_reached=bool(is_reached))
            for at, seen_at, is_reached in rows
        ]

    def _all(self, statement: sa.Select[Any], values: Mapping[str, object]) -> list[TargetRecord]:
        return list(starmap(to_record, self._connection.execute(statement, values).all()))


def spread(last: int, *, limit: int) -> range:
    """Return at most *limit* ids that are evenly spread over those from 1 to *last*, which have no gaps.

    >>> list(spread(5, limit=9)), list(spread(10, limit=4)), list(spread(0, limit=4))
    ([1, 2, 3, 4, 5], [1, 4, 7, 10], [])
    """
    return range(1, last + 1, max(1, -(-last // limit)))
