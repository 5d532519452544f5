"""Hot queries find their rows by an index, however large the fleet."""

from collections.abc import Callable, Iterator

import msgspec
import pytest
import sqlalchemy as sa

from controller.app.records import DeviceRecord, OfModel, RunRecord
from controller.domain.admission import BlockReason
from controller.domain.pipeline import Targets
from controller.domain.target import TargetState
from controller.store.inline_store import InlineStore
from controller.store.runs import PlanCache
from controller.store.transaction import SqlTransaction
from protocol.ids import AppName, DeviceId, Name
from tests.controller.store.samples import NOW, add_devices, add_run, command, digest, installed, report, target

LARGE = (
    *("target_run", "device_hold", "device_pin", "command", "report", "device", "event"),
    *("device_label", "device_fact", "device_app", "device_group", "fleet_group"),
)


def none(tx: SqlTransaction) -> RunRecord:
    found = tx.runs.by_uid("r1")
    assert found is not None
    return found


def hello(tx: SqlTransaction) -> DeviceRecord:
    name = Name("acme:kiosk-0001")
    apps = (installed("shop", "2.1"),)
    return msgspec.structs.replace(tx.devices.by_names([name])[name], facts={"a": "b"}, installed=apps)


HOT: dict[str, Callable[[SqlTransaction], object]] = {
    "ready": lambda tx: tx.targets.ready(1, instance=7, now=5, limit=9),
    "due": lambda tx: tx.targets.due(1, 5, limit=9),
    "next_due": lambda tx: tx.targets.next_due(1),
    "in_flight": lambda tx: tx.targets.in_flight(1),
    "at_work": lambda tx: tx.targets.at_work(1),
    "in_stage": lambda tx: [tx.targets.in_stage(1, state) for state in TargetState],
    "of_model": lambda tx: [
        tx.targets.of_model(1, state, meant)
        for state in (TargetState.QUEUED, TargetState.IN_PROGRESS)
        for meant in (OfModel("k1"), OfModel("", apart_from=("k1", "")))
    ],
    "members": lambda tx: tx.targets.members(1),
    "members_among": lambda tx: tx.targets.members_among(1, [1, 2]),
    "next_id": lambda tx: tx.targets.next_id(1),
    "candidates": lambda tx: tx.devices.candidates([1, 2]),
    "unsuccessful": lambda tx: [
        tx.targets.unsuccessful((1, 2), with_cancelled=cancelled) for cancelled in (False, True)
    ],
    "reached": lambda tx: tx.targets.reached((1, 2)),
    "note_previous": lambda tx: tx.targets.note_previous([1, 2], app=AppName("shop")),
    "get": lambda tx: tx.targets.get([1, 2]),
    "save": lambda tx: tx.targets.save(tx.targets.in_stage(1, TargetState.QUEUED)[:2]),
    "set_ready": lambda tx: tx.targets.set_ready([1, 2, 3], 8),
    "pages": lambda tx: [
        tx.targets.page(1, stage=None, state=state, after=0, limit=9) for state in (None, *TargetState)
    ],
    "block": lambda tx: tx.targets.block(tx.targets.in_stage(1, TargetState.QUEUED)[:2]),
    "unblock": lambda tx: tx.targets.unblock([1, 2]),
    "unblock_checked": lambda tx: tx.targets.unblock_checked(1, NOW, limit=9),
    "next_check": lambda tx: tx.targets.next_check(1),
    "unblock_reason": lambda tx: tx.targets.unblock_reason(1, BlockReason.PRECONDITION),
    "unblock_site": lambda tx: tx.targets.unblock_site(1, 0, "north"),
    "at_site": lambda tx: tx.targets.at_site(1, ["north"]),
    "blocked_counts": lambda tx: tx.targets.blocked_counts(1),
    "restraints": lambda tx: [tx.restraints.of([1, 2]), tx.restraints.path("shop", "2.1")],
    "devices.count": lambda tx: tx.devices.count(),
    "save_hello": lambda tx: tx.devices.save_hello(hello(tx)),
    "set_labels": lambda tx: tx.devices.set_labels(DeviceId("kiosk-0001"), {"a": "b"}),
    "matching": lambda tx: tx.devices.matching(Targets(labels={"region": "eu"}, groups=("eu",))),
    "groups": lambda tx: [tx.groups.add_members("eu", [1, 2]), tx.groups.drop_members("eu", [1])],
    "groups.remove": lambda tx: tx.groups.remove("eu"),
    "groups_of": lambda tx: [tx.groups.groups_of(1), tx.groups.ids_of([DeviceId("kiosk-0001")])],
    "senders": lambda tx: tx.devices.senders([Name("acme:kiosk-0001"), Name("x")]),
    "save_installed": lambda tx: tx.devices.save_installed([(1, (), True), (2, [installed("till", "1")], None)]),
    "by_names": lambda tx: tx.devices.by_names([Name("acme:kiosk-0001"), Name("x")]),
    "allocate_seqs": lambda tx: tx.devices.allocate_seqs([1, 2], at=NOW),
    "sighted": lambda tx: tx.devices.sighted({1}, after=0, limit=9),
    "set_gone": lambda tx: tx.devices.set_gone([1, 2]),
    "save_gone": lambda tx: tx.devices.save_gone(1, connection="", at=NOW),
    "watches.of_devices": lambda tx: tx.watches.of_devices([1, 2]),
    "watches.away": lambda tx: tx.watches.away(1, instance=7, after=0, limit=9),
    "watches.partners": lambda tx: tx.watches.partners(1, model="k1", since=NOW, limit=9),
    "watches.bystanders": lambda tx: tx.watches.bystanders(1, instance=7, limit=9),
    "commands.due": lambda tx: tx.commands.due(NOW, limit=9),
    "commands.next_due": lambda tx: tx.commands.next_due(),
    "given": lambda tx: tx.commands.given([digest(1), digest(2)]),
    "open_for": lambda tx: tx.commands.open_for(1),
    "mark_sent": lambda tx: tx.commands.mark_sent([1, 2], again_at=NOW),
    "close": lambda tx: tx.commands.close([1, 2]),
    "void": lambda tx: [tx.commands.void(run_id=1, stage=stage) for stage in (0, None)],
    "unsent_count": lambda tx: tx.commands.unsent_count(),
    "commands.add": lambda tx: tx.commands.add([command(9_999, none(tx))]),
    "known_reports": lambda tx: tx.log.known_reports([(1, "a", 1), (2, "b", 2)]),
    "events": lambda tx: tx.log.events(1, after=0, limit=9),
}


