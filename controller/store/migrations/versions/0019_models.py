"""The model that a device had when it joined a run; of rows that are there it is not known."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("target_run", sa.Column("model", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("target_run", "model")
