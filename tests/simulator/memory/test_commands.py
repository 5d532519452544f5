"""Commands, on both stores."""

from typing import Any

import msgspec
import pytest

from controller.app.records import CommandRecord, CommandState, GivenCommand, RunRecord
from controller.app.repositories import Transaction
from protocol.messages import Op
from tests.controller.store.samples import add_devices, add_run, at, command, digest, target
from tests.simulator.memory.both import Either, write


@pytest.fixture
def run(tx: Transaction) -> RunRecord:
    add_devices(tx, 5)
    return add_run(tx)


def stored(tx: Transaction, number: int) -> GivenCommand:
    return tx.commands.given([digest(number)])[digest(number)]


def add(tx: Transaction, run: RunRecord) -> list[CommandRecord]:
    """Store commands 1 to 3 of the first stage, 4 of the second, and 5, a hold of the whole run."""
    first = [command(n, run, target(run, n, n)) for n in (1, 2, 3)]
    return tx.commands.add([*first, command(4, run, target(run, 1, 4, stage=1)), command(5, run)])


def test_commands_get_ids_and_come_back_as_they_were_stored(tx: Transaction, run: RunRecord) -> None:
    assert tx.commands.add([]) == []
    added = add(tx, run)
    assert [record.id for record in added] == [1, 2, 3, 4, 5]
    assert tx.commands.due(at(99), limit=9) == sorted(added, key=lambda record: (record.send_at, record.id))
    found = tx.commands.given([digest(n) for n in range(9)])
    assert {digest: given.created_at for digest, given in found.items()} == {r.digest: r.created_at for r in added}
    assert tx.commands.add([command(6, run)])[0].id == 6


def _same_digest(tx: Transaction) -> Any:
    return tx.commands.add([command(1, tx.runs.get(1))])


def _no_run(tx: Transaction) -> Any:
    return tx.commands.add([msgspec.structs.replace(command(9, tx.runs.get(1)), run_id=9)])


@pytest.mark.parametrize("break_a_rule", [_same_digest, _no_run])
def test_what_breaks_a_rule_is_a_bug(store: Either, break_a_rule: Any) -> None:
    write(store, lambda tx: tx.commands.add([command(1, add_run(tx))]))
    with pytest.raises(AssertionError):
        write(store, break_a_rule)


def test_due_ones_come_by_time_and_unsent_ones_are_counted(tx: Transaction, run: RunRecord) -> None:
    assert tx.commands.next_due() is None
    add(tx, run)
    tx.commands.postpone([1], until=at(3))
    assert [c.seq for c in tx.commands.due(at(3), limit=9)] == [2, 1, 3]
    assert [c.seq for c in tx.commands.due(at(9), limit=2)] == [2, 1]
    assert tx.commands.next_due() == at(2)
    assert tx.commands.unsent_count() == 5


@pytest.mark.parametrize("op", list(Op))
def test_a_sent_install_is_due_again_and_a_control_command_is_done(tx: Transaction, run: RunRecord, op: Op) -> None:
    tx.commands.add([command(1, run, op=op)])
    tx.commands.mark_sent([1, 1, 99], again_at=at(50))
    assert stored(tx, 1).state is (CommandState.DONE if op.is_control else CommandState.SENT)
    assert [(c.sends, c.send_at) for c in tx.commands.due(at(99), limit=9)] == ([] if op.is_control else [(1, at(50))])
    assert tx.commands.unsent_count() == 0
    assert tx.commands.next_due() == (None if op.is_control else at(50))


def test_what_is_over_is_never_opened_again(tx: Transaction, run: RunRecord) -> None:
    add(tx, run)
    tx.commands.close([target(run, 1, 1).id, 12345])
    assert tx.commands.void(run_id=run.id, stage=None) == [2, 3, 4]
    tx.commands.mark_sent([1, 2], again_at=at(50))
    tx.commands.postpone([1, 2], until=at(60))
    tx.commands.close([target(run, 2, 2).id])
    assert [stored(tx, n).state for n in (1, 2)] == [CommandState.DONE, CommandState.VOID]
    assert tx.commands.next_due() == at(5)
    assert tx.commands.unsent_count() == 1


