"""Jobs have a priority; open commands are found by their targets, and by their device where they have none.

A target's id says its run and its device, so that two indexes are dropped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OPEN = "state IN ('unsent', 'sent')"
_OPEN_CONTROL = f"{_OPEN} AND target_id IS NULL"


def upgrade() -> None:
    op.add_column("job", sa.Column("priority", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_index("ix_command_device", table_name="command")
    op.drop_index("ix_command_run", table_name="command")
    _create("ix_command_control", ["device_id"], _OPEN_CONTROL)


def downgrade() -> None:
    op.drop_column("job", "priority")
    op.drop_index("ix_command_control", table_name="command")
    _create("ix_command_device", ["device_id", "seq"], _OPEN)
    _create("ix_command_run", ["run_id", "target_id"], _OPEN)


def _create(name: str, columns: list[str], where: str) -> None:
    op.create_index(
        name, "command", columns, unique=False, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
