"""`controller.app.repositories.Tenant` in SQL."""

from typing import Final

import msgspec
import sqlalchemy as sa

from controller.app.records import FreezeRecord, StandstillRecord
from controller.store.tables import freeze, standstill

STANDSTILL_ID: Final = 1

STANDSTILL: Final = sa.select(*(standstill.c[name] for name in StandstillRecord.__struct_fields__))
STAND_STILL: Final = sa.insert(standstill)
LIFT: Final = sa.delete(standstill)
FREEZES: Final = sa.select(*(freeze.c[name] for name in FreezeRecord.__struct_fields__)).order_by(
    freeze.c.starts_at, freeze.c.name
)
ADD_FREEZE: Final = sa.insert(freeze)
DROP_FREEZE: Final = sa.delete(freeze).where(freeze.c.name == sa.bindparam("b_name"))


class SqlTenant:
    """What holds for everything at once."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def standstill(self) -> StandstillRecord | None:
        row = self._connection.execute(STANDSTILL).mappings().one_or_none()
        return None if row is None else StandstillRecord(**row)

    def stand_still(self, record: StandstillRecord) -> None:
        self._connection.execute(STAND_STILL, {"id": STANDSTILL_ID, **msgspec.structs.asdict(record)})

    def lift_standstill(self) -> None:
        self._connection.execute(LIFT)

    def freezes(self) -> list[FreezeRecord]:
        return [FreezeRecord(**row) for row in self._connection.execute(FREEZES).mappings()]

    def add_freeze(self, record: FreezeRecord) -> None:
        row = {name: getattr(record, name) for name in record.__struct_fields__}
        self._connection.execute(ADD_FREEZE, {**row, "starts_at": record.freeze.starts_at})

    def drop_freeze(self, name: str) -> None:
        self._connection.execute(DROP_FREEZE, {"b_name": name})
