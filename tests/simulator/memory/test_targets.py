"""Devices in runs, on both stores."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from controller.app.records import OfModel, PastTarget, RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.domain.states import RunState
from controller.domain.target import Target, TargetState
from protocol.ids import AppName, DeviceId, Name
from protocol.lifecycle import AttemptState
from tests.controller.store.samples import add_devices, add_run, at, installed, target
from tests.simulator.memory.both import Either, write

LIFE = 7
AT_WORK: dict[str, Any] = {"state": TargetState.IN_PROGRESS, "attempt": 1, "attempt_state": AttemptState.SENT}


def positions(rows: Sequence[TargetRecord]) -> list[int]:
    return [row.id & 0xFFFFFFFF for row in rows]


def changed(record: TargetRecord, **changes: Any) -> TargetRecord:
    return msgspec.structs.replace(record, target=msgspec.structs.replace(record.target, **changes))


def add(tx: Transaction, *targets: TargetRecord) -> None:
    tx.targets.add(targets)


@pytest.fixture
def run(tx: Transaction) -> RunRecord:
    add_devices(tx, 9)
    return add_run(tx)


def test_nothing_is_added_or_saved_when_there_is_nothing(tx: Transaction, run: RunRecord) -> None:
    tx.targets.add([])
    tx.targets.save([])
    assert tx.targets.get([]) == {}
    assert tx.targets.set_ready([], LIFE) == []
    assert tx.targets.at_work(1) is None
    assert tx.targets.members(run.id) == set()
    assert tx.targets.next_due(run.id) is None


def test_targets_come_back_in_order_as_they_were_stored(tx: Transaction, run: RunRecord) -> None:
    last, first = target(run, 2**32 - 1, 1, stage=1, ready=5), target(run, 0, 2, due=3)
    tx.targets.add([last, first])
    assert list(tx.targets.get([last.id, 5, first.id]).items()) == [(first.id, first), (last.id, last)]
    assert tx.targets.members(run.id) == {1, 2}


def test_who_joins_later_comes_behind_all_that_a_stage_has(tx: Transaction, run: RunRecord) -> None:
    first = run.stage_ids[0] << 32
    assert tx.targets.next_id(run.stage_ids[0]) == first
    tx.targets.add([target(run, 4, 1), target(run, 2, 2), target(run, 2**32 - 2, 3, stage=1)])
    assert tx.targets.next_id(run.stage_ids[0]) == first + 5
    assert tx.targets.next_id(run.stage_ids[1]) == (run.stage_ids[1] << 32) + 2**32 - 1
    assert tx.targets.members_among(run.id, [1, 3, 4, 99]) == {1, 3}
    assert tx.targets.members_among(run.id, []) == set()
    assert tx.targets.members_among(run.id + 1, [1]) == set()


def test_saving_stores_what_may_change_and_nothing_else(tx: Transaction, run: RunRecord) -> None:
    row = target(run, 1, 1)
    tx.targets.add([row])
    after = msgspec.structs.replace(changed(row, **AT_WORK, due=4), updated_at=at(8))
    moved = msgspec.structs.replace(after, run_id=9, stage=1, device_id=5, name=Name("acme:other"), ready=3)
    tx.targets.save([moved, target(run, 2, 2)])
    assert tx.targets.get([row.id, target(run, 2, 2).id]) == {row.id: after}
    assert tx.targets.at_work(1) == after
    assert tx.targets.at_work(5) is None


def _twice(tx: Transaction) -> None:
    tx.targets.add([target(tx.runs.get(1), 2, 1, stage=1)])


def _at_work_twice(tx: Transaction) -> None:
    tx.targets.save([changed(target(tx.runs.get(2), 1, 1), **AT_WORK)])


def _no_device(tx: Transaction) -> None:
    tx.targets.add([target(tx.runs.get(1), 5, 99)])


def _no_run(tx: Transaction) -> None:
    tx.targets.add([msgspec.structs.replace(target(tx.runs.get(1), 5, 2), run_id=9)])


def _same_place(tx: Transaction) -> None:
    tx.targets.add([target(tx.runs.get(1), 1, 2)])


@pytest.mark.parametrize("break_a_rule", [_twice, _at_work_twice, _no_device, _no_run, _same_place])
def test_what_breaks_a_rule_is_a_bug_and_leaves_nothing(store: Either, break_a_rule: Any) -> None:
    def begin(tx: Transaction) -> None:
        add_devices(tx, 2)
        tx.targets.add([target(add_run(tx, "r1"), 1, 1, **AT_WORK), target(add_run(tx, "r2"), 1, 1)])

    def rows(tx: Transaction) -> list[TargetRecord]:
        return [row for run_id in (1, 2) for row in tx.targets.page(run_id, stage=None, state=None, after=0, limit=9)]

    write(store, begin)
    before = write(store, rows)
    with pytest.raises(AssertionError):
        write(store, break_a_rule)
    assert write(store, rows) == before


def test_one_run_can_take_over_a_device_in_one_save(tx: Transaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    mine, theirs = target(run, 1, 1, **AT_WORK), target(other, 1, 1)
    tx.targets.add([mine, theirs])
    tx.targets.save([changed(mine, state=TargetState.SUCCEEDED), changed(theirs, **AT_WORK)])
    assert tx.targets.at_work(1) == changed(theirs, **AT_WORK)
    assert (tx.targets.in_flight(run.id), len(tx.targets.in_flight(other.id))) == ([], 1)


def test_ready_ones_come_in_dispatch_order_up_to_the_limit(tx: Transaction, run: RunRecord) -> None:
    places = (2_000, 7, 1_024, 1_023, 5)
    tx.targets.add([target(run, place, number, ready=LIFE) for number, place in enumerate(places, 1)])
    ready = tx.targets.ready(run.stage_ids[0], instance=LIFE, now=0, limit=4)
    assert positions(ready) == [5, 7, 1_023, 1_024]


def test_ready_ones_are_found_at_some_places_of_the_order(tx: Transaction, run: RunRecord) -> None:
    add(tx, *(target(run, place, place + 1, ready=LIFE) for place in range(6)))

    def places(first: int, end: int | None) -> list[int]:
        rows = tx.targets.ready(run.stage_ids[0], instance=LIFE, now=0, limit=3, places=(first, end))
        return positions(rows)

    assert (places(0, 2), places(2, None), places(5, None), places(0, 0)) == ([0, 1], [2, 3, 4], [5], [])


def test_who_was_held_back_was_not_reached_and_is_missed_where_that_is_asked(tx: Transaction, run: RunRecord) -> None:
    ends = [TargetState.SUCCEEDED, TargetState.FAILED, TargetState.CANCELLED, TargetState.REMOVED]
    held = [target(run, place, place + 1, state=end, attempt=1, is_control=True) for place, end in enumerate(ends)]
    freed = [
        target(run, 4, 5, attempt=2, watches=2),
        target(run, 5, 6, state=TargetState.FAILED, attempt=3, watches=2),
        target(run, 6, 7, state=TargetState.CANCELLED),
    ]
    add(tx, *held, *freed)

    def found(rows: Sequence[PastTarget]) -> list[int]:
        return [row.id & 0xFFFFFFFF for row in rows]

    assert found(tx.targets.reached(run.stage_ids)) == [5]
    assert found(tx.targets.unsuccessful(run.stage_ids, with_cancelled=False)) == [5]
    assert found(tx.targets.unsuccessful(run.stage_ids, with_cancelled=True)) == [0, 1, 2, 5, 6]


def test_ready_leaves_out_who_cannot_go(tx: Transaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    tx.devices.set_blocked(DeviceId("kiosk-0005"), is_blocked=True)
    tx.devices.save_installed([(6, (), True)])
    tx.targets.add(
        [
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
        ]
    )
    assert positions(tx.targets.ready(run.stage_ids[0], instance=LIFE, now=10, limit=99)) == [8]
    tx.devices.set_blocked(DeviceId("kiosk-0005"), is_blocked=False)
    tx.targets.save([changed(target(other, 4, 4), state=TargetState.FAILED)])
    assert positions(tx.targets.ready(run.stage_ids[0], instance=LIFE, now=11, limit=99)) == [2, 4, 5, 8]


def test_a_stage_by_state_and_model(tx: Transaction, run: RunRecord) -> None:
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


def test_a_stage_by_state(tx: Transaction, run: RunRecord) -> None:
    tx.targets.add([target(run, 2, 1), target(run, 1, 2), target(run, 3, 3, **AT_WORK), target(run, 1, 4, stage=1)])
    assert positions(tx.targets.in_stage(run.stage_ids[0], TargetState.QUEUED)) == [1, 2]
    assert positions(tx.targets.in_stage(run.stage_ids[0], TargetState.IN_PROGRESS)) == [3]
    assert tx.targets.in_stage(run.stage_ids[1], TargetState.FAILED) == []


def test_in_flight_and_due_of_a_run(tx: Transaction, run: RunRecord) -> None:
    other = add_run(tx, "r2")
    rows = [
        target(run, 1, 3, stage=1, due=20, **AT_WORK),
        target(run, 1, 1, due=30, **AT_WORK),
        target(run, 2, 2, due=10),
        target(run, 3, 4),
        target(run, 4, 6, due=20, state=TargetState.FAILED),
        target(other, 1, 5, due=1, **AT_WORK),
    ]
    tx.targets.add(rows)
    assert [row.device_id for row in tx.targets.in_flight(run.id)] == [1, 3]
    assert tx.targets.next_due(run.id) == 10
    assert [row.device_id for row in tx.targets.due(run.id, 20, limit=9)] == [2, 6, 3]
    assert [row.device_id for row in tx.targets.due(run.id, 99, limit=2)] == [2, 6]
    assert tx.targets.due(run.id, 9, limit=9) == []
    tx.targets.save([changed(rows[2], due=None)])
    assert tx.targets.next_due(run.id) == 20


def test_presence_reaches_the_queued_rows_of_active_runs(tx: Transaction, run: RunRecord) -> None:
    second, third, over = (add_run(tx, uid) for uid in ("r2", "r3", "r4"))
    waiting = target(run, 1, 1)
    tx.targets.add(
        [
            waiting,
            target(run, 2, 2, ready=LIFE),
            target(second, 1, 1, **AT_WORK),
            target(third, 1, 1, stage=1),
            target(third, 2, 3),
            target(over, 1, 1),
        ]
    )
    tx.runs.save(msgspec.structs.replace(over, run=msgspec.structs.replace(over.run, state=RunState.FAILED)))
    assert tx.targets.set_ready([2, 1, 9], LIFE) == [run.id, third.id]
    assert tx.targets.set_ready([1, 2, 9], LIFE) == [run.id, third.id]
    assert tx.targets.set_ready([9], LIFE) == []
    ready = [[row.ready for row in tx.targets.page(n, stage=None, state=None, after=0, limit=9)] for n in (2, 3, 4)]
    assert ready == [[0], [0, LIFE], [0]]
    assert tx.targets.get([waiting.id])[waiting.id] == msgspec.structs.replace(waiting, ready=LIFE)


Page = tuple[int | None, TargetState | None, int, list[int]]
PAGES: list[Page] = [
    (None, None, 0, [1, 2, 3, 1, 2]),
    (0, None, 0, [1, 2, 3]),
    (1, None, 0, [1, 2]),
    (2, None, 0, []),
    (None, TargetState.QUEUED, 0, [2, 1]),
    (None, TargetState.IN_PROGRESS, 0, [1]),
    (1, TargetState.FAILED, 0, [2]),
    (None, TargetState.SUCCEEDED, 0, []),
    (None, None, 2, [3, 1, 2]),
    (None, TargetState.FAILED, 3, [2]),
]


@pytest.mark.parametrize("page", PAGES)
def test_pages(tx: Transaction, run: RunRecord, page: Page) -> None:
    stage, state, after, expected = page
    other = add_run(tx, "r2")
    tx.targets.add(
        [
            target(run, 1, 1, **AT_WORK),
            target(run, 2, 2),
            target(run, 3, 3, state=TargetState.FAILED),
            target(run, 1, 4, stage=1),
            target(run, 2, 5, stage=1, state=TargetState.FAILED),
            target(other, 1, 6),
        ]
    )
    begin = (run.stage_ids[0] << 32) + after if after else 0
    assert positions(tx.targets.page(run.id, stage=stage, state=state, after=begin, limit=9)) == expected
    assert positions(tx.targets.page(run.id, stage=stage, state=state, after=begin, limit=1)) == expected[:1]
    assert tx.targets.page(9, stage=stage, state=state, after=0, limit=9) == []


def test_a_target_is_whole_after_many_changes(tx: Transaction, run: RunRecord) -> None:
    row = target(run, 1, 1, ready=LIFE)
    tx.targets.add([row])
    for due in range(300):
        tx.targets.save([changed(row, due=due)])
    assert tx.targets.next_due(run.id) == 299
    assert [found.target for found in tx.targets.due(run.id, 299, limit=9)] == [Target(due=299)]


def test_what_an_ended_run_left_is_found_by_its_stages(tx: Transaction, run: RunRecord) -> None:
    failed: dict[str, Any] = {"state": TargetState.FAILED, "attempt": 2}
    missed: dict[str, Any] = {"state": TargetState.TIMED_OUT}
    add(tx, target(run, 1, 1, **failed), target(run, 2, 2, **missed), target(run, 3, 3))
    add(tx, target(run, 4, 6, state=TargetState.CANCELLED))
    add(tx, target(run, 1, 4, stage=1, **failed), target(run, 2, 5, stage=1, state=TargetState.SUCCEEDED, attempt=1))
    tx.devices.set_blocked(DeviceId("kiosk-0001"), is_blocked=True)
    tx.devices.save_installed([(2, [installed("shop", "2.1")], True)])

    found = tx.targets.unsuccessful(run.stage_ids, with_cancelled=False)
    assert [(one.device_id, one.is_blocked, one.is_broken) for one in found] == [
        (1, True, False),
        (2, False, True),
        (4, False, False),
    ]
    assert found[1].installed == (installed("shop", "2.1"),)
    assert [one.device_id for one in tx.targets.unsuccessful(run.stage_ids[1:], with_cancelled=False)] == [4]
    assert [one.device_id for one in tx.targets.unsuccessful(run.stage_ids, with_cancelled=True)] == [1, 2, 6, 4]
    assert [one.device_id for one in tx.targets.reached(run.stage_ids)] == [1, 4, 5]


def test_the_version_before_is_noted_once(tx: Transaction, run: RunRecord) -> None:
    add(
        tx, target(run, 1, 1), target(run, 2, 2), msgspec.structs.replace(target(run, 3, 3), previous="0.1", wanted="7")
    )
    told = [installed("shop", "2.9"), installed("shop", "2.10"), installed("till", "3")]
    tx.devices.save_installed([(1, told, None)])
    ids = [run.stage_ids[0] << 32 | position for position in (1, 2, 3)]

    tx.targets.note_previous(ids, app=AppName("shop"))
    tx.devices.save_installed([(1, [installed("shop", "4")], None)])
    tx.targets.note_previous(ids, app=AppName("shop"))

    rows = tx.targets.get(ids)
    assert [(rows[id_].previous, rows[id_].wanted) for id_ in ids] == [("2.10", None), ("", None), ("0.1", "7")]
    tx.targets.save([target(run, 1, 1, detail="x")])
    assert tx.targets.get(ids)[ids[0]].previous == "2.10"
