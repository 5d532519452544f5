"""Releases that are deprecated or withdrawn; runs of which a stage takes new devices."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TAKES_NEW = sa.text("takes_new = 1")
_ADDED = ("state", "state_reason", "state_by", "state_at")


def upgrade() -> None:
    op.add_column("release", sa.Column("state", sa.Text(), nullable=False, server_default="published"))
    op.add_column("release", sa.Column("state_reason", sa.Text(), nullable=False, server_default=""))
    op.add_column("release", sa.Column("state_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("release", sa.Column("state_at", sa.BigInteger(), nullable=True))
    op.add_column("run", sa.Column("takes_new", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_run_takes_new", "run", ["id"], unique=False, sqlite_where=_TAKES_NEW, postgresql_where=_TAKES_NEW
    )


def downgrade() -> None:
    op.drop_index("ix_run_takes_new", table_name="run")
    op.drop_column("run", "takes_new")
    for name in _ADDED:
        op.drop_column("release", name)
