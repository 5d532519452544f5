"""The store as a whole: one writer, several readers, priorities, faults."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from controller.app.errors import NotFound, Overloaded, StorageUnavailable
from controller.app.ports import Priority
from controller.app.repositories import Store, Transaction
from controller.store import writer as writers
from controller.store.engine import FileDatabase
from controller.store.inline_store import InlineStore
from controller.store.sql_store import SqlStore
from controller.store.transaction import SqlTransaction
from protocol.units import Instant
from tests.controller.store.samples import add_devices, device, report


def beat(number: int) -> Callable[[Transaction], None]:
    return lambda tx: tx.log.beat(Instant(number))


def heartbeat(tx: Transaction) -> int | None:
    return tx.log.heartbeat()


def count_up(tx: Transaction) -> None:
    tx.log.beat(Instant((tx.log.heartbeat() or 0) + 1))


@pytest.fixture(params=["file", "memory"])
def either(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "file":
        yield request.getfixturevalue("store")
        return
    inline = InlineStore()
    yield inline
    inline.close()


async def test_a_write_is_seen_by_the_next_read(either: Store) -> None:
    assert await either.write(lambda tx: add_devices(tx, 2), priority=Priority.OPERATOR) == [1, 2]
    assert await either.read(lambda tx: tx.devices.count()) == 2


async def test_a_work_that_raises_leaves_nothing(either: Store) -> None:
    def work(tx: Transaction) -> None:
        add_devices(tx, 3)
        tx.log.add_reports([report(1, 1)])
        raise NotFound("on purpose")

    with pytest.raises(NotFound, match="on purpose"):
        await either.write(work, priority=Priority.INGEST)
    assert await either.read(lambda tx: tx.devices.count()) == 0
    assert await either.read(lambda tx: tx.log.known_reports([(1, report(1, 1).incarnation, 1)])) == set()
    await either.write(beat(1), priority=Priority.INGEST)


async def test_a_broken_rule_of_the_database_is_a_bug(either: Store) -> None:
    with pytest.raises(AssertionError, match="breaks a rule"):
        await either.write(lambda tx: tx.log.add_reports([report(1, 1), report(1, 1)]), priority=Priority.INGEST)


async def test_a_wrong_statement_is_not_taken_for_a_fault_of_the_disk(either: Store) -> None:
    def work(tx: Transaction) -> None:
        assert isinstance(tx, SqlTransaction)
        tx.log._connection.execute(sa.text("select :missing"))

    with pytest.raises(sa.exc.StatementError):
        await either.write(work, priority=Priority.INGEST)


async def test_a_reader_cannot_write(either: Store) -> None:
    with pytest.raises(StorageUnavailable, match="readonly"):
        await either.read(beat(1))
    await either.write(beat(2), priority=Priority.INGEST)
    assert await either.read(heartbeat) == 2


async def test_read_modify_write_loses_nothing(store: SqlStore) -> None:
    """With the defaults of sqlite3, 400 of these left 100, and no error."""

    def many() -> None:
        async def loop() -> None:
            await asyncio.gather(*(store.write(count_up, priority=Priority.INGEST) for _ in range(100)))

        asyncio.run(loop())

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert await store.read(heartbeat) == 400


def test_read_modify_write_on_two_connections_loses_nothing(store: SqlStore, path: Path) -> None:
    """A second process, a command of an operator for instance, is as safe."""

    def many() -> None:
        other = SqlStore.open(f"sqlite:///{path}")
        for _ in range(50):
            other._writer.submit(count_up, Priority.INGEST).result()
        other.close()

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store._readers.submit(heartbeat).result() == 200


class Gate:
    """A work that holds the writer until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, tx: Transaction) -> None:
        self.begun.set()
        assert self.go.wait(10)


async def held(store: SqlStore) -> tuple[Gate, "asyncio.Task[None]"]:
    gate = Gate()
    task = asyncio.create_task(store.write(gate, priority=Priority.HOUSEKEEPING))
    await asyncio.to_thread(gate.begun.wait, 10)
    return gate, task


async def test_the_more_urgent_goes_first_and_equals_in_order(store: SqlStore) -> None:
    gate, blocker = await held(store)
    done: list[tuple[Priority, int]] = []
    wanted = [(priority, n) for n in range(3) for priority in reversed(Priority)]
    tasks = [
        asyncio.create_task(store.write(lambda tx, key=key: done.append(key), priority=key[0]))  # type: ignore[misc]
        for key in wanted
    ]
    await asyncio.sleep(0)
    assert store.waiting_count == len(wanted)
    gate.go.set()
    await asyncio.gather(blocker, *tasks)
    assert done == sorted(wanted)
    assert store.waiting_count == 0


