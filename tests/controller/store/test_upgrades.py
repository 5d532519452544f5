"""Runs and pipelines of earlier schemas mean after an upgrade what they meant before."""

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from controller.app.records import RunRecord
from controller.domain.counters import Tally
from controller.domain.pipeline import FailureLimit, Gate, Pipeline, Sequential, Stage
from controller.domain.target import Target, TargetState
from controller.domain.target.model import is_exposed, is_resolved, is_spared, is_waiting
from controller.store import schema
from controller.store.engine import FileDatabase
from controller.store.runs import PlanCache
from controller.store.transaction import SqlTransaction
from protocol.ids import StageName
from protocol.reasons import Reason
from tests.controller.store.samples import NOW, add_devices, add_job, add_run, run, target

EARLIER = "0020"
LIMIT = FailureLimit(percent=5.0, min_sample=20)
TARGETS = [
    Target(state=state, is_started=started, is_blamed=blamed, reason=reason)
    for state, started, blamed, reason in itertools.product(
        TargetState, (False, True), (False, True), (None, Reason.LEASE_ENDED, Reason.VERIFY_FAILED)
    )
    if not (state is TargetState.IN_PROGRESS and reason is not None)
]


@contextmanager
def opened(database: FileDatabase) -> Iterator[SqlTransaction]:
    engine = database.migration_engine()
    with engine.begin() as connection:
        yield SqlTransaction(connection, PlanCache())
    engine.dispose()


def created(tmp_path: Path) -> FileDatabase:
    database = FileDatabase(f"sqlite:///{tmp_path / 'tidegate.db'}")
    schema.upgrade(database)
    return database


def upgraded_from_earlier(database: FileDatabase) -> None:
    """Take the database back to the earlier schema and up again: columns that came later are written by no row."""
    schema.downgrade(database, EARLIER)
    schema.upgrade(database)


def add_targets(
    tx: SqlTransaction, record: RunRecord, *, stage: int, devices: list[int], targets: list[Target]
) -> None:
    rows = [
        target(record, number, device, stage=stage, **msgspec.structs.asdict(one))
        for number, (device, one) in enumerate(zip(devices, targets, strict=True))
    ]
    tx.targets.add(rows)


def test_stages_of_earlier_runs_count_who_has_begun(tmp_path: Path) -> None:
    database = created(tmp_path)
    with opened(database) as tx:
        devices = add_devices(tx, len(TARGETS))
        record, other = add_run(tx, "r1"), add_run(tx, "r2")
        half = len(TARGETS) // 2
        add_targets(tx, record, stage=0, devices=devices[:half], targets=TARGETS[:half])
        add_targets(tx, record, stage=1, devices=devices[half:], targets=TARGETS[half:])
    upgraded_from_earlier(database)
    with opened(database) as tx:
        found = [stage.tally for stage in tx.runs.get(record.id).run.stages]
        untouched = [stage.tally for stage in tx.runs.get(other.id).run.stages]
    assert found == [begun(TARGETS[:half]), begun(TARGETS[half:])]
    assert untouched == [Tally(), Tally()]


def begun(targets: list[Target]) -> Tally:
    return Tally(
        exposed=sum(map(is_exposed, targets)),
        resolved=sum(map(is_resolved, targets)),
        spared=sum(map(is_spared, targets)),
        waiting=sum(map(is_waiting, targets)),
    )


def definition() -> Pipeline:
    limited = Gate(failures=LIMIT)
    tested = Gate(sequential=Sequential(above=1.0), failures=LIMIT)
    stages = tuple(Stage(name=StageName(name), gate=gate) for name, gate in (("limited", limited), ("tested", tested)))
    return Pipeline(name="weekly", stages=stages, template=({"name": "limited"}, {"name": "tested", "gate": "${g}"}))


def as_earlier(pipeline: dict[str, Any]) -> None:
    """Make the first stage and the rollback such as there were before there was a test."""
    del pipeline["stages"][0]["gate"]["sequential"]
    del pipeline["rollback"]["gate"]["sequential"]
    pipeline["rollback"]["gate"]["failures"] = msgspec.to_builtins(LIMIT)


def test_gates_from_before_there_was_a_test_keep_to_their_limit(tmp_path: Path) -> None:
    database = created(tmp_path)
    with opened(database) as tx:
        plan = msgspec.structs.replace(run(add_job(tx)).plan, pipeline=definition())
        started = tx.runs.add(run(add_job(tx, "other"), plan=plan))
        tx.catalog.add_revision("weekly", definition(), author="ada", at=NOW)
    with closing(sqlite3.connect(database.path)) as connection:
        for table, column in (("run_plan", "plan_json"), ("pipeline", "definition")):
            document = json.loads(connection.execute(f"select {column} from {table}").fetchone()[0])
            as_earlier(document["pipeline"] if table == "run_plan" else document)
            connection.execute(f"update {table} set {column} = ?", (json.dumps(document).encode(),))
        connection.commit()
    upgraded_from_earlier(database)
    with opened(database) as tx:
        kept = tx.catalog.pipeline("weekly")
        assert kept is not None
        for pipeline in (tx.runs.get(started.id).plan.pipeline, kept.definition):
            assert [stage.gate.sequential for stage in pipeline.stages] == [None, Sequential(above=1.0)]
            assert (pipeline.rollback.gate.sequential, pipeline.rollback.gate.failures) == (None, LIMIT)
            assert pipeline.template[0]["gate"] == {"failures": {"more_than": "5%", "min_sample": 20}}
            assert pipeline.template[1]["gate"] == "${g}"
