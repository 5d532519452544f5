"""The tables, as SQLAlchemy Core metadata. Times are milliseconds since 1970; every change needs a migration.

The rules this module keeps:

1. Keys inside are integers; text ids are for the edge.
2. `target_run.id` is ``stage_id << 32 | position``, so that the rows at work are neighbours on disk.
3. What must never be twice has a unique index: a job's active run, work on a device, a stored report.
4. Every query of a hot path has an index, most of them partial: rows that are over cost no index entry.
"""

from typing import Any, Final

import sqlalchemy as sa

from controller.app.records import CommandState
from controller.domain.admission import UpgradePath
from controller.domain.freeze import Freeze
from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.states import ReleaseState
from controller.domain.target import TargetState
from controller.domain.trigger import JobTrigger, StartRequest
from controller.store.columns import Json, Key, is_exactly
from protocol.messages import InstalledRelease

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

OPEN_COMMANDS: Final = (CommandState.UNSENT.value, CommandState.SENT.value)
BAD_ENDS: Final = tuple(
    state.value
    for state in (
        TargetState.FAILED,
        TargetState.REJECTED,
        TargetState.TIMED_OUT,
        TargetState.CANCELLED,
        TargetState.REMOVED,
    )
)


def _partial(name: str, *columns: sa.Column[Any], where: sa.ColumnElement[bool], unique: bool = False) -> None:
    sa.Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, default=default)


