"""Devices of a run remember what they had before, and which version of their own they go to."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("target_run", sa.Column("previous", sa.Text(), nullable=True))
    op.add_column("target_run", sa.Column("wanted", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("target_run", "wanted")
    op.drop_column("target_run", "previous")
