"""A device in a run: when it was first heard of its attempt, and whether it had the work no more when it was last."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("target_run", sa.Column("is_idle", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("target_run", sa.Column("accepted_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("target_run", "accepted_at")
    op.drop_column("target_run", "is_idle")
