"""Pipelines and jobs that are archived; values that jobs give for parameters."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("pipeline", sa.Column("archived_at", sa.BigInteger(), nullable=True))
    op.add_column("job", sa.Column("parameters", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("job", sa.Column("archived_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "archived_at")
    op.drop_column("job", "parameters")
    op.drop_column("pipeline", "archived_at")
