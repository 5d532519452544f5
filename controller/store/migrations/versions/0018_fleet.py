"""How many devices are removed is kept, not counted."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_REMOVED = sa.text("removed_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "fleet",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("removed_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fleet")),
    )
    op.execute("INSERT INTO fleet (id, removed_count) SELECT 1, count(*) FROM device WHERE removed_at IS NOT NULL")
    op.drop_index("ix_device_removed", table_name="device")


def downgrade() -> None:
    op.create_index("ix_device_removed", "device", ["id"], sqlite_where=_REMOVED, postgresql_where=_REMOVED)
    op.drop_table("fleet")
