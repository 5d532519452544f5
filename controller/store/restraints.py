"""`controller.app.repositories.RestraintsKept` in SQL."""

from collections import defaultdict
from collections.abc import Collection
from typing import Final

import msgspec
import sqlalchemy as sa

from controller.domain.admission import Hold, Pin, Restraints, UpgradePath
from controller.store.columns import one_of
from controller.store.tables import device_hold, device_pin, upgrade_path

_of_device = sa.bindparam("b_id", type_=sa.BigInteger)
_is_release = sa.and_(upgrade_path.c.app == sa.bindparam("b_app"), upgrade_path.c.version == sa.bindparam("b_version"))

HOLDS: Final = sa.select(device_hold).where(one_of(device_hold.c.device_id, "ids"))
PINS: Final = sa.select(device_pin).where(one_of(device_pin.c.device_id, "ids"))
UNHOLD: Final = sa.delete(device_hold).where(device_hold.c.device_id == _of_device)
UNPIN: Final = sa.delete(device_pin).where(
    device_pin.c.device_id == _of_device, device_pin.c.app == sa.bindparam("b_app")
)
PATH: Final = sa.select(upgrade_path.c.path).where(_is_release)
FORGET_PATH: Final = sa.delete(upgrade_path).where(_is_release)


class SqlRestraints:
    """Holds and pins of devices, and the upgrade paths of releases."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def of(self, device_ids: Collection[int]) -> dict[int, Restraints]:
        values = {"ids": list(device_ids)}
        holds: dict[int, Hold] = {}
        for row in self._connection.execute(HOLDS, values).mappings():
            holds[row["device_id"]] = Hold(**{name: row[name] for name in Hold.__struct_fields__})
        pins: defaultdict[int, list[Pin]] = defaultdict(list)
        for row in self._connection.execute(PINS, values).mappings():
            pins[row["device_id"]].append(Pin(**{name: row[name] for name in Pin.__struct_fields__}))
        both = sorted(holds.keys() | pins.keys())
        return {id_: Restraints(hold=holds.get(id_), pins=_in_order(pins.get(id_, ()))) for id_ in both}

    def hold(self, device_id: int, hold: Hold) -> None:
        self.unhold(device_id)
        self._connection.execute(sa.insert(device_hold), {"device_id": device_id, **msgspec.structs.asdict(hold)})

    def unhold(self, device_id: int) -> bool:
        return self._connection.execute(UNHOLD, {"b_id": device_id}).rowcount > 0

    def pin(self, device_id: int, pin: Pin) -> None:
        self.unpin(device_id, pin.app)
        self._connection.execute(sa.insert(device_pin), {"device_id": device_id, **msgspec.structs.asdict(pin)})

    def unpin(self, device_id: int, app: str) -> bool:
        return self._connection.execute(UNPIN, {"b_id": device_id, "b_app": app}).rowcount > 0

    def path(self, app: str, version: str) -> UpgradePath | None:
        return self._connection.scalar(PATH, {"b_app": app, "b_version": version})

    def set_path(self, app: str, version: str, path: UpgradePath | None) -> None:
        self._connection.execute(FORGET_PATH, {"b_app": app, "b_version": version})
        if path is not None:
            self._connection.execute(sa.insert(upgrade_path), {"app": app, "version": version, "path": path})


def _in_order(pins: Collection[Pin]) -> tuple[Pin, ...]:
    return tuple(sorted(pins, key=lambda pin: pin.app))