@pytest.fixture
def seen() -> Iterator[tuple[SqlTransaction, list[str]]]:
    """Yield a transaction, and the plans of the statements that are run in it."""
    store = InlineStore()
    plans: list[str] = []
    connection = store._connection

    def explain(conn: sa.Connection, cursor: object, statement: str, parameters: object, *rest: object) -> None:
        many = rest[-1]
        values = parameters[0] if many and isinstance(parameters, list | tuple) else parameters
        raw = conn.connection.driver_connection
        assert raw is not None
        if not statement.startswith(("BEGIN", "INSERT")):
            plans.extend(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    with connection.begin():
        tx = SqlTransaction(connection, PlanCache())
        add_devices(tx, 30, facts={"os": "linux"}, installed=(installed("shop", "2.0"),))
        tx.groups.add(["eu", "eu/berlin"], at=NOW)
        run = add_run(tx)
        tx.targets.add([target(run, n, n, ready=7) for n in range(1, 21)])
        tx.targets.add([target(run, n, n, stage=1, state=TargetState.IN_PROGRESS, due=n) for n in range(21, 31)])
        tx.commands.add([command(n, run, target(run, n, n)) for n in range(1, 21)])
        tx.log.add_reports([report(n, 1) for n in range(1, 31)])
        sa.event.listen(store._engine, "before_cursor_execute", explain)
        yield tx, plans
    store.close()


@pytest.mark.parametrize("name", HOT)
def test_a_hot_query_scans_no_large_table(seen: tuple[SqlTransaction, list[str]], name: str) -> None:
    tx, plans = seen
    HOT[name](tx)
    assert plans
    scans = [
        plan
        for plan in plans
        if plan.startswith(("SCAN", "USE TEMP B-TREE"))
        and (plan.startswith("USE") or any(table in plan for table in LARGE))
        and "INDEX ix_command_" not in plan  # these indexes hold the open ones alone
    ]
    assert scans == [], "\n".join(plans)


def test_control_devices_to_compare_with_are_found_by_model_and_place(seen: tuple[SqlTransaction, list[str]]) -> None:
    tx, plans = seen
    tx.watches.partners(1, model="k1", since=NOW, limit=9)
    [plan] = plans
    assert plan == "SEARCH target_run USING INDEX ix_target_run_unpaired (model=? AND id>? AND id<?)"
