"""Devices in runs, and their commands."""

import sqlalchemy as sa

from controller.app.records import CommandState
from controller.domain.target import TargetState
from controller.store.columns import Key, is_exactly
from controller.store.tables.parts import BAD_ENDS, OPEN_COMMANDS, flag, integer, metadata, partial, text

target_run = sa.Table(
    "target_run",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),
    sa.Column("run_id", Key, sa.ForeignKey("run.id"), nullable=False),
    integer("stage"),
    sa.Column("device_id", Key, sa.ForeignKey("device.id"), nullable=False),
    text("name"),
    integer("ready"),
    sa.Column("blocked", sa.Text),
    sa.Column("block_text", sa.Text, nullable=False, server_default=""),
    integer("check_at", nullable=True),
    sa.Column("site", sa.Text, nullable=False, server_default=""),
    integer("updated_at"),
    text("state"),
    integer("attempt"),
    sa.Column("attempt_state", sa.Text),
    sa.Column("command", sa.Text),
    integer("due", nullable=True),
    sa.Column("reason", sa.Text),
    text("detail"),
    sa.Column("left_with", sa.Text),
    sa.Column("outputs", sa.Text),
    flag("is_started"),
    flag("is_blamed"),
    flag("cancel_requested"),
    sa.Column("is_idle", sa.Boolean, nullable=False, server_default=sa.false()),
    integer("accepted_at", nullable=True),
    sa.Column("returns", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("recalls", sa.BigInteger, nullable=False, server_default="0"),
    integer("late_success_at", nullable=True),
    sa.Column("health", sa.Text),
    sa.Column("health_detail", sa.Text, nullable=False, server_default=""),
    integer("wave", nullable=True),
    integer("watched_until", nullable=True),
    sa.Column("is_silent", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("is_control", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("is_compared", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("watches", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("measures", sa.Text),
    integer("measured_at", nullable=True),
    sa.Column("is_paired", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("previous", sa.Text),
    sa.Column("wanted", sa.Text),
    sa.Column("model", sa.Text),
    sa.UniqueConstraint("run_id", "device_id"),
)
is_queued = is_exactly(target_run.c.state, TargetState.QUEUED.value)
is_at_work = is_exactly(target_run.c.state, TargetState.IN_PROGRESS.value)
partial("uq_target_run_at_work", target_run.c.device_id, where=is_at_work, unique=True)
is_admissible = sa.and_(is_queued, target_run.c.blocked.is_(None))
is_at_site = sa.and_(is_at_work, target_run.c.site > sa.literal_column("''"))
is_watched = target_run.c.watched_until.is_not(None)
is_unpaired = sa.and_(target_run.c.measured_at.is_not(None), target_run.c.is_control, ~target_run.c.is_paired)
is_kept_out = target_run.c.blocked.is_not(None)
partial("ix_target_run_queued", target_run.c.ready, target_run.c.id, where=is_admissible)
partial("ix_target_run_blocked", target_run.c.run_id, target_run.c.stage, target_run.c.blocked, where=is_kept_out)
partial("ix_target_run_blocked_device", target_run.c.device_id, where=is_kept_out)
partial("ix_target_run_check", target_run.c.run_id, target_run.c.check_at, where=target_run.c.check_at.is_not(None))
partial("ix_target_run_site", target_run.c.site, target_run.c.id, where=is_at_site)
partial("ix_target_run_in_flight", target_run.c.run_id, target_run.c.id, where=is_at_work)
partial("ix_target_run_due", target_run.c.run_id, target_run.c.due, where=target_run.c.due.is_not(None))
partial("ix_target_run_watched", target_run.c.device_id, where=is_watched)
partial("ix_target_run_unpaired", target_run.c.model, target_run.c.id, where=is_unpaired)
partial(
    "ix_target_run_bad_ends",
    target_run.c.run_id,
    target_run.c.state,
    target_run.c.id,
    where=is_exactly(target_run.c.state, *BAD_ENDS),
)

command = sa.Table(
    "command",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),
    sa.Column("run_id", Key, sa.ForeignKey("run.id"), nullable=False),
    sa.Column("target_id", Key),
    sa.Column("device_id", Key, nullable=False),
    text("name"),
    text("op"),
    integer("attempt"),
    integer("epoch"),
    integer("seq"),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    text("state"),
    integer("sends"),
    integer("send_at"),
    integer("expires_at"),
    integer("created_at"),
)
is_open = is_exactly(command.c.state, *OPEN_COMMANDS)
is_open_control = sa.and_(is_open, command.c.target_id.is_(None))
is_unsent = is_exactly(command.c.state, CommandState.UNSENT.value)
partial("ix_command_due", command.c.send_at, where=is_open)
partial("ix_command_target", command.c.target_id, where=is_open)
partial("ix_command_control", command.c.device_id, where=is_open_control)
