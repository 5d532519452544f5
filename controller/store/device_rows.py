"""Rows by which queries find devices, kept equal to what devices and operators say.

Nothing is written that stays as it was: most hellos change neither facts nor apps.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import sqlalchemy as sa

from controller.domain.query import version_key
from controller.domain.query.evaluate import number_of
from controller.store.columns import Bulk, one_of
from controller.store.tables import AGENT, device, device_app, device_fact, device_label

App = tuple[int, str, str]
"""(device id, app, version), the agent among the apps as `AGENT`."""


class _Entries:
    """The statements of one table of texts by key."""

    def __init__(self, table: sa.Table) -> None:
        here = sa.and_(table.c.device_id == sa.bindparam("b_id"), table.c.key == sa.bindparam("b_key"))
        self.select: Final = sa.select(table.c.key, table.c.value).where(table.c.device_id == sa.bindparam("b_id"))
        self.insert: Final = Bulk.insert(table, "device_id", "key", "value", "number")
        self.delete: Final = Bulk(sa.delete(table).where(here))


LABELS: Final = _Entries(device_label)
FACTS: Final = _Entries(device_fact)

_a = device_app.c
INSERT_APPS: Final = Bulk.insert(device_app, "device_id", "app", "version", "version_key")
DELETE_APPS: Final = Bulk(
    sa.delete(device_app).where(
        _a.device_id == sa.bindparam("b_id"), _a.app == sa.bindparam("b_app"), _a.version == sa.bindparam("b_version")
    )
)
APPS_OF: Final = (
    sa.select(device.c.id, _a.app, _a.version)
    .select_from(sa.outerjoin(device, device_app, _a.device_id == device.c.id))
    .where(one_of(device.c.id, "ids"))
)
"""A device that has none has one row without any, and one that there is not has no row."""


def save_labels(connection: sa.Connection, device_id: int, labels: Mapping[str, str]) -> None:
    """Make the labels of a device these."""
    _save_entries(connection, LABELS, device_id, labels)


def save_facts(connection: sa.Connection, device_id: int, facts: Mapping[str, str]) -> None:
    """Make the facts of a device these."""
    _save_entries(connection, FACTS, device_id, facts)


def save_apps(connection: sa.Connection, ids: Collection[int], apps: AbstractSet[App], *, with_agents: bool) -> None:
    """Make *apps* the apps of the devices *ids*; agents stay what they are, but *with_agents*."""
    cursor = connection.execute(APPS_OF, {"ids": list(ids)}).cursor
    assert cursor is not None
    # The driver's own tuples: each row made into one of SQLAlchemy's would cost as much as looking it up.
    rows = cursor.fetchall()
    known = {row[0] for row in rows}
    had: set[App] = {row for row in rows if row[1] is not None}
    gone = [row for row in had - apps if with_agents or row[1] != AGENT]
    new = [row for row in apps - had if row[0] in known]
    DELETE_APPS.run(connection, sorted(gone))
    INSERT_APPS.run(connection, [(*row, version_key(row[2])) for row in sorted(new)])


def _save_entries(connection: sa.Connection, entries: _Entries, device_id: int, told: Mapping[str, str]) -> None:
    had: dict[str, str] = dict(connection.execute(entries.select, {"b_id": device_id}).all())
    changed = {key: value for key, value in told.items() if had.get(key) != value}
    entries.delete.run(connection, [(device_id, key) for key in had if key not in told or key in changed])
    entries.insert.run(connection, [(device_id, key, value, number_of(value)) for key, value in changed.items()])
