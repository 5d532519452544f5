"""Both stores, and one open transaction on each."""

from collections.abc import Iterator

import pytest

from controller.app.repositories import Transaction
from controller.store.inline_store import InlineStore
from controller.store.runs import PlanCache
from controller.store.transaction import SqlTransaction
from simulator.memory.store import MemoryStore
from tests.simulator.memory.both import Either


@pytest.fixture(params=[InlineStore, MemoryStore])
def store(request: pytest.FixtureRequest) -> Iterator[Either]:
    store: Either = request.param()
    yield store
    store.close()


@pytest.fixture
def tx(store: Either) -> Iterator[Transaction]:
    if isinstance(store, MemoryStore):
        store._journal._undo = []
        yield store._transaction
    else:
        with store._connection.begin():
            yield SqlTransaction(store._connection, PlanCache())
