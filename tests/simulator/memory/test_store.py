"""Transactions, on both stores."""

import pytest

from controller.app.errors import StorageUnavailable
from controller.app.repositories import Transaction
from simulator.memory.journal import Journal
from tests.controller.store.samples import add_devices, add_run, at, command, target
from tests.simulator.memory.both import Either, read, write


class PowerCut(BaseException):
    """No ordinary error."""


def test_what_was_written_is_read(store: Either) -> None:
    assert write(store, lambda tx: add_devices(tx, 2)) == [1, 2]
    assert read(store, lambda tx: tx.devices.count()) == 2


@pytest.mark.parametrize("error", [ValueError, PowerCut])
def test_a_transaction_that_raises_leaves_nothing(store: Either, error: type[BaseException]) -> None:
    def begin(tx: Transaction) -> None:
        add_devices(tx, 1)
        run = add_run(tx)
        row = target(run, 1, 1, ready=7, due=5)
        tx.targets.add([row])
        tx.commands.add([command(1, run, row)])

    def change(tx: Transaction) -> None:
        add_run(tx, "r2")
        add_devices(tx, 3)
        tx.targets.set_ready([1], 0)
        tx.commands.close([target(tx.runs.get(1), 1, 1).id])
        tx.commands.add([command(2, tx.runs.get(2))])
        tx.log.beat(at(1))
        raise error

    def look(tx: Transaction) -> object:
        seen = tx.runs.get(1), tx.targets.ready(1, instance=7, now=9, limit=9), tx.targets.next_due(1)
        return seen, tx.commands.open_for(1), tx.commands.next_due(), tx.log.heartbeat(), tx.runs.active_ids()

    write(store, begin)
    before = read(store, look)
    with pytest.raises(error):
        write(store, change)
    assert read(store, look) == before
    assert write(store, lambda tx: (add_run(tx, "r2").id, add_devices(tx, 2))) == (2, [1, 2])


def test_a_reader_cannot_write(store: Either) -> None:
    with pytest.raises((AssertionError, StorageUnavailable)):
        read(store, lambda tx: tx.log.beat(at(1)))
    assert read(store, lambda tx: tx.log.heartbeat()) is None


def test_a_run_that_does_not_exist_is_a_bug(store: Either) -> None:
    with pytest.raises(Exception, match=r"No row|does not exist"):
        read(store, lambda tx: tx.runs.get(3))
    write(store, add_run)
    with pytest.raises(Exception, match=r"out of range|no stage"):
        write(store, lambda tx: tx.commands.void(run_id=1, stage=2))


def test_one_transaction_at_a_time() -> None:
    journal = Journal()
    with pytest.raises(AssertionError, match="open already"):
        journal.run(lambda: journal.run(dict))
