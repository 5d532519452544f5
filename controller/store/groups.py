"""`controller.app.repositories.Groups` in SQL."""

from collections.abc import Collection, Sequence
from itertools import starmap
from typing import Final

import sqlalchemy as sa

from controller.app.records import GroupRecord
from controller.store.columns import Bulk, one_of
from controller.store.queries import is_within
from controller.store.tables import device, device_group, fleet_group
from protocol.ids import DeviceId
from protocol.units import Instant

_g = fleet_group.c
_m = device_group.c
_path = sa.bindparam("b_path", type_=sa.Text)

ALL: Final = sa.select(_g.path)
_own = sa.select(sa.func.count()).where(_m.path == _g.path).scalar_subquery()
_all_in = (
    sa.select(sa.func.count(sa.distinct(_m.device_id)))
    .where(is_within(_m.path, _g.path))
    .correlate(fleet_group)
    .scalar_subquery()
)
COUNTED: Final = sa.select(_g.path, _g.created_at, _own, _all_in).order_by(_g.path)
INSERT: Final = Bulk.insert(fleet_group, "path", "created_at")
REMOVE: Final = sa.delete(fleet_group).where(is_within(_g.path, _path))
EMPTY: Final = sa.delete(device_group).where(is_within(_m.path, _path))
MEMBERS: Final = sa.select(_m.device_id).where(_m.path == _path)
GROUPS_OF: Final = sa.select(_m.path).where(_m.device_id == sa.bindparam("b_id")).order_by(_m.path)
ADD: Final = Bulk.insert(device_group, "path", "device_id")
DROP: Final = Bulk(sa.delete(device_group).where(_m.path == _path, _m.device_id == sa.bindparam("b_id")))
IDS_OF: Final = sa.select(device.c.device, device.c.id).where(
    one_of(device.c.device, "devices"), device.c.removed_at.is_(None)
)


class SqlGroups:
    """Named sets of devices, in a tree."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def paths(self) -> set[str]:
        return set(self._connection.scalars(ALL))

    def counted(self) -> list[GroupRecord]:
        return list(starmap(GroupRecord, self._connection.execute(COUNTED)))

    def add(self, paths: Sequence[str], *, at: Instant) -> None:
        INSERT.run(self._connection, [(path, at) for path in paths])

    def remove(self, path: str) -> None:
        self._connection.execute(EMPTY, {"b_path": path})
        self._connection.execute(REMOVE, {"b_path": path})

    def add_members(self, path: str, ids: Collection[int]) -> int:
        new = sorted(set(ids) - self._members(path))
        ADD.run(self._connection, [(path, id_) for id_ in new])
        return len(new)

    def drop_members(self, path: str, ids: Collection[int]) -> int:
        gone = sorted(set(ids) & self._members(path))
        DROP.run(self._connection, [(path, id_) for id_ in gone])
        return len(gone)

    def groups_of(self, device_id: int) -> list[str]:
        return list(self._connection.scalars(GROUPS_OF, {"b_id": device_id}))

    def ids_of(self, devices: Collection[DeviceId]) -> dict[DeviceId, int]:
        return dict(self._connection.execute(IDS_OF, {"devices": list(devices)}).all())

    def _members(self, path: str) -> set[int]:
        return set(self._connection.scalars(MEMBERS, {"b_path": path}))
