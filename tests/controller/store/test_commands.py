"""Commands, with their exact bytes."""

import msgspec
import pytest
import sqlalchemy as sa

from controller.app.records import CommandRecord, CommandState, RunRecord
from controller.store.tables import command as table
from controller.store.transaction import SqlTransaction
from protocol.ids import Digest
from protocol.messages import Op
from tests.controller.store.samples import add_devices, add_run, at, command, digest, target


@pytest.fixture
def run(tx: SqlTransaction) -> RunRecord:
    add_devices(tx, 5)
    record = add_run(tx)
    tx.targets.add([target(record, n, n) for n in (1, 2, 3)] + [target(record, 1, 4, stage=1)])
    return record


def stored(tx: SqlTransaction, number: int) -> CommandRecord:
    return all_stored(tx)[digest(number)]


def all_stored(tx: SqlTransaction) -> dict[Digest, CommandRecord]:
    return {record.digest: record for record in tx.commands._all(sa.select(table), {})}


def add(tx: SqlTransaction, run: RunRecord) -> list[CommandRecord]:
    """Store commands 1 to 3 of the first stage, 4 of the second, and 5, a hold of the whole run."""
    first = [command(n, run, target(run, n, n)) for n in (1, 2, 3)]
    return tx.commands.add([*first, command(4, run, target(run, 1, 4, stage=1)), command(5, run)])


def test_commands_get_ids_and_come_back_as_they_were_stored(tx: SqlTransaction, run: RunRecord) -> None:
    assert tx.commands.add([]) == []
    added = add(tx, run)
    assert [record.id for record in added] == [1, 2, 3, 4, 5]
    assert all_stored(tx) == {record.digest: record for record in added}
    more = tx.commands.add([command(6, run, payload=b"\0\xff")])
    assert (more[0].id, stored(tx, 6)) == (6, more[0])


def test_a_digest_tells_what_its_command_is_about(tx: SqlTransaction, run: RunRecord) -> None:
    add(tx, run)
    tx.commands.mark_sent([1, 5], again_at=at(50))
    given = tx.commands.given([digest(n) for n in (1, 4, 5, 9)])
    install, other, hold = (given[digest(n)] for n in (1, 4, 5))
    assert (install.target_id, install.device_id, install.op) == (target(run, 1, 1).id, 1, Op.INSTALL)
    assert (install.run_id, install.attempt, install.state) == (run.id, 1, CommandState.SENT)
    assert (hold.target_id, hold.op, hold.state) == (None, Op.HOLD, CommandState.DONE)
    assert [command.is_open for command in (install, other, hold)] == [True, True, False]
    assert len(given) == 3


def test_a_digest_is_stored_once(tx: SqlTransaction, run: RunRecord) -> None:
    add(tx, run)
    with pytest.raises(sa.exc.IntegrityError):
        tx.commands.add([command(1, run)])


def test_due_ones_come_by_time_and_unsent_ones_are_counted(tx: SqlTransaction, run: RunRecord) -> None:
    assert tx.commands.next_due() is None
    add(tx, run)
    assert [c.seq for c in tx.commands.due(at(3), limit=9)] == [1, 2, 3]
    assert [c.seq for c in tx.commands.due(at(9), limit=2)] == [1, 2]
    assert tx.commands.next_due() == at(1)
    assert tx.commands.unsent_count() == 5


def test_a_sent_install_is_due_again_and_a_control_command_is_done(tx: SqlTransaction, run: RunRecord) -> None:
    add(tx, run)
    tx.commands.mark_sent([1, 5], again_at=at(50))
    install, hold = stored(tx, 1), stored(tx, 5)
    assert (install.state, install.sends, install.send_at) == (CommandState.SENT, 1, at(50))
    assert (hold.state, hold.sends) == (CommandState.DONE, 1)
    tx.commands.mark_sent([1], again_at=at(90))
    assert (stored(tx, 1).sends, stored(tx, 1).send_at) == (2, at(90))
    assert tx.commands.unsent_count() == 3
    assert [c.seq for c in tx.commands.due(at(90), limit=9)] == [2, 3, 4, 1]


