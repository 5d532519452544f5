"""Runs and their stages."""

import msgspec
import pytest
import sqlalchemy as sa

from controller.app.errors import Conflict
from controller.app.records import RunRecord
from controller.domain import run as runs
from controller.domain.counters import Tally
from controller.domain.events import Paused, Started
from controller.domain.model import StageRun, stage_changed
from controller.domain.states import RunState, StageState
from controller.domain.target import TargetState
from controller.store.runs import PLANS_MAX, PlanCache
from controller.store.tables import run as table
from controller.store.tables import stage_run
from controller.store.transaction import SqlTransaction
from tests.controller.store.samples import NOW, add_job, add_run, at, plan, run


def begun(record: RunRecord) -> RunRecord:
    state, _ = runs.step(record.plan, record.run, Started(at=NOW))
    return msgspec.structs.replace(record, run=state, wake_at=at(100))


def ended(record: RunRecord) -> RunRecord:
    state = msgspec.structs.replace(record.run, state=RunState.SUCCEEDED)
    return msgspec.structs.replace(record, run=state, wake_at=None, ended_at=at(9))


def test_a_run_gets_ids_and_comes_back_as_it_was_stored(tx: SqlTransaction) -> None:
    first, second = add_run(tx, "r1", 2), add_run(tx, "r2", 3)
    assert (first.id, first.stage_ids) == (1, (1, 2))
    assert (second.id, second.stage_ids) == (2, (3, 4, 5))
    assert tx.runs.get(2) == tx.runs.by_uid("r2") == second
    assert tx.runs.by_uid("r3") is None
    with pytest.raises(sa.exc.NoResultFound):
        tx.runs.get(3)


def test_a_job_has_one_active_run(tx: SqlTransaction) -> None:
    job = add_job(tx)
    first = tx.runs.add(run(job, "r1"))
    with pytest.raises(Conflict, match="active run"):
        tx.runs.add(run(job, "r2"))
    assert tx.runs.active_ids() == [first.id]
    tx.runs.save(ended(first))
    assert tx.runs.add(run(job, "r3")).id == 2


def test_a_uid_is_never_given_twice(tx: SqlTransaction) -> None:
    tx.runs.add(run(add_job(tx, "a"), "same"))
    with pytest.raises(sa.exc.IntegrityError):
        tx.runs.add(run(add_job(tx, "b"), "same"))


def test_what_changed_is_saved_with_its_projections(tx: SqlTransaction) -> None:
    record = begun(add_run(tx))
    paused, _ = runs.step(record.plan, record.run, Paused(at=at(1), reason="operator"))
    tally = Tally(queued=1, in_progress=2, succeeded=3, started=5, blamed=1, bricked=1)
    changed = stage_changed(paused, 0, tally=tally)
    tx.runs.save(msgspec.structs.replace(record, run=changed))
    assert tx.runs.get(record.id).run == changed
    row = tx.runs._connection.execute(sa.select(table)).mappings().one()
    assert (row["state"], row["is_active"], row["is_paused"], row["epoch"]) == ("running", True, True, 2)
    stage = tx.runs._connection.execute(sa.select(stage_run)).mappings().first()
    assert stage is not None
    assert (stage["state"], stage["in_progress"], stage["blamed"]) == ("rolling_out", 2, 1)
    assert sum(stage[state.value] for state in TargetState) == tally.targets


@pytest.mark.parametrize("is_read_first", [True, False])
def test_stages_are_projected_whether_or_not_the_run_was_read_before(tx: SqlTransaction, is_read_first: bool) -> None:
    record = add_run(tx)
    fresh = SqlTransaction(tx.runs._connection, PlanCache())
    known = fresh.runs.get(record.id) if is_read_first else record
    stages = (known.run.stages[0], StageRun(state=StageState.ROLLING_OUT, tally=Tally(queued=4)))
    fresh.runs.save(msgspec.structs.replace(known, run=msgspec.structs.replace(known.run, stages=stages)))
    rows = fresh.runs._connection.execute(sa.select(stage_run.c.state, stage_run.c.queued)).all()
    assert [tuple(row) for row in rows] == [("blocked", 0), ("rolling_out", 4)]


def test_an_unchanged_run_writes_no_stage(tx: SqlTransaction) -> None:
    record = tx.runs.get(add_run(tx).id)
    tx.runs.save(record)
    tx.runs.save(record)
    assert tx.runs.get(record.id) == record


def test_pages_are_newest_first(tx: SqlTransaction) -> None:
    for uid in ("r1", "r2", "r3"):
        add_run(tx, uid)
    tx.runs.save(ended(tx.runs.get(2)))

    def uids(job: str | None = None, active: bool | None = None, before: int | None = None) -> list[str]:
        return [found.uid for found in tx.runs.page(job=job, active=active, before=before, limit=2)]

    assert uids() == ["r3", "r2"]
    assert uids(before=2) == ["r1"]
    assert uids(job="job-of-r2") == ["r2"]
    assert uids(active=True) == ["r3", "r1"]
    assert uids(active=False) == ["r2"]


def test_only_active_runs_wake(tx: SqlTransaction) -> None:
    assert tx.runs.next_wake() is None
    for uid, wake_at in (("r1", 30), ("r2", 10), ("r3", 20)):
        record = add_run(tx, uid)
        tx.runs.save(msgspec.structs.replace(record, wake_at=at(wake_at)))
    over = ended(tx.runs.get(2))
    tx.runs.save(msgspec.structs.replace(over, wake_at=at(10)))
    assert tx.runs.next_wake() == at(20)
    assert tx.runs.waking(at(19)) == []
    assert tx.runs.waking(at(20)) == [3]
    assert tx.runs.waking(at(99)) == [3, 1]
    assert tx.runs.get(2).ended_at == at(9)


def test_a_state_that_is_not_in_the_table_fails_loudly(tx: SqlTransaction) -> None:
    record = add_run(tx)
    wrong = msgspec.json.encode(record.run).replace(b'"pending"', b'"sleeping"')
    tx.runs._connection.execute(sa.update(table).values(state_json=wrong))
    with pytest.raises(msgspec.ValidationError, match="sleeping"):
        tx.runs.get(record.id)


def test_a_run_of_another_version_fails_loudly(tx: SqlTransaction) -> None:
    record = add_run(tx)
    newer = msgspec.json.encode(msgspec.structs.replace(record.run, version=2))
    tx.runs._connection.execute(sa.update(table).values(state_json=newer))
    with pytest.raises(AssertionError, match="version 2"):
        tx.runs.get(record.id)


def test_plans_are_decoded_once_and_forgotten_beyond_a_limit() -> None:
    cache = PlanCache()
    encoded = msgspec.json.encode(plan())
    first = cache.decode("r0", encoded)
    assert cache.get("r0") is first
    for number in range(1, PLANS_MAX):
        cache.decode(f"r{number}", encoded)
    assert cache.get("r0") is first
    cache.decode("one more", encoded)
    assert cache.get("r0") is first
    assert cache.get("r1") is None


def test_a_plan_is_read_from_the_database_when_it_is_not_kept(tx: SqlTransaction) -> None:
    record = add_run(tx)
    assert SqlTransaction(tx.runs._connection, PlanCache()).runs.get(record.id).plan == record.plan
