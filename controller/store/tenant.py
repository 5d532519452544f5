"""`controller.app.repositories.Tenant` in SQL."""

from typing import Final

import msgspec
import sqlalchemy as sa

from controller.app.records import StandstillRecord
from controller.store.tables import standstill

STANDSTILL_ID: Final = 1

STANDSTILL: Final = sa.select(*(standstill.c[name] for name in StandstillRecord.__struct_fields__))
STAND_STILL: Final = sa.insert(standstill)
LIFT: Final = sa.delete(standstill)


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
