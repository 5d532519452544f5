"""What holds for everything at once."""

import sqlalchemy as sa

from controller.domain.freeze import Freeze
from controller.store.columns import Json, Key
from controller.store.tables.parts import integer, metadata, text

standstill = sa.Table(
    "standstill",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),
    integer("at"),
    text("actor"),
    text("reason"),
)

freeze = sa.Table(
    "freeze",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    integer("starts_at"),
    sa.Column("freeze", Json(Freeze), nullable=False),
    text("actor"),
    integer("created_at"),
)
