"""Runs, their stages and timelines."""

from typing import Final

import sqlalchemy as sa

from controller.domain.counters import Tally
from controller.domain.target import TargetState
from controller.store.columns import Json, Key
from controller.store.tables.parts import flag, integer, metadata, partial, text

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("job_id", Key, sa.ForeignKey("job.id"), nullable=False),
    text("job"),
    integer("first_stage_id"),
    sa.Column("state_json", sa.LargeBinary, nullable=False),
    text("state"),
    flag("is_active"),
    integer("epoch"),
    flag("is_paused"),
    sa.Column("takes_new", sa.Boolean, nullable=False, server_default=sa.false()),
    text("reason"),
    integer("wake_at", nullable=True),
    integer("created_at"),
    integer("ended_at", nullable=True),
)
partial("uq_run_active_job", run.c.job_id, where=run.c.is_active == sa.true(), unique=True)
partial("ix_run_wake", run.c.wake_at, where=run.c.is_active == sa.true())
partial("ix_run_takes_new", run.c.id, where=run.c.takes_new == sa.true())
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
    integer("position"),
    text("name"),
    text("state"),
    *(integer(counter) for counter in COUNTERS),
    sa.UniqueConstraint("run_id", "position"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("run_id", Key, sa.ForeignKey("run.id"), nullable=False),
    integer("at"),
    text("kind"),
    sa.Column("data", Json(dict[str, str | int]), nullable=False),
)
sa.Index("ix_event_run", event.c.run_id, event.c.id)

TALLY: Final = Tally.__struct_fields__

moment = sa.Table(
    "moment",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("run_id", Key, sa.ForeignKey("run.id"), nullable=False),
    integer("stage"),
    integer("at"),
    integer("run_at"),
    integer("accepted"),
    *(integer(f"out_{name}") for name in ("exposed", "blamed", "accepted")),
    sa.Column("share", sa.Float, nullable=False),
    *(integer(counter) for counter in TALLY if counter != "unwell"),
    sa.Column("unwell", sa.BigInteger, nullable=False, server_default="0"),
)
sa.Index("ix_moment_run", moment.c.run_id, moment.c.id)
