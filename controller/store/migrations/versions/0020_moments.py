"""What the gates of a run saw is kept, so that another gate can judge it. Earlier runs have nothing of it."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NUMBERS = (
    "stage",
    "at",
    "run_at",
    "accepted",
    "out_exposed",
    "out_blamed",
    "out_accepted",
    "queued",
    "in_progress",
    "succeeded",
    "failed",
    "rejected",
    "timed_out",
    "cancelled",
    "removed",
    "started",
    "exposed",
    "resolved",
    "spared",
    "waiting",
    "blamed",
    "bricked",
)


def upgrade() -> None:
    op.create_table(
        "moment",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("run_id", _KEY, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _NUMBERS),
        sa.Column("share", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_moment_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_moment")),
    )
    op.create_index("ix_moment_run", "moment", ["run_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_moment_run", table_name="moment")
    op.drop_table("moment")
