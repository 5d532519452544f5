"""The two stores side by side: whatever is asked of both, both answer alike, and hold the same."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from sqlalchemy.exc import NoResultFound

from controller.app.errors import Conflict
from controller.app.repositories import Transaction
from controller.store.inline_store import InlineStore
from controller.store.tables import metadata
from simulator.memory.store import MemoryStore
from tests.simulator.memory.both import Either, read, write
from tests.simulator.memory.programs import Step, begin, dump, steps


class GivenUpError(Exception):
    """A transaction that changed its mind."""


def outcome(store: Either, step: Step) -> Any:
    """Return what each call of a transaction returned, and how it ended."""
    results: list[Any] = []

    def work(tx: Transaction) -> None:
        results.extend(ordered(call(tx)) for call in step.calls)
        if step.fails:
            raise GivenUpError

    try:
        write(store, work)
    except (GivenUpError, Conflict) as error:
        return results, type(error), str(error)
    except (AssertionError, IndexError, NoResultFound):
        return results, AssertionError, ""
    return results, None, ""


def ordered(result: Any) -> Any:
    """Return *result* with the order of its mappings, which equality leaves out."""
    if isinstance(result, tuple):
        return [ordered(one) for one in result]
    return list(result.items()) if isinstance(result, dict) else result


@pytest.fixture(scope="module")
def sql() -> Iterator[InlineStore]:
    """A store for all programs: most of the time of a new one goes into compiling its statements."""
    store = InlineStore()
    yield store
    store.close()


def empty(sql: InlineStore) -> None:
    with sql._connection.begin():
        for table in reversed(metadata.sorted_tables):
            sql._connection.execute(table.delete())


@pytest.mark.no_cover
@pytest.mark.timeout(600)
@given(steps)
def test_any_program_runs_alike_on_both_stores(sql: InlineStore, program: list[Step]) -> None:
    memory = MemoryStore()
    empty(sql)
    for store in (memory, sql):
        write(store, begin)
    for step in program:
        assert outcome(memory, step) == outcome(sql, step)
        assert read(memory, dump) == read(sql, dump)
