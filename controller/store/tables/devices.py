"""Devices, what they are found by, groups, holds and pins."""

from typing import Final

import sqlalchemy as sa

from controller.store.columns import Json, Key
from controller.store.tables.parts import flag, integer, metadata, partial, text
from protocol.messages import InstalledRelease

device = sa.Table(
    "device",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("device", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    text("model"),
    text("hardware_id"),
    sa.Column("signing_key", sa.LargeBinary, nullable=False),
    sa.Column("sealing_key", sa.LargeBinary, nullable=False),
    sa.Column("labels", Json(dict[str, str]), nullable=False),
    sa.Column("facts", Json(dict[str, str]), nullable=False),
    sa.Column("installed", Json(tuple[InstalledRelease, ...]), nullable=False),
    flag("is_blocked"),
    flag("is_broken"),
    integer("removed_at", nullable=True),
    text("agent"),
    sa.Column("capabilities", Json(tuple[str, ...]), nullable=False),
    text("incarnation"),
    integer("hello_seq"),
    integer("seq"),
    integer("instance"),
    text("connection"),
    text("certificate_serial"),
    integer("certificate_expires_at"),
    integer("enrolled_at"),
    integer("last_seen_at", nullable=True),
)
partial("ix_device_online", device.c.instance, where=device.c.instance > sa.literal_column("0"))
sa.Index("ix_device_model", device.c.model)

fleet = sa.Table(
    "fleet", metadata, sa.Column("id", Key, primary_key=True, autoincrement=False), integer("removed_count")
)
"""One row, none before the first removal: how many devices are removed. Counting them would look at each."""

# What queries find devices by, kept beside the JSON that is shown. None refers to `device` by a foreign key: no device
# is ever deleted, and these rows are written where reports come in.


def _entries(name: str) -> sa.Table:
    """Return a table of texts by key; `number` is the double that a text is, where it is one."""
    table = sa.Table(
        name,
        metadata,
        sa.Column("device_id", Key, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, primary_key=True),
        text("value"),
        sa.Column("number", sa.Double),
        sqlite_with_rowid=False,
    )
    sa.Index(f"ix_{name}_value", table.c.key, table.c.value)
    partial(f"ix_{name}_number", table.c.key, table.c.number, where=table.c.number.is_not(None))
    return table


device_label = _entries("device_label")
device_fact = _entries("device_fact")

AGENT: Final = ""
"""The agent stands among the apps under a name that no app has: its version is looked up like theirs."""

device_app = sa.Table(
    "device_app",
    metadata,
    sa.Column("device_id", Key, primary_key=True, autoincrement=False),
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    text("version_key"),
    sqlite_with_rowid=False,
)
sa.Index("ix_device_app_key", device_app.c.app, device_app.c.version_key)

fleet_group = sa.Table(
    "fleet_group",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    integer("created_at"),
    sqlite_with_rowid=False,
)

device_group = sa.Table(
    "device_group",
    metadata,
    sa.Column("path", sa.Text, sa.ForeignKey("fleet_group.path"), primary_key=True),
    sa.Column("device_id", Key, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
sa.Index("ix_device_group_device", device_group.c.device_id)

device_hold = sa.Table(
    "device_hold",
    metadata,
    sa.Column("device_id", Key, primary_key=True, autoincrement=False),
    text("by"),
    text("reason"),
    integer("at"),
    integer("until", nullable=True),
)

device_pin = sa.Table(
    "device_pin",
    metadata,
    sa.Column("device_id", Key, primary_key=True, autoincrement=False),
    sa.Column("app", sa.Text, primary_key=True),
    text("versions"),
    text("by"),
    text("reason"),
    integer("at"),
    sqlite_with_rowid=False,
)
