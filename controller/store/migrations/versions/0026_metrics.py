"""Numbers that devices tell to be compared; those of earlier runs tell none."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

INDEX = "ix_target_run_unpaired"
UNPAIRED = "measured_at IS NOT NULL AND is_control AND NOT is_paired"


def upgrade() -> None:
    op.add_column("target_run", sa.Column("measures", sa.Text()))
    op.add_column("target_run", sa.Column("measured_at", sa.BigInteger()))
    op.add_column("target_run", sa.Column("is_paired", sa.Boolean(), nullable=False, server_default=sa.false()))
    where = sa.text(UNPAIRED)
    op.create_index(INDEX, "target_run", ["id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index(INDEX, "target_run")
    for column in ("is_paired", "measured_at", "measures"):
        op.drop_column("target_run", column)
