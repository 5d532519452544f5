"""Who may begin: why rows are blocked and until when, sites, holds, pins, upgrade paths."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_QUEUED = "state = 'queued'"
_ADMISSIBLE = "state = 'queued' AND blocked IS NULL"
_BLOCKED = "blocked IS NOT NULL"
_CHECK = "check_at IS NOT NULL"
_AT_SITE = "state = 'in_progress' AND site > ''"
_ADDED = ("blocked", "block_text", "check_at", "site", "returns", "recalls")
_INDEXES = (
    ("ix_target_run_blocked", ["run_id", "stage", "blocked"], _BLOCKED),
    ("ix_target_run_blocked_device", ["device_id"], _BLOCKED),
    ("ix_target_run_check", ["run_id", "check_at"], _CHECK),
    ("ix_target_run_site", ["site", "id"], _AT_SITE),
)


def upgrade() -> None:
    _add_tables()
    op.drop_index("ix_target_run_queued", table_name="target_run")
    op.add_column("target_run", sa.Column("blocked", sa.Text(), nullable=True))
    op.add_column("target_run", sa.Column("block_text", sa.Text(), nullable=False, server_default=""))
    op.add_column("target_run", sa.Column("check_at", sa.BigInteger(), nullable=True))
    op.add_column("target_run", sa.Column("site", sa.Text(), nullable=False, server_default=""))
    op.add_column("target_run", sa.Column("returns", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("target_run", sa.Column("recalls", sa.BigInteger(), nullable=False, server_default="0"))
    _index("ix_target_run_queued", ["ready", "id"], _ADMISSIBLE)
    for name, columns, where in _INDEXES:
        _index(name, columns, where)


def downgrade() -> None:
    for name, _, _ in _INDEXES:
        op.drop_index(name, table_name="target_run")
    op.drop_index("ix_target_run_queued", table_name="target_run")
    for name in _ADDED:
        op.drop_column("target_run", name)
    _index("ix_target_run_queued", ["ready", "id"], _QUEUED)
    for table in ("upgrade_path", "device_pin", "device_hold"):
        op.drop_table(table)


def _add_tables() -> None:
    op.create_table(
        "device_hold",
        sa.Column("device_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("device_id", name="pk_device_hold"),
    )
    op.create_table(
        "device_pin",
        sa.Column("device_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "app", name="pk_device_pin"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "upgrade_path",
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("app", "version", name="pk_upgrade_path"),
    )


def _index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "target_run", columns, unique=False, sqlite_where=condition, postgresql_where=condition)