def test_closing_reaches_every_open_command_of_a_target(tx: Transaction, run: RunRecord) -> None:
    mine = target(run, 1, 1)
    rows = [command(2, run, mine), command(1, run, mine), command(3, run, target(run, 2, 2)), command(1, run, mine)]
    rows[3] = msgspec.structs.replace(rows[3], digest=digest(4))
    tx.commands.add(rows)
    tx.commands.mark_sent([1], again_at=at(50))
    assert [c.id for c in tx.commands.open_for(mine.id)] == [1, 2, 4]
    tx.commands.close([mine.id])
    assert tx.commands.open_for(mine.id) == []
    assert [c.seq for c in tx.commands.open_for(target(run, 2, 2).id)] == [3]


def test_control_commands_are_found_by_device_and_dropped(tx: Transaction, run: RunRecord) -> None:
    controls = [msgspec.structs.replace(command(n, run), device_id=1 + n % 2) for n in (6, 7, 8)]
    tx.commands.add([*controls, command(1, run, target(run, 1, 1))])
    assert [c.seq for c in tx.commands.controls_for([1, 2])] == [6, 7, 8]
    assert [c.seq for c in tx.commands.controls_for([1])] == [6, 8]
    assert tx.commands.drop([]) == []
    assert tx.commands.drop([4, 1, 1, 99]) == [1, 4]
    assert tx.commands.drop([1, 4]) == []
    assert [c.seq for c in tx.commands.controls_for([1, 2, 3])] == [7, 8]
    assert [stored(tx, n).state for n in (6, 1)] == [CommandState.DONE] * 2
    assert tx.commands.unsent_count() == 2


def test_a_target_that_is_named_twice_is_closed_once(tx: Transaction, run: RunRecord) -> None:
    mine = target(run, 1, 1)
    tx.commands.add([command(1, run, mine)])
    assert tx.commands.close([mine.id, mine.id]) == [1]
    assert tx.commands.open_for(mine.id) == []


def test_a_transaction_says_what_it_has_closed_in_whatever_way(store: Either) -> None:
    def first(tx: Transaction) -> list[int]:
        add_devices(tx, 5)
        run = add_run(tx)
        add(tx, run)
        tx.commands.mark_sent([5], again_at=at(50))
        tx.commands.drop([3])
        tx.commands.close([target(run, 1, 1).id])
        tx.commands.void(run_id=run.id, stage=0)
        return list(tx.commands.closed)

    assert write(store, first) == [3, 1, 2]
    assert write(store, lambda tx: list(tx.commands.closed)) == []


def test_voiding_one_stage_leaves_the_rest(tx: Transaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    add(tx, run)
    tx.commands.add([command(9, other, target(other, 1, 1))])
    tx.commands.mark_sent([1], again_at=at(50))
    assert tx.commands.void(run_id=run.id, stage=0) == [1, 2, 3]
    assert tx.commands.void(run_id=run.id, stage=0) == []
    assert tx.commands.void(run_id=run.id, stage=1) == [4]
    assert tx.commands.void(run_id=run.id, stage=None) == []
    assert stored(tx, 1).state is CommandState.VOID
    assert [stored(tx, n).state for n in (5, 9)] == [CommandState.UNSENT] * 2


@pytest.mark.parametrize("state", [CommandState.DONE, CommandState.VOID])
def test_a_command_that_comes_closed_stays_so(tx: Transaction, run: RunRecord, state: CommandState) -> None:
    tx.commands.add([command(1, run, target(run, 1, 1), state=state)])
    assert (tx.commands.next_due(), tx.commands.open_for(target(run, 1, 1).id), tx.commands.unsent_count()) == (
        None,
        [],
        0,
    )