@pytest.mark.parametrize("op", list(Op))
def test_control_commands_are_those_of_the_protocol(tx: SqlTransaction, run: RunRecord, op: Op) -> None:
    tx.commands.add([command(1, run, op=op)])
    tx.commands.mark_sent([1], again_at=at(50))
    assert stored(tx, 1).state is (CommandState.DONE if op.is_control else CommandState.SENT)


def test_what_is_over_is_never_opened_again(tx: SqlTransaction, run: RunRecord) -> None:
    add(tx, run)
    tx.commands.close([target(run, 1, 1).id])
    assert tx.commands.void(run_id=run.id, stage=None) == [2, 3, 4]
    tx.commands.mark_sent([1, 2], again_at=at(50))
    tx.commands.postpone([1, 2], until=at(60))
    assert [stored(tx, n).state for n in (1, 2)] == [CommandState.DONE, CommandState.VOID]
    assert [stored(tx, n).send_at for n in (1, 2)] == [at(1), at(2)]
    assert tx.commands.next_due() == at(5)


def test_open_ones_can_wait(tx: SqlTransaction, run: RunRecord) -> None:
    add(tx, run)
    tx.commands.mark_sent([2], again_at=at(50))
    tx.commands.postpone([1, 2], until=at(70))
    assert [stored(tx, n).send_at for n in (1, 2)] == [at(70), at(70)]


def test_closing_reaches_every_open_command_of_a_target(tx: SqlTransaction, run: RunRecord) -> None:
    mine = target(run, 1, 1)
    tx.commands.add([command(1, run, mine), command(2, run, mine), command(3, run, target(run, 2, 2))])
    tx.commands.mark_sent([1], again_at=at(50))
    assert [c.seq for c in tx.commands.open_for(mine.id)] == [1, 2]
    tx.commands.close([mine.id, 12345])
    assert tx.commands.open_for(mine.id) == []
    assert [c.seq for c in tx.commands.open_for(target(run, 2, 2).id)] == [3]


def test_a_target_that_is_named_twice_is_closed_once(tx: SqlTransaction, run: RunRecord) -> None:
    mine = target(run, 1, 1)
    tx.commands.add([command(1, run, mine)])
    assert tx.commands.close([mine.id, mine.id]) == [1]
    assert tx.commands.open_for(mine.id) == []


def test_voiding_one_stage_leaves_the_rest(tx: SqlTransaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    add(tx, run)
    tx.commands.add([command(9, other)])
    tx.commands.mark_sent([1], again_at=at(50))
    assert tx.commands.void(run_id=run.id, stage=0) == [1, 2, 3]
    assert tx.commands.void(run_id=run.id, stage=0) == []
    assert tx.commands.void(run_id=run.id, stage=1) == [4]
    assert tx.commands.void(run_id=run.id, stage=None) == []
    assert stored(tx, 1).state is CommandState.VOID
    assert stored(tx, 9).state is CommandState.UNSENT


@pytest.mark.parametrize("column", ["state", "op"])
def test_a_word_that_is_not_in_the_enum_fails_loudly(tx: SqlTransaction, run: RunRecord, column: str) -> None:
    add(tx, run)
    tx.commands._connection.execute(sa.update(table).values({column: "sleeping"}))
    with pytest.raises(ValueError, match="sleeping"):
        stored(tx, 1)


def test_more_ids_than_one_statement_takes(tx: SqlTransaction, run: RunRecord) -> None:
    records = [command(n, run) for n in range(2_300)]
    ids = [record.id for record in tx.commands.add(records)]
    tx.commands.mark_sent(ids, again_at=at(1))
    assert tx.commands.unsent_count() == 0
    assert len(tx.commands.given([digest(n) for n in range(2_300)])) == 2_300
    assert msgspec.structs.replace(stored(tx, 7), id=0, state=CommandState.UNSENT, sends=0, send_at=at(7)) == records[7]
