"""A device in a run: when it was first heard of its attempt, and whether it had the work no more when it was last.

A device may be removed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_REMOVED = sa.text("removed_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("target_run", sa.Column("is_idle", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("target_run", sa.Column("accepted_at", sa.BigInteger(), nullable=True))
    op.add_column("device", sa.Column("removed_at", sa.BigInteger(), nullable=True))
    op.create_index("ix_device_removed", "device", ["id"], sqlite_where=_REMOVED, postgresql_where=_REMOVED)


def downgrade() -> None:
    op.drop_index("ix_device_removed", table_name="device")
    op.drop_column("device", "removed_at")
    op.drop_column("target_run", "accepted_at")
    op.drop_column("target_run", "is_idle")
