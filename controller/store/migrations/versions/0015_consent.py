"""Releases that are deprecated or withdrawn."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0011"
branch_labels = None
depends_on = None

_ADDED = ("state", "state_reason", "state_by", "state_at")


def upgrade() -> None:
    op.add_column("release", sa.Column("state", sa.Text(), nullable=False, server_default="published"))
    op.add_column("release", sa.Column("state_reason", sa.Text(), nullable=False, server_default=""))
    op.add_column("release", sa.Column("state_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("release", sa.Column("state_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for name in _ADDED:
        op.drop_column("release", name)
