"""A database in memory with one open transaction, and one in a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.store.inline_store import InlineStore
from controller.store.runs import PlanCache
from controller.store.sql_store import SqlStore
from controller.store.transaction import SqlTransaction


@pytest.fixture
def tx() -> Iterator[SqlTransaction]:
    store = InlineStore()
    with store._connection.begin():
        yield SqlTransaction(store._connection, PlanCache())
    store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tidegate.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    store = SqlStore.open(f"sqlite:///{path}")
    store.migrate()
    yield store
    store.close()
