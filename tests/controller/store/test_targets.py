"""Devices in runs."""

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from controller.app.records import OfModel, RunRecord, TargetRecord
from controller.domain.target import Target, TargetState
from controller.store.tables import target_run
from controller.store.transaction import SqlTransaction
from protocol.health import Mark
from protocol.ids import DeviceId
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from tests.controller.store.samples import add_devices, add_run, at, digest, target

LIFE = 7
AT_WORK: dict[str, Any] = {"state": TargetState.IN_PROGRESS, "attempt": 1, "attempt_state": AttemptState.SENT}


def positions(rows: list[TargetRecord]) -> list[int]:
    return [row.id & 0xFFFFFFFF for row in rows]


def add(tx: SqlTransaction, *targets: TargetRecord) -> None:
    tx.targets.add(targets)


def changed(record: TargetRecord, **changes: Any) -> TargetRecord:
    return msgspec.structs.replace(record, target=msgspec.structs.replace(record.target, **changes))


@pytest.fixture
def run(tx: SqlTransaction) -> RunRecord:
    add_devices(tx, 9)
    return add_run(tx)


FULL = Target(
    state=TargetState.FAILED,
    attempt=3,
    attempt_state=AttemptState.TIMED_OUT,
    command=digest(4),
    due=17,
    reason=Reason.SILENT_IN_INSTALL,
    detail="it's “odd”",
    left=Left.BROKEN,
    outputs={"boot_ms": 840, "load": -0.5, "kernel": "6.1 “LTS”"},
    is_started=True,
    is_blamed=True,
    cancel_requested=True,
    late_success_at=2**53 - 1,
    health=Mark.UNWELL,
    health_detail="it's “odd”, too",
    is_control=True,
    is_compared=True,
    watches=2,
    wave=3,
    watched_until=99,
    is_silent=True,
    measures={"scan_ms": 0.1, "free_mb": -1e300, "rows": float(2**53 - 1)},
    measured_at=at(9),
    is_paired=True,
)


@pytest.mark.parametrize("state", [Target(), FULL])
def test_a_target_comes_back_as_it_was_stored(tx: SqlTransaction, run: RunRecord, state: Target) -> None:
    record = msgspec.structs.replace(target(run, 2**32 - 1, 1, stage=1, ready=5), target=state)
    add(tx, record)
    assert tx.targets.get([record.id, 5]) == {record.id: record}
    other = msgspec.structs.replace(record, target=FULL if state != FULL else Target(), updated_at=at(3))
    tx.targets.save([msgspec.structs.replace(other, ready=6)])
    assert tx.targets.get([record.id]) == {record.id: other}


def test_a_target_is_saved_wherever_it_went_in_one_transaction(tx: SqlTransaction, run: RunRecord) -> None:
    record = target(run, 1, 1)
    add(tx, record)
    assert tx.targets.in_stage(run.stage_ids[0], TargetState.QUEUED) == [record]
    for there in (changed(record, **AT_WORK), changed(record, **AT_WORK, due=9), record, changed(record, detail="x")):
        tx.targets.save([there])
        assert tx.targets.get([record.id]) == {record.id: there}


def test_saving_does_not_touch_where_the_device_is(tx: SqlTransaction, run: RunRecord) -> None:
    record = target(run, 1, 1)
    add(tx, record)
    tx.targets.set_ready([1], LIFE)
    tx.targets.save([changed(record, detail="x")])
    assert tx.targets.get([record.id])[record.id].ready == LIFE


def test_nothing_is_added_or_saved_when_there_is_nothing(tx: SqlTransaction, run: RunRecord) -> None:
    tx.targets.add([])
    tx.targets.save([])
    assert tx.targets.get([]) == {}
    assert tx.targets.set_ready([], LIFE) == []


