"""Jobs start by themselves: their triggers, what waits for the end of a run, and the channels of releases."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NEXT = sa.text("next_at IS NOT NULL")
_WAITING = sa.text("waiting IS NOT NULL")
_ADDED = ("triggers", "next_at", "waiting", "hook")


def upgrade() -> None:
    op.create_table(
        "channel",
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("app", "channel", "version", name="pk_channel"),
    )
    op.add_column("job", sa.Column("triggers", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("job", sa.Column("next_at", sa.BigInteger(), nullable=True))
    op.add_column("job", sa.Column("waiting", sa.Text(), nullable=True))
    op.add_column("job", sa.Column("hook", sa.Text(), nullable=True))
    op.create_index("ix_job_next", "job", ["next_at"], unique=False, sqlite_where=_NEXT, postgresql_where=_NEXT)
    op.create_index("ix_job_waiting", "job", ["id"], unique=False, sqlite_where=_WAITING, postgresql_where=_WAITING)


def downgrade() -> None:
    op.drop_index("ix_job_waiting", table_name="job")
    op.drop_index("ix_job_next", table_name="job")
    for name in _ADDED:
        op.drop_column("job", name)
    op.drop_table("channel")
