"""A query finds in SQL whom it finds in memory, and by an index."""

from collections.abc import Iterator

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.pipeline import Targets
from controller.domain.query import Described, Formula, matches, parse
from controller.store.inline_store import InlineStore
from controller.store.queries import condition
from controller.store.runs import PlanCache
from controller.store.tables import device as table
from controller.store.transaction import SqlTransaction
from protocol.ids import DeviceId, Name
from tests.controller.domain.query.trees import NAMES, PATHS, TEXTS, devices, trees
from tests.controller.store.samples import NOW, device, installed

FLEET = 2_000


@pytest.fixture(scope="module")
def store() -> Iterator[InlineStore]:
    store = InlineStore()
    yield store
    store.close()


def enrol(tx: SqlTransaction, number: int, described: Described) -> int:
    """Have a device that says all that, the one thing on enrolment, the other with a hello."""
    added = tx.devices.add(device(number, labels=dict(described.labels), model=described.model))
    [record] = tx.devices.by_names([Name(f"acme:kiosk-{number:04}")]).values()
    apps = tuple(installed(app, version) for app, version in described.apps)
    said = msgspec.structs.replace(record, facts=dict(described.facts), agent=described.agent, installed=apps)
    tx.devices.save_hello(said)
    for path in described.groups:
        tx.groups.add_members(path, [added])
    return added


@pytest.mark.no_cover
@given(st.tuples(*map(devices, NAMES)), st.lists(trees, min_size=1, max_size=6))
def test_sql_and_memory_agree(store: InlineStore, fleet: tuple[Described, ...], asked: list[Formula]) -> None:
    transaction = store._connection.begin()
    try:
        tx = SqlTransaction(store._connection, PlanCache())
        tx.groups.add(PATHS, at=NOW)
        ids = [enrol(tx, number, described) for number, described in enumerate(fleet, 1)]
        for tree in asked:
            expected = [id_ for id_, described in zip(ids, fleet, strict=True) if matches(tree, described)]
            assert tx.devices.ids(tree) == expected
            page = tx.devices.page(
                labels={}, online=None, instance=1, app=None, version=None, after="", limit=9, where=tree
            )
            assert [found.id for found in page] == expected
    finally:
        transaction.rollback()


@pytest.mark.parametrize("prefix", TEXTS)
def test_what_begins_with_a_text_is_found_as_a_range(tx: SqlTransaction, prefix: str) -> None:
    for number, text in enumerate(TEXTS, 1):
        tx.devices.add(device(number, labels={"a": text}))
    found = tx.devices.ids(parse("true")) and tx.devices.ids(
        msgspec.structs.replace(parse('labels.a.startsWith("x")'), text=prefix)
    )
    assert found == [number for number, text in enumerate(TEXTS, 1) if text.startswith(prefix)]


def test_the_rows_follow_what_devices_and_operators_say(tx: SqlTransaction) -> None:
    tx.devices.add(device(1, labels={"a": "1"}, facts={"f": "1"}, installed=(installed("shop", "1"),), agent="1"))
    name = Name("acme:kiosk-0001")
    held = 'labels.a == "1" && facts.f == "1" && app("shop").version == "1" && agent == "1"'
    assert tx.devices.ids(parse(held)) == [1]
    tx.devices.set_labels(DeviceId("kiosk-0001"), {"b": "1"})
    assert tx.devices.ids(parse('!has(labels.a) && labels.b == "1"')) == [1]
    tx.devices.save_installed([(1, [installed("shop", "2")], None), (1, [installed("till", "3")], None)])
    assert tx.devices.ids(parse('!has(app("shop")) && app("till").version == "3" && agent == "1"')) == [1]
    record = tx.devices.by_names([name])[name]
    tx.devices.save_hello(msgspec.structs.replace(record, facts={"g": "2"}, installed=(), agent="2"))
    assert tx.devices.ids(parse('facts.g == 2 && !has(facts.f) && !has(app("till")) && agent > "1"')) == [1]
    tx.devices.save_installed([(1, [installed("shop", "4")], None)])
    tx.devices.save_hello(msgspec.structs.replace(record, installed=(), agent=""))
    assert tx.devices.ids(parse('!has(app("shop")) && !(agent >= "0") && facts.f == "1"')) == [1]
    tx.devices.add(device(1, labels={"ignored": "x"}, facts={"h": "1"}))
    assert tx.devices.ids(parse('labels.b == "1" && has(facts.h) && !has(facts.f) && !has(labels.ignored)')) == [1]


