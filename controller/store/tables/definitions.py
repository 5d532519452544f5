"""Pipelines, jobs and releases."""

import sqlalchemy as sa

from controller.domain.admission import UpgradePath
from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.states import ReleaseState
from controller.domain.trigger import JobTrigger, StartRequest
from controller.store.columns import Json, Key
from controller.store.tables.parts import integer, metadata, partial, text

pipeline = sa.Table(
    "pipeline",
    metadata,
    sa.Column("id", Key, primary_key=True),
    text("name"),
    integer("revision"),
    sa.Column("definition", Json(Pipeline), nullable=False),
    text("author"),
    integer("created_at"),
    integer("archived_at", nullable=True),
    sa.UniqueConstraint("name", "revision"),
)

job = sa.Table(
    "job",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    text("pipeline"),
    sa.Column("operation", Json(Operation), nullable=False),
    sa.Column("priority", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("parameters", Json(dict[str, Value]), nullable=False, server_default="{}"),
    sa.Column("triggers", Json(tuple[JobTrigger, ...]), nullable=False, server_default="[]"),
    integer("next_at", nullable=True),
    sa.Column("waiting", Json(StartRequest)),
    sa.Column("hook", sa.Text),
    integer("created_at"),
    integer("archived_at", nullable=True),
)
partial("ix_job_next", job.c.next_at, where=job.c.next_at.is_not(None))
partial("ix_job_waiting", job.c.id, where=job.c.waiting.is_not(None))

release = sa.Table(
    "release",
    metadata,
    sa.Column("id", Key, primary_key=True),
    text("app"),
    text("version"),
    sa.Column("path", sa.Text, nullable=False, unique=True),
    text("sha256"),
    integer("length"),
    integer("counter"),
    integer("floor"),
    text("installer"),
    sa.Column("hardware", Json(tuple[str, ...]), nullable=False),
    integer("published_at"),
    sa.Column("state", sa.Text, nullable=False, server_default=ReleaseState.PUBLISHED.value),
    sa.Column("state_reason", sa.Text, nullable=False, server_default=""),
    sa.Column("state_by", sa.Text, nullable=False, server_default=""),
    integer("state_at", nullable=True),
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
    integer("at"),
    text("actor"),
)

release_document = sa.Table(
    "release_document",
    metadata,
    sa.Column("version", Key, primary_key=True, autoincrement=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    integer("created_at"),
)
