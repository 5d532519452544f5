"""The migrated schema is the one of the metadata, up and down."""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from controller.domain.query import parse
from controller.store import schema
from controller.store.engine import FileDatabase
from controller.store.inline_store import InlineStore
from controller.store.runs import PlanCache
from controller.store.tables import metadata
from controller.store.transaction import SqlTransaction
from tests.controller.store.samples import add_devices, add_run, device, installed, target

SCHEMA = "select name, sql from sqlite_master where sql is not null and name != 'alembic_version'"


def normal(sql: str) -> list[str]:
    """Return a definition's parts, whatever the order of its constraints."""
    return sorted(re.sub(r"\s+", " ", part).strip(" ()") for part in re.split(r",(?![^(]*\))", sql, flags=re.MULTILINE))


def database(tmp_path: Path) -> FileDatabase:
    return FileDatabase(f"sqlite:///{tmp_path / '100%' / 'a b.db'}")


def stored(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(SCHEMA).fetchall()
    connection.close()
    return {name: normal(sql) for name, sql in rows}


def test_migrations_lead_to_the_metadata(tmp_path: Path) -> None:
    (tmp_path / "100%").mkdir()
    migrated = database(tmp_path)
    schema.upgrade(migrated)
    store = InlineStore()
    expected = {str(name): normal(str(sql)) for name, sql in store._connection.exec_driver_sql(SCHEMA)}
    store.close()
    assert stored(migrated.path) == expected
    engine = migrated.read_engine()
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert schema.revision_of(connection) == schema.newest_revision()
    engine.dispose()


def test_up_is_repeatable_and_down_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "100%").mkdir()
    migrated = database(tmp_path)
    schema.upgrade(migrated)
    first = stored(migrated.path)
    schema.upgrade(migrated)
    assert stored(migrated.path) == first
    schema.downgrade(migrated)
    assert stored(migrated.path) == {}
    schema.upgrade(migrated)
    assert stored(migrated.path) == first


def test_what_the_first_schema_stored_is_there_after_the_upgrade(tmp_path: Path) -> None:
    (tmp_path / "100%").mkdir()
    migrated = database(tmp_path)
    schema.upgrade(migrated, "0001")
    connection = sqlite3.connect(migrated.path)
    connection.execute("insert into job (id, name, pipeline, operation, created_at) values (1, 'job', 'p', '{}', 7)")
    connection.commit()
    schema.upgrade(migrated)
    assert connection.execute("select name, created_at, priority from job").fetchall() == [("job", 7, 0)]
    connection.close()


def test_devices_of_an_earlier_schema_are_found_by_queries(tmp_path: Path) -> None:
    (tmp_path / "100%").mkdir()
    migrated = database(tmp_path)
    schema.upgrade(migrated, "0002")
    connection = sqlite3.connect(migrated.path)
    known = [column[1] for column in connection.execute("pragma table_info(device)")]
    records = [
        device(1, labels={"a": "5", "z\0": "x\0y"}, facts={"os": "linux"}, agent="1.2"),
        device(2, installed=(installed("shop", "2.10"), installed("shop", "2.10"), installed("till", "1"))),
    ]
    for number, record in enumerate(records, 1):
        encoded = msgspec.to_builtins(record, builtin_types=(bytes,)) | {"id": number}
        values = [json.dumps(v) if isinstance(v, dict | list | tuple) else v for v in map(encoded.get, known)]
        connection.execute(f"insert into device values ({', '.join('?' * len(known))})", values)
    connection.commit()
    connection.close()
    schema.upgrade(migrated)
    engine = migrated.read_engine()
    with engine.connect() as opened:
        tx = SqlTransaction(opened, PlanCache())
        kept = 'labels.a < 6 && labels["z\\u0000"] == "x\\u0000y" && facts.os == "linux" && agent == "1.2"'
        assert tx.devices.ids(parse(kept)) == [1]
        assert tx.devices.ids(parse('app("shop").version > "2.9" && has(app("till"))')) == [2]
    engine.dispose()


@pytest.mark.parametrize(
    ("earlier", "told", "kept"),
    [
        ("0018", {"model": "k2"}, {}),
        (
            "0025",
            {"measures": {"scan_ms": 1.5}, "measured_at": 7, "is_paired": True, "is_control": True},
            {"is_control": True},
        ),
    ],
)
def test_of_devices_that_joined_under_an_earlier_schema_is_not_known_what_was_not_stored_then(
    tmp_path: Path, earlier: str, told: dict[str, Any], kept: dict[str, Any]
) -> None:
    (tmp_path / "100%").mkdir()
    migrated = database(tmp_path)
    schema.upgrade(migrated)
    engine = migrated.migration_engine()
    with engine.begin() as opened:
        tx = SqlTransaction(opened, PlanCache())
        add_devices(tx, 1)
        run = add_run(tx)
        joined = target(run, 0, 1, **told)
        tx.targets.add([joined])
    schema.downgrade(migrated, earlier)
    schema.upgrade(migrated)
    with engine.begin() as opened:
        found = SqlTransaction(opened, PlanCache()).targets.get([joined.id])
    engine.dispose()
    assert found == {joined.id: target(run, 0, 1, **kept)}
