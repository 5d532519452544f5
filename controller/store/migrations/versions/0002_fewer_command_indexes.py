"""Two indexes over open commands less: a target's id says its run and its device."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OPEN = "state IN ('unsent', 'sent')"


def upgrade() -> None:
    op.drop_index("ix_command_device", table_name="command")
    op.drop_index("ix_command_run", table_name="command")


def downgrade() -> None:
    for name, columns in {"ix_command_device": ["device_id", "seq"], "ix_command_run": ["run_id", "target_id"]}.items():
        op.create_index(
            name, "command", columns, unique=False, sqlite_where=sa.text(_OPEN), postgresql_where=sa.text(_OPEN)
        )
