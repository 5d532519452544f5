"""What releases told of themselves on a device, with its part in the run."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("target_run", sa.Column("outputs", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("target_run", "outputs")
