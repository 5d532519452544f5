"""Tokens and claims."""

import sqlalchemy as sa

from controller.store.tables.parts import integer, metadata, text

token = sa.Table(
    "token",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    text("name"),
    text("role"),
    sa.Column("secret_sha256", sa.Text, nullable=False, unique=True),
    integer("created_at"),
    integer("expires_at", nullable=True),
    integer("revoked_at", nullable=True),
)

claim = sa.Table(
    "claim",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("secret_sha256", sa.Text, nullable=False, unique=True),
    integer("uses_left"),
    integer("expires_at"),
)
