"""What a device told of its release after its success, and how many such devices the gate of a stage saw."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("target_run", sa.Column("health", sa.Text(), nullable=True))
    op.add_column("target_run", sa.Column("health_detail", sa.Text(), nullable=False, server_default=""))
    op.add_column("moment", sa.Column("unwell", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("moment", "unwell")
    op.drop_column("target_run", "health_detail")
    op.drop_column("target_run", "health")
