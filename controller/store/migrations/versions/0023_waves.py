"""With whom a device first began, for gates that ask for proof; earlier runs have no such gate."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("target_run", sa.Column("wave", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("target_run", "wave")