def test_nothing_is_written_that_stays_as_it_was(tx: SqlTransaction) -> None:
    tx.devices.add(device(1, facts={"f": "1"}, installed=(installed("shop", "1"),), agent="1"))
    name = Name("acme:kiosk-0001")
    before = tx.devices.by_names([name])[name]
    seen: list[str] = []
    sa.event.listen(tx.devices._connection, "before_cursor_execute", lambda *given: seen.append(given[2]))
    tx.devices.save_hello(msgspec.structs.replace(before, hello_seq=9, facts={"f": "1"}))
    assert len(seen) == 1
    tx.devices.save_installed([(1, [installed("shop", "1")], None)])
    assert [statement.split()[0] for statement in seen[1:]] == ["UPDATE", "SELECT"]


# --- plans --------------------------------------------------------------------------------------------------------

INDEXED = (
    'labels.region == "eu"',
    'labels.region == "eu" && labels.tier in ["a", "b"]',
    "labels.size >= 5 && labels.size < 8",
    "facts.memory in [512, 1024]",
    'facts.os.startsWith("lin") && model == "k2"',
    'model in ["k1", "k3"]',
    'device.startsWith("kiosk-00")',
    'device == "kiosk-0007"',
    'labels.region == "eu" && app("shop").version < "2.1" && !(model in ["k1"])',
    'app("shop").version >= "2" && app("shop").version < "3"',
    'agent < "1.10" && has(facts.os)',
    'has(app("shop")) && labels.region != "eu"',
    'group("eu")',
    'group("eu/berlin") && labels.region.contains("e")',
    '!group("us") && group("eu") && !has(labels.old)',
    'labels.region == "eu" && (facts.os == "linux" || group("us"))',
    'labels.region == "eu" || app("shop").version == "2.1"',
    "true && has(labels.region)",
)


@pytest.fixture(scope="module")
def fleet() -> Iterator[SqlTransaction]:
    store = InlineStore()
    with store._connection.begin():
        tx = SqlTransaction(store._connection, PlanCache())
        tx.groups.add(["eu", "eu/berlin", "us"], at=NOW)
        for number in range(1, FLEET + 1):
            labels = {"region": ("eu", "us")[number % 2], "size": str(number % 10)}
            apps = (installed("shop", f"2.{number % 30}"),)
            tx.devices.add(device(number, labels=labels, facts={"os": "linux"}, installed=apps, agent="1.2"))
        tx.groups.add_members("eu/berlin", range(1, FLEET, 3))
        yield tx
    store.close()


def plan_of(tx: SqlTransaction, statement: sa.Select[tuple[int]]) -> list[str]:
    compiled = statement.compile(dialect=tx.devices._connection.dialect, compile_kwargs={"render_postcompile": True})
    values = tuple(compiled.params[name] for name in compiled.positiontup or ())
    rows = tx.devices._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
    return [row[3] for row in rows]


@pytest.mark.parametrize("text", INDEXED)
def test_a_conjunction_looks_at_no_device_in_vain(fleet: SqlTransaction, text: str) -> None:
    plan = plan_of(fleet, sa.select(table.c.id).where(~table.c.is_blocked, condition(parse(text))))
    assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step], "\n".join(plan)


def test_a_negation_alone_looks_at_every_device(fleet: SqlTransaction) -> None:
    plan = plan_of(fleet, sa.select(table.c.id).where(condition(parse('labels.region != "eu"'))))
    assert plan[0].startswith("SCAN device")


def test_who_is_meant_is_looked_up_in_one_statement(fleet: SqlTransaction) -> None:
    wanted = Targets(
        labels={"region": "eu"},
        groups=("eu", "us"),
        query='app("shop").version < "2.4"',
        devices=tuple(DeviceId(f"kiosk-{number:04}") for number in range(1, FLEET)),
    )
    found = fleet.devices.matching(wanted)
    assert [one.id for one in found] == [n for n in range(1, FLEET) if n % 2 == 0 and n % 3 == 1 and n % 30 < 4]