def _int(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


# --- devices ------------------------------------------------------------------------------------------------

device = sa.Table(
    "device",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("device", sa.Text, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("model"),
    _text("hardware_id"),
    sa.Column("signing_key", sa.LargeBinary, nullable=False),
    sa.Column("sealing_key", sa.LargeBinary, nullable=False),
    sa.Column("labels", Json(dict[str, str]), nullable=False),
    sa.Column("facts", Json(dict[str, str]), nullable=False),
    sa.Column("installed", Json(tuple[InstalledRelease, ...]), nullable=False),
    _flag("is_blocked"),
    _flag("is_broken"),
    _int("removed_at", nullable=True),
    _text("agent"),
    sa.Column("capabilities", Json(tuple[str, ...]), nullable=False),
    _text("incarnation"),
    _int("hello_seq"),
    _int("seq"),
    _int("instance"),
    _text("connection"),
    _text("certificate_serial"),
    _int("certificate_expires_at"),
    _int("enrolled_at"),
    _int("last_seen_at", nullable=True),
)
_partial("ix_device_online", device.c.instance, where=device.c.instance > sa.literal_column("0"))
sa.Index("ix_device_model", device.c.model)

fleet = sa.Table("fleet", metadata, sa.Column("id", Key, primary_key=True, autoincrement=False), _int("removed_count"))
"""One row, none before the first removal: how many devices are removed. Counting them would look at each."""

# What queries find devices by, kept beside the JSON that is shown. None refers to `device` by a foreign key: no device
# is ever deleted, and these rows are written where reports come in.


def _entries(name: str) -> sa.Table:
    """Return a table of texts by key; `number` is the double that a text is, where it is one."""
    table = sa.Table(
        name,
        metadata,
        sa.Column("device_id", Key, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, primary_key=True),
        _text("value"),
        sa.Column("number", sa.Double),
        sqlite_with_rowid=False,
    )
    sa.Index(f"ix_{name}_value", table.c.key, table.c.value)
    _partial(f"ix_{name}_number", table.c.key, table.c.number, where=table.c.number.is_not(None))
    return table


device_label = _entries("device_label")
device_fact = _entries("device_fact")

AGENT: Final = ""
"""The agent stands among the apps under a name that no app has: its version is looked up like theirs."""

device_app = sa.Table(
    "device_app",
    metadata,
    sa.Column("device_id", Key, primary_key=True, autoincrement=False),
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    _text("version_key"),
    sqlite_with_rowid=False,
)
sa.Index("ix_device_app_key", device_app.c.app, device_app.c.version_key)

fleet_group = sa.Table(
    "fleet_group",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    _int("created_at"),
    sqlite_with_rowid=False,
)

device_group = sa.Table(
    "device_group",
    metadata,
    sa.Column("path", sa.Text, sa.ForeignKey("fleet_group.path"), primary_key=True),
    sa.Column("device_id", Key, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
sa.Index("ix_device_group_device", device_group.c.device_id)

device_hold = sa.Table(
    "device_hold",
    metadata,
    sa.Column("device_id", Key, primary_key=True, autoincrement=False),
    _text("by"),
    _text("reason"),
    _int("at"),
    _int("until", nullable=True),
)

device_pin = sa.Table(
    "device_pin",
    metadata,
    sa.Column("device_id", Key, primary_key=True, autoincrement=False),
    sa.Column("app", sa.Text, primary_key=True),
    _text("versions"),
    _text("by"),
    _text("reason"),
    _int("at"),
    sqlite_with_rowid=False,
)

# --- definitions --------------------------------------------------------------------------------------------

pipeline = sa.Table(
    "pipeline",
    metadata,
    sa.Column("id", Key, primary_key=True),
    _text("name"),
    _int("revision"),
    sa.Column("definition", Json(Pipeline), nullable=False),
    _text("author"),
    _int("created_at"),
    _int("archived_at", nullable=True),
    sa.UniqueConstraint("name", "revision"),
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("pipeline"),
    sa.Column("operation", Json(Operation), nullable=False),
    sa.Column("priority", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("parameters", Json(dict[str, Value]), nullable=False, server_default="{}"),
    sa.Column("triggers", Json(tuple[JobTrigger, ...]), nullable=False, server_default="[]"),
    _int("next_at", nullable=True),
    sa.Column("waiting", Json(StartRequest)),
    sa.Column("hook", sa.Text),
    _int("created_at"),
    _int("archived_at", nullable=True),
)
_partial("ix_job_next", job.c.next_at, where=job.c.next_at.is_not(None))
_partial("ix_job_waiting", job.c.id, where=job.c.waiting.is_not(None))

release = sa.Table(
    "release",
    metadata,
    sa.Column("id", Key, primary_key=True),
    _text("app"),
    _text("version"),
    sa.Column("path", sa.Text, nullable=False, unique=True),
    _text("sha256"),
    _int("length"),
    _int("counter"),
    _int("floor"),
    _text("installer"),
    sa.Column("hardware", Json(tuple[str, ...]), nullable=False),
    _int("published_at"),
    sa.Column("state", sa.Text, nullable=False, server_default=ReleaseState.PUBLISHED.value),
    sa.Column("state_reason", sa.Text, nullable=False, server_default=""),
    sa.Column("state_by", sa.Text, nullable=False, server_default=""),
    _int("state_at", nullable=True),
    sa.UniqueConstraint("app", "version"),
)

upgrade_path = sa.Table(
    "upgrade_path",
    metadata,
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("path", Json(UpgradePath), nullable=False),
)

channel = sa.Table(
    "channel",
    metadata,
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    _int("at"),
    _text("actor"),
)

release_document = sa.Table(
    "release_document",
    metadata,
    sa.Column("version", Key, primary_key=True, autoincrement=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    _int("created_at"),
)

# --- runs ---------------------------------------------------------------------------------------------------

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("job_id", Key, sa.ForeignKey("job.id"), nullable=False),
    _text("job"),
    _int("first_stage_id"),
    sa.Column("state_json", sa.LargeBinary, nullable=False),
    _text("state"),
    _flag("is_active"),
    _int("epoch"),
    _flag("is_paused"),
    sa.Column("takes_new", sa.Boolean, nullable=False, server_default=sa.false()),
    _text("reason"),
    _int("wake_at", nullable=True),
    _int("created_at"),
    _int("ended_at", nullable=True),
)
_partial("uq_run_active_job", run.c.job_id, where=run.c.is_active == sa.true(), unique=True)
_partial("ix_run_wake", run.c.wake_at, where=run.c.is_active == sa.true())
_partial("ix_run_takes_new", run.c.id, where=run.c.takes_new == sa.true())
sa.Index("ix_run_job", run.c.job, run.c.id)

# Apart from `run`, because SQLite rewrites a whole row when one of its columns changes; a plan never does.
run_plan = sa.Table(
    "run_plan",
    metadata,
    sa.Column("run_id", Key, sa.ForeignKey("run.id"), primary_key=True, autoincrement=False),
    sa.Column("plan_json", sa.LargeBinary, nullable=False),
)

COUNTERS: Final = (*(state.value for state in TargetState), "started", "blamed", "bricked")

stage_run = sa.Table(
    "stage_run",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("run_id", Key, sa.ForeignKey("run.id"), nullable=False),
    _int("position"),
    _text("name"),
    _text("state"),
    *(_int(counter) for counter in COUNTERS),
    sa.UniqueConstraint("run_id", "position"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("run_id", Key, sa.ForeignKey("run.id"), nullable=False),
    _int("at"),
    _text("kind"),
    sa.Column("data", Json(dict[str, str | int]), nullable=False),
)
sa.Index("ix_event_run", event.c.run_id, event.c.id)

# --- devices in runs ----------------------------------------------------------------------------------------

target_run = sa.Table(
    "target_run",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),
    sa.Column("run_id", Key, sa.ForeignKey("run.id"), nullable=False),
    _int("stage"),
    sa.Column("device_id", Key, sa.ForeignKey("device.id"), nullable=False),
    _text("name"),
    _int("ready"),
    sa.Column("blocked", sa.Text),
    sa.Column("block_text", sa.Text, nullable=False, server_default=""),
    _int("check_at", nullable=True),
    sa.Column("site", sa.Text, nullable=False, server_default=""),
    _int("updated_at"),
    _text("state"),
    _int("attempt"),
    sa.Column("attempt_state", sa.Text),
    sa.Column("command", sa.Text),
    _int("due", nullable=True),
    sa.Column("reason", sa.Text),
    _text("detail"),
    sa.Column("left_with", sa.Text),
    sa.Column("outputs", sa.Text),
    _flag("is_started"),
    _flag("is_blamed"),
    _flag("cancel_requested"),
    sa.Column("is_idle", sa.Boolean, nullable=False, server_default=sa.false()),
    _int("accepted_at", nullable=True),
    sa.Column("returns", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("recalls", sa.BigInteger, nullable=False, server_default="0"),
    _int("late_success_at", nullable=True),
    sa.Column("previous", sa.Text),
    sa.Column("wanted", sa.Text),
    sa.UniqueConstraint("run_id", "device_id"),
)
is_queued = is_exactly(target_run.c.state, TargetState.QUEUED.value)
is_at_work = is_exactly(target_run.c.state, TargetState.IN_PROGRESS.value)
_partial("uq_target_run_at_work", target_run.c.device_id, where=is_at_work, unique=True)
is_admissible = sa.and_(is_queued, target_run.c.blocked.is_(None))
is_at_site = sa.and_(is_at_work, target_run.c.site > sa.literal_column("''"))
is_kept_out = target_run.c.blocked.is_not(None)
_partial("ix_target_run_queued", target_run.c.ready, target_run.c.id, where=is_admissible)
_partial("ix_target_run_blocked", target_run.c.run_id, target_run.c.stage, target_run.c.blocked, where=is_kept_out)
_partial("ix_target_run_blocked_device", target_run.c.device_id, where=is_kept_out)
_partial("ix_target_run_check", target_run.c.run_id, target_run.c.check_at, where=target_run.c.check_at.is_not(None))
_partial("ix_target_run_site", target_run.c.site, target_run.c.id, where=is_at_site)
_partial("ix_target_run_in_flight", target_run.c.run_id, target_run.c.id, where=is_at_work)
_partial("ix_target_run_due", target_run.c.run_id, target_run.c.due, where=target_run.c.due.is_not(None))
_partial(
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
    _text("name"),
    _text("op"),
    _int("attempt"),
    _int("epoch"),
    _int("seq"),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    _text("state"),
    _int("sends"),
    _int("send_at"),
    _int("expires_at"),
    _int("created_at"),
)
is_open = is_exactly(command.c.state, *OPEN_COMMANDS)
is_open_control = sa.and_(is_open, command.c.target_id.is_(None))
is_unsent = is_exactly(command.c.state, CommandState.UNSENT.value)
_partial("ix_command_due", command.c.send_at, where=is_open)
_partial("ix_command_target", command.c.target_id, where=is_open)
_partial("ix_command_control", command.c.device_id, where=is_open_control)

# --- what is only added to ----------------------------------------------------------------------------------

report = sa.Table(
    "report",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("device_id", Key, nullable=False),
    _text("incarnation"),
    _int("report_seq"),
    _text("command"),
    sa.Column("target_id", Key),
    _int("attempt"),
    _text("state"),
    _text("mode"),
    _text("reason"),
    _text("detail"),
    _int("device_at"),
    _int("received_at"),
    sa.UniqueConstraint("device_id", "incarnation", "report_seq"),
)

security_event = sa.Table(
    "security_event",
    metadata,
    sa.Column("id", Key, primary_key=True),
    _int("at"),
    _text("name"),
    _text("code"),
    _text("digest"),
    _text("detail"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Key, primary_key=True),
    _int("at"),
    _text("actor"),
    _text("verb"),
    _text("subject"),
    _text("reason"),
    _text("previous"),
    _text("hash"),
)

answer = sa.Table(
    "answer",
    metadata,
    sa.Column("actor", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    _text("fingerprint"),
    sa.Column("answer", sa.LargeBinary),
    _int("at"),
)
sa.Index("ix_answer_at", answer.c.at)

heartbeat = sa.Table(
    "heartbeat",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),
    _int("at"),
)

# --- the whole tenant ---------------------------------------------------------------------------------------

standstill = sa.Table(
    "standstill",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),
    _int("at"),
    _text("actor"),
    _text("reason"),
)

freeze = sa.Table(
    "freeze",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    _int("starts_at"),
    sa.Column("freeze", Json(Freeze), nullable=False),
    _text("actor"),
    _int("created_at"),
)

# --- credentials --------------------------------------------------------------------------------------------

token = sa.Table(
    "token",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("name"),
    _text("role"),
    sa.Column("secret_sha256", sa.Text, nullable=False, unique=True),
    _int("created_at"),
    _int("expires_at", nullable=True),
    _int("revoked_at", nullable=True),
)

claim = sa.Table(
    "claim",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("secret_sha256", sa.Text, nullable=False, unique=True),
    _int("uses_left"),
    _int("expires_at"),
)
