"""What is only added to."""

import sqlalchemy as sa

from controller.store.columns import Key
from controller.store.tables.parts import integer, metadata, text

report = sa.Table(
    "report",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("device_id", Key, nullable=False),
    text("incarnation"),
    integer("report_seq"),
    text("command"),
    sa.Column("target_id", Key),
    integer("attempt"),
    text("state"),
    text("mode"),
    text("reason"),
    text("detail"),
    integer("device_at"),
    integer("received_at"),
    sa.UniqueConstraint("device_id", "incarnation", "report_seq"),
)

security_event = sa.Table(
    "security_event",
    metadata,
    sa.Column("id", Key, primary_key=True),
    integer("at"),
    text("name"),
    text("code"),
    text("digest"),
    text("detail"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Key, primary_key=True),
    integer("at"),
    text("actor"),
    text("verb"),
    text("subject"),
    text("reason"),
    text("previous"),
    text("hash"),
)

answer = sa.Table(
    "answer",
    metadata,
    sa.Column("actor", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    text("fingerprint"),
    sa.Column("answer", sa.LargeBinary),
    integer("at"),
)
sa.Index("ix_answer_at", answer.c.at)

heartbeat = sa.Table(
    "heartbeat",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),
    integer("at"),
)
