"""Labels, facts, installed versions and groups are rows of their own, by which queries find devices."""

import json
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from alembic import op

from controller.domain.query import version_key
from controller.domain.query.evaluate import number_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CHUNK = 1_000


def upgrade() -> None:
    op.create_index("ix_device_model", "device", ["model"], unique=False)
    _create_entries("device_label")
    _create_entries("device_fact")
    op.create_table(
        "device_app",
        sa.Column("device_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("version_key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "app", "version", name="pk_device_app"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_device_app_key", "device_app", ["app", "version_key"], unique=False)
    op.create_table(
        "fleet_group",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_fleet_group"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "device_group",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("device_id", _KEY, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["path"], ["fleet_group.path"], name="fk_device_group_path"),
        sa.PrimaryKeyConstraint("path", "device_id", name="pk_device_group"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_device_group_device", "device_group", ["device_id"], unique=False)
    _fill()


def downgrade() -> None:
    op.drop_table("device_group")
    op.drop_table("fleet_group")
    op.drop_table("device_app")
    op.drop_table("device_fact")
    op.drop_table("device_label")
    op.drop_index("ix_device_model", table_name="device")


def _create_entries(name: str) -> None:
    op.create_table(
        name,
        sa.Column("device_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("device_id", "key", name=f"pk_{name}"),
        sqlite_with_rowid=False,
    )
    op.create_index(f"ix_{name}_value", name, ["key", "value"], unique=False)
    where = sa.text("number IS NOT NULL")
    op.create_index(
        f"ix_{name}_number", name, ["key", "number"], unique=False, sqlite_where=where, postgresql_where=where
    )


def _fill() -> None:
    """Write the rows of all devices, as the controller would have kept them."""
    bind = op.get_bind()
    for chunk in _devices(bind):
        _insert(bind, "INSERT INTO device_label VALUES (?, ?, ?, ?)", _entries(chunk, "labels"))
        _insert(bind, "INSERT INTO device_fact VALUES (?, ?, ?, ?)", _entries(chunk, "facts"))
        apps = [(row.id, app, version, version_key(version)) for row in chunk for app, version in sorted(_apps(row))]
        _insert(bind, "INSERT INTO device_app VALUES (?, ?, ?, ?)", apps)


def _devices(bind: sa.Connection) -> Iterator[list[sa.Row[tuple[object, ...]]]]:
    select = sa.text(
        "SELECT id, labels, facts, installed, agent FROM device WHERE id > :after ORDER BY id LIMIT :limit"
    )
    after = 0
    while chunk := list(bind.execute(select, {"after": after, "limit": _CHUNK})):
        yield chunk
        after = chunk[-1].id


def _apps(row: sa.Row[tuple[object, ...]]) -> set[tuple[str, str]]:
    installed = {(one["app"], one["version"]) for one in json.loads(row.installed)}
    return installed | ({("", row.agent)} if row.agent else set())


def _entries(chunk: list[sa.Row[tuple[object, ...]]], column: str) -> list[tuple[object, ...]]:
    return [
        (row.id, key, value, number_of(value))
        for row in chunk
        for key, value in json.loads(getattr(row, column)).items()
    ]


def _insert(bind: sa.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        bind.exec_driver_sql(statement, list(rows))