async def test_a_write_that_is_cancelled_before_its_turn_never_runs(store: SqlStore) -> None:
    gate, blocker = await held(store)
    waiting = asyncio.create_task(store.write(beat(7), priority=Priority.INGEST))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.go.set()
    await blocker
    await store.write(lambda tx: None, priority=Priority.HOUSEKEEPING)
    assert await store.read(heartbeat) is None


async def test_more_work_than_can_wait_is_refused(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "WAITING_MAX", 1)
    gate, blocker = await held(store)
    waiting = asyncio.create_task(store.write(beat(1), priority=Priority.INGEST))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="1 writes wait"):
        await store.write(beat(2), priority=Priority.OPERATOR)
    gate.go.set()
    await asyncio.gather(blocker, waiting)


async def test_closing_carries_out_what_waits_and_refuses_the_rest(path: Path) -> None:
    store = SqlStore.open(f"sqlite:///{path}")
    store.migrate()
    gate, blocker = await held(store)
    waiting = asyncio.create_task(store.write(beat(3), priority=Priority.HOUSEKEEPING))
    await asyncio.sleep(0)
    gate.go.set()
    await asyncio.to_thread(store.close)
    await asyncio.gather(blocker, waiting)
    store.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        await store.write(beat(4), priority=Priority.OPERATOR)
    with pytest.raises(StorageUnavailable, match="closed"):
        await store.read(heartbeat)
    again = SqlStore.open(f"sqlite:///{path}")
    assert await again.read(heartbeat) == 3
    again.close()


async def test_a_reader_sees_one_snapshot_while_the_writer_goes_on(store: SqlStore) -> None:
    await store.write(beat(1), priority=Priority.INGEST)
    seen = threading.Event()
    written = threading.Event()

    def work(tx: Transaction) -> list[Any]:
        first = tx.log.heartbeat()
        seen.set()
        assert written.wait(10)
        return [first, tx.log.heartbeat()]

    reading = asyncio.create_task(store.read(work))
    await asyncio.to_thread(seen.wait, 10)
    await store.write(beat(2), priority=Priority.INGEST)
    written.set()
    assert await reading == [1, 1]
    assert await store.read(heartbeat) == 2


async def test_readers_do_not_wait_for_a_transaction_in_progress(store: SqlStore) -> None:
    gate, blocker = await held(store)
    started = time.perf_counter()
    for _ in range(50):
        assert await store.read(heartbeat) is None
    assert time.perf_counter() - started < 5
    assert not blocker.done()
    gate.go.set()
    await blocker


def write(store: SqlStore, work: Callable[[Transaction], Any]) -> Any:
    return store._writer.submit(work, Priority.INGEST).result()


def test_a_lost_database_is_noticed_and_never_made_anew(store: SqlStore, path: Path) -> None:
    write(store, beat(1))
    folder, away = path.parent, path.parent.with_name("away")
    folder.rename(away)
    folder.mkdir()
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            write(store, beat(2))
    with pytest.raises(StorageUnavailable):
        store._readers.submit(heartbeat).result()
    assert isinstance(store.fault, str)
    assert list(folder.iterdir()) == []
    folder.rmdir()
    away.rename(folder)
    write(store, beat(3))
    assert store._readers.submit(heartbeat).result() == 3


def test_a_fault_is_told_until_a_write_succeeds(store: SqlStore, path: Path) -> None:
    away = path.with_name("away.db")
    path.rename(away)
    with pytest.raises(StorageUnavailable):
        write(store, beat(1))
    assert store.fault == "the database cannot be used now: unable to open database file"
    away.rename(path)
    write(store, beat(2))
    assert str(store.fault) == "None"


async def test_a_transaction_that_sqlite_gave_up_is_not_taken_for_committed(store: SqlStore) -> None:
    def work(tx: Transaction) -> None:
        assert isinstance(tx, SqlTransaction)
        tx.devices.add(device(1))
        tx.log._connection.exec_driver_sql("ROLLBACK")

    with pytest.raises(StorageUnavailable, match="gave the transaction up"):
        await store.write(work, priority=Priority.INGEST)
    assert await store.read(lambda tx: tx.devices.count()) == 0
    await store.write(beat(1), priority=Priority.INGEST)
    assert store.fault is None


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql://host/db"])
def test_only_a_file_of_sqlite_is_a_database(url: str) -> None:
    with pytest.raises(ValueError, match="expected sqlite:"):
        FileDatabase(url)


def test_the_connection_that_writes_is_durable(path: Path) -> None:
    database = FileDatabase(f"sqlite:///{path}")
    database.create()
    engine = database.write_engine()
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "wal_autocheckpoint": 10_000}
