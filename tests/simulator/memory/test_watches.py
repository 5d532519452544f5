"""Devices that are watched after their success, on both stores."""

from typing import Any

import msgspec
import pytest

from controller.app.records import RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.domain.silence import Bystander
from controller.domain.states import RunState
from controller.domain.target import TargetState
from tests.controller.store.samples import add_devices, add_run, at, target

LIFE = 7
WATCHED: dict[str, Any] = {"state": TargetState.SUCCEEDED, "attempt": 1, "watched_until": 900}


@pytest.fixture
def run(tx: Transaction) -> RunRecord:
    add_devices(tx, 9)
    return add_run(tx)


def positions(rows: list[TargetRecord]) -> list[int]:
    return [row.id & 0xFFFFFFFF for row in rows]


def connect(tx: Transaction, *numbers: int) -> None:
    for record in tx.devices.by_names([f"acme:kiosk-{number:04}" for number in numbers]).values():  # type: ignore[misc]
        tx.devices.save_hello(msgspec.structs.replace(record, instance=LIFE, last_seen_at=at(record.id)))


def test_what_is_watched_comes_back_as_it_was_stored(tx: Transaction, run: RunRecord) -> None:
    row = target(run, 1, 1, **WATCHED, is_silent=True, is_blamed=True, due=5)
    tx.targets.add([row])
    assert tx.targets.get([row.id]) == {row.id: row}
    other = msgspec.structs.replace(
        row, target=msgspec.structs.replace(row.target, is_silent=False, watched_until=None)
    )
    tx.targets.save([other])
    assert tx.targets.get([row.id]) == {row.id: other}


def test_watched_rows_of_devices_are_those_of_active_runs(tx: Transaction, run: RunRecord) -> None:
    other, over = add_run(tx, "r2"), add_run(tx, "r3")
    rows = [target(one, 4, 1, **WATCHED) for one in (run, other, over)]
    tx.targets.add([*rows, target(run, 5, 2), target(run, 6, 3, **WATCHED)])
    tx.runs.save(msgspec.structs.replace(over, run=msgspec.structs.replace(over.run, state=RunState.SUCCEEDED)))
    assert tx.watches.of_devices([1, 2, 8]) == rows[:2]
    assert tx.watches.of_devices([]) == []


def test_away_are_the_watched_of_a_stage_that_are_not_online(tx: Transaction, run: RunRecord) -> None:
    connect(tx, 3)
    tx.targets.add([target(run, n, n, **WATCHED) for n in range(1, 6)])
    tx.targets.add([target(run, 6, 6, **WATCHED, due=9), target(run, 7, 7), target(run, 1, 8, stage=1, **WATCHED)])
    stage_id = run.stage_ids[0]
    first = tx.watches.away(stage_id, instance=LIFE, after=0, limit=3)
    assert positions(first) == [1, 2, 4]
    assert positions(tx.watches.away(stage_id, instance=LIFE, after=first[-1].id, limit=3)) == [5, 6]
    assert positions(tx.watches.away(stage_id, instance=LIFE + 1, after=0, limit=9)) == [1, 2, 3, 4, 5, 6]


def test_bystanders_are_spread_over_the_fleet(tx: Transaction, run: RunRecord) -> None:
    connect(tx, 1, 3, 5)
    tx.devices.save_gone(5, connection="", at=at(70))
    tx.targets.add([target(run, 1, 1, **WATCHED), target(run, 2, 2), target(run, 3, 3)])
    tx.devices.set_blocked(target(run, 7, 7).name.split(":")[1], is_blocked=True)  # type: ignore[arg-type]
    tx.devices.set_removed(target(run, 8, 8).name.split(":")[1], at=at(1))  # type: ignore[arg-type]
    unseen = Bystander(is_online=False, last_seen_at=None)
    reached = Bystander(is_online=True, last_seen_at=at(1), is_reached=True)
    online, gone = Bystander(is_online=True, last_seen_at=at(3)), Bystander(is_online=False, last_seen_at=at(70))
    every = [reached, unseen, online, unseen, gone, unseen, unseen]
    assert tx.watches.bystanders(run.id, instance=LIFE, limit=99) == every
    assert tx.watches.bystanders(run.id, instance=LIFE, limit=4) == [reached, unseen]
    assert tx.watches.bystanders(run.id, instance=LIFE, limit=3) == [reached, unseen]
    assert [one.is_online for one in tx.watches.bystanders(run.id, instance=LIFE + 1, limit=99)] == [False] * 7


def test_whoever_was_held_back_is_a_bystander_until_the_run_reaches_it(tx: Transaction, run: RunRecord) -> None:
    connect(tx, 1, 2, 3)
    tx.targets.add([target(run, 1, 1, attempt=1, is_control=True), target(run, 2, 2, attempt=1, watches=1)])
    tx.targets.add([target(run, 3, 3, attempt=2, watches=1)])
    are_reached = [one.is_reached for one in tx.watches.bystanders(run.id, instance=LIFE, limit=99)]
    assert are_reached[:3] == [False, False, True]


def told(at_ms: int, **changes: Any) -> dict[str, Any]:
    """Return what is known of a device that is held back and told a number."""
    known = {"is_control": True, "measures": {"scan_ms": 1.5}, "measured_at": at(at_ms)}
    return known | {"state": TargetState.SUCCEEDED, "attempt": 1} | changes


def test_partners_are_held_back_of_one_model_fresh_and_unpaired_in_the_order_of_the_stage(
    tx: Transaction, run: RunRecord
) -> None:
    other = add_run(tx, "r2")
    partners = [target(run, 7, 1, model="k1", **told(50)), target(run, 2, 2, model="k1", **told(90))]
    partners.append(target(run, 4, 3, model="k1", **told(60, state=TargetState.REMOVED)))
    tx.targets.add(partners)
    tx.targets.add(
        [
            target(run, 0, 4, model="k1", **told(49)),
            target(run, 1, 5, model="k1", **told(60, is_paired=True)),
            target(run, 3, 6, model="k2", **told(60)),
            target(run, 5, 7, model="k1", **told(60, is_control=False)),
            target(run, 6, 8, model="k1", **told(60, measured_at=None)),
            target(run, 1, 9, stage=1, model="k1", **told(60)),
            target(other, 0, 1, model="k1", **told(60)),
        ]
    )
    found = tx.watches.partners(run.stage_ids[0], model="k1", since=at(50), limit=9)
    assert found == [partners[1], partners[2], partners[0]]
    assert tx.watches.partners(run.stage_ids[0], model="k1", since=at(50), limit=2) == found[:2]
    assert tx.watches.partners(run.stage_ids[0], model="k3", since=at(50), limit=9) == []


def test_who_is_paired_is_no_partner_any_more(tx: Transaction, run: RunRecord) -> None:
    row = target(run, 1, 1, model="k1", **told(50))
    tx.targets.add([row])
    tx.targets.save([msgspec.structs.replace(row, target=msgspec.structs.replace(row.target, is_paired=True))])
    assert tx.watches.partners(run.stage_ids[0], model="k1", since=at(0), limit=9) == []


def test_an_empty_fleet_has_no_bystanders(tx: Transaction) -> None:
    assert tx.watches.bystanders(1, instance=LIFE, limit=9) == []
