"""Numbers that devices tell to be compared; those of earlier runs tell none."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

INDEX = "ix_target_run_unpaired"
IS_UNPAIRED = sa.and_(
    sa.column("measured_at").is_not(None), sa.column("is_control", sa.Boolean), ~sa.column("is_paired", sa.Boolean)
)


def upgrade() -> None:
    op.add_column("target_run", sa.Column("measures", sa.Text()))
    op.add_column("target_run", sa.Column("measured_at", sa.BigInteger()))
    op.add_column("target_run", sa.Column("is_paired", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(INDEX, "target_run", ["model", "id"], sqlite_where=IS_UNPAIRED, postgresql_where=IS_UNPAIRED)


def downgrade() -> None:
    op.drop_index(INDEX, "target_run")
    for column in ("is_paired", "measured_at", "measures"):
        op.drop_column("target_run", column)
