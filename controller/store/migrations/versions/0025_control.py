"""Devices that are held back to be compared with; earlier runs have none."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

FLAGS = ("is_control", "is_compared")


def upgrade() -> None:
    for flag in FLAGS:
        op.add_column("target_run", sa.Column(flag, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("target_run", sa.Column("watches", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    for column in ("watches", *reversed(FLAGS)):
        op.drop_column("target_run", column)