def test_members_are_those_of_all_stages(tx: SqlTransaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    add(tx, target(run, 1, 1), target(run, 1, 2, stage=1), target(other, 1, 3))
    assert tx.targets.members(run.id) == {1, 2}


def test_a_device_belongs_to_a_run_once(tx: SqlTransaction, run: RunRecord) -> None:
    add(tx, target(run, 1, 1))
    with pytest.raises(sa.exc.IntegrityError):
        add(tx, target(run, 1, 1, stage=1))


def test_a_device_has_one_unit_of_work(tx: SqlTransaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    mine, theirs = target(run, 1, 1, **AT_WORK), target(other, 1, 1)
    add(tx, mine, theirs)
    assert tx.targets.at_work(1) == mine
    assert tx.targets.at_work(2) is None
    with pytest.raises(sa.exc.IntegrityError):
        tx.targets.save([changed(theirs, **AT_WORK)])


def test_ready_ones_come_in_dispatch_order_up_to_the_limit(tx: SqlTransaction, run: RunRecord) -> None:
    add(tx, *(target(run, 10 - n, n, ready=LIFE) for n in range(1, 6)))
    rows = tx.targets.ready(run.stage_ids[0], instance=LIFE, now=0, limit=3)
    assert positions(rows) == [5, 6, 7]


def test_ready_leaves_out_who_cannot_go(tx: SqlTransaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    tx.devices.set_blocked(DeviceId("kiosk-0005"), is_blocked=True)
    tx.devices.save_installed([(6, (), True)])
    add(
        tx,
        target(run, 1, 1, ready=LIFE - 1),
        target(run, 2, 2, ready=LIFE, due=11),
        target(run, 3, 3, ready=LIFE, **AT_WORK),
        target(run, 4, 4, ready=LIFE),
        target(other, 4, 4, **AT_WORK),
        target(run, 5, 5, ready=LIFE),
        target(run, 6, 6, ready=LIFE),
        target(run, 7, 7, ready=LIFE, stage=1),
        target(run, 8, 8, ready=LIFE, due=10),
        target(run, 9, 9, ready=LIFE, state=TargetState.CANCELLED),
    )
    assert positions(tx.targets.ready(run.stage_ids[0], instance=LIFE, now=10, limit=99)) == [8]


def test_a_stage_by_state_and_model(tx: SqlTransaction, run: RunRecord) -> None:
    tx.targets.add(
        [
            target(run, 1, 1, model="k1"),
            target(run, 2, 2, model="k2"),
            target(run, 3, 3, model="k3"),
            target(run, 4, 4),
            target(run, 5, 5, model="k1", **AT_WORK),
            target(run, 1, 6, model="k1", stage=1),
        ]
    )
    stage = run.stage_ids[0]
    assert positions(tx.targets.of_model(stage, TargetState.QUEUED, OfModel("k1"))) == [1]
    assert positions(tx.targets.of_model(stage, TargetState.IN_PROGRESS, OfModel("k1"))) == [5]
    assert positions(tx.targets.of_model(stage, TargetState.QUEUED, OfModel("k9"))) == []
    others = OfModel("", apart_from=("k1", ""))
    assert positions(tx.targets.of_model(stage, TargetState.QUEUED, others)) == [2, 3]
    assert next(iter(tx.targets.get([stage << 32 | 2]).values())).model == "k2"


def test_a_stage_by_state(tx: SqlTransaction, run: RunRecord) -> None:
    add(tx, target(run, 2, 1), target(run, 1, 2), target(run, 3, 3, **AT_WORK), target(run, 1, 4, stage=1))
    assert positions(tx.targets.in_stage(run.stage_ids[0], TargetState.QUEUED)) == [1, 2]
    assert positions(tx.targets.in_stage(run.stage_ids[0], TargetState.IN_PROGRESS)) == [3]
    assert positions(tx.targets.in_stage(run.stage_ids[1], TargetState.QUEUED)) == [1]
    assert tx.targets.in_stage(run.stage_ids[1], TargetState.FAILED) == []


def test_in_flight_and_due_of_a_run(tx: SqlTransaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    assert tx.targets.next_due(run.id) is None
    add(
        tx,
        target(run, 1, 1, due=30, **AT_WORK),
        target(run, 2, 2, due=10),
        target(run, 1, 3, stage=1, due=20, **AT_WORK),
        target(run, 3, 4),
        target(other, 1, 5, due=1, **AT_WORK),
    )
    assert [row.device_id for row in tx.targets.in_flight(run.id)] == [1, 3]
    assert tx.targets.next_due(run.id) == 10
    assert [row.device_id for row in tx.targets.due(run.id, 20, limit=9)] == [2, 3]
    assert [row.device_id for row in tx.targets.due(run.id, 99, limit=2)] == [2, 3]
    assert tx.targets.due(run.id, 9, limit=9) == []


def test_presence_reaches_the_queued_rows_of_active_runs(tx: SqlTransaction, run: RunRecord) -> None:
    second, third = add_run(tx, "r2"), add_run(tx, "r3")
    add(
        tx,
        target(run, 1, 1),
        target(run, 2, 2, ready=LIFE),
        target(second, 1, 1, **AT_WORK),
        target(third, 1, 1, stage=1),
        target(third, 2, 3),
    )
    assert tx.targets.set_ready([1, 2, 9], LIFE) == [run.id, third.id]
    assert tx.targets.set_ready([1, 2, 9], LIFE) == [run.id, third.id]
    assert tx.targets.set_ready([9], LIFE) == []
    assert [row.ready for row in tx.targets.page(second.id, stage=None, state=None, after=0, limit=9)] == [0]
    assert [row.ready for row in tx.targets.page(third.id, stage=None, state=None, after=0, limit=9)] == [0, LIFE]


Page = tuple[int | None, TargetState | None, int, list[int]]
PAGES: list[Page] = [
    (None, None, 0, [1, 2, 3, 1, 2]),
    (0, None, 0, [1, 2, 3]),
    (1, None, 0, [1, 2]),
    (2, None, 0, []),
    (None, TargetState.QUEUED, 0, [2, 1]),
    (0, TargetState.QUEUED, 0, [2]),
    (None, TargetState.IN_PROGRESS, 0, [1]),
    (None, TargetState.FAILED, 0, [3, 2]),
    (1, TargetState.FAILED, 0, [2]),
    (None, TargetState.SUCCEEDED, 0, []),
    (None, None, 2, [3, 1, 2]),
    (None, TargetState.FAILED, 3, [2]),
]


@pytest.mark.parametrize("page", PAGES)
def test_pages(tx: SqlTransaction, run: RunRecord, page: Page) -> None:
    stage, state, after, expected = page
    other = add_run(tx, "r2")
    add(
        tx,
        target(run, 1, 1, **AT_WORK),
        target(run, 2, 2),
        target(run, 3, 3, state=TargetState.FAILED),
        target(run, 1, 4, stage=1),
        target(run, 2, 5, stage=1, state=TargetState.FAILED),
        target(other, 1, 6),
    )
    begin = (run.stage_ids[0] << 32) + after if after else 0
    assert positions(tx.targets.page(run.id, stage=stage, state=state, after=begin, limit=9)) == expected
    assert positions(tx.targets.page(run.id, stage=stage, state=state, after=begin, limit=1)) == expected[:1]


@pytest.mark.parametrize("column", ["state", "attempt_state", "reason", "left_with"])
def test_a_state_that_is_not_in_the_table_fails_loudly(tx: SqlTransaction, run: RunRecord, column: str) -> None:
    record = target(run, 1, 1)
    add(tx, record)
    tx.targets._connection.execute(sa.update(target_run).values({column: "sleeping"}))
    with pytest.raises(ValueError, match="sleeping"):
        tx.targets.get([record.id])
