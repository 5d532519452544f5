"""Until when a device that succeeded is watched, and whether it fell silent; of earlier runs nobody is."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_IS_WATCHED = sa.text("watched_until IS NOT NULL")


def upgrade() -> None:
    op.add_column("target_run", sa.Column("watched_until", sa.BigInteger(), nullable=True))
    op.add_column("target_run", sa.Column("is_silent", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_target_run_watched", "target_run", ["device_id"], sqlite_where=_IS_WATCHED, postgresql_where=_IS_WATCHED
    )


def downgrade() -> None:
    op.drop_index("ix_target_run_watched", table_name="target_run")
    op.drop_column("target_run", "is_silent")
    op.drop_column("target_run", "watched_until")
