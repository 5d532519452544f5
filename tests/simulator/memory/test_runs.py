"""Runs and their stages, on both stores."""

import msgspec
import pytest

from controller.app.errors import Conflict
from controller.app.records import RunRecord
from controller.app.repositories import Transaction
from controller.domain.counters import Tally
from controller.domain.model import StageRun
from controller.domain.pipeline import Targets
from controller.domain.states import RunState, StageState
from tests.controller.store.samples import NOW, add_job, add_run, at, run
from tests.simulator.memory.both import Either, read, write


def in_state(record: RunRecord, state: RunState) -> RunRecord:
    return msgspec.structs.replace(record, run=msgspec.structs.replace(record.run, state=state))


def test_a_run_gets_ids_and_comes_back_as_it_was_stored(tx: Transaction) -> None:
    first, second = add_run(tx, "r1", 2), add_run(tx, "r2", 3)
    assert (first.id, first.stage_ids) == (1, (1, 2))
    assert (second.id, second.stage_ids) == (2, (3, 4, 5))
    assert tx.runs.get(2) == tx.runs.by_uid("r2") == second
    assert tx.runs.by_uid("r3") is None


def test_a_job_has_one_active_run(tx: Transaction) -> None:
    job = add_job(tx)
    first = tx.runs.add(run(job, "r1"))
    with pytest.raises(Conflict, match="active run"):
        tx.runs.add(run(job, "r2"))
    with pytest.raises(Conflict, match="active run"):
        tx.runs.add(run(job, "r1"))
    assert tx.runs.active_ids() == [first.id]
    tx.runs.save(in_state(first, RunState.SUCCEEDED))
    assert tx.runs.active_ids() == []
    assert tx.runs.add(run(job, "r3")).id == 2


def test_a_run_tells_whether_a_stage_of_it_takes_new_devices(tx: Transaction) -> None:
    added = add_run(tx)
    stages = tuple(
        msgspec.structs.replace(stage, targets=Targets(include_new=True)) for stage in added.plan.pipeline.stages
    )
    plan = msgspec.structs.replace(added.plan, pipeline=msgspec.structs.replace(added.plan.pipeline, stages=stages))
    taking = tx.runs.add(msgspec.structs.replace(added, uid="r2", job_id=add_job(tx, "other").id, plan=plan))
    rolling = StageRun(state=StageState.ROLLING_OUT, is_frozen=True, opened_at=0)
    opened = msgspec.structs.replace(taking.run, state=RunState.RUNNING, stages=(rolling, StageRun()))
    assert tx.runs.open_to_newcomers() == []
    tx.runs.save(msgspec.structs.replace(taking, run=opened))
    assert tx.runs.open_to_newcomers() == [taking.id]
    soaking = msgspec.structs.replace(rolling, state=StageState.SOAKING)
    tx.runs.save(msgspec.structs.replace(taking, run=msgspec.structs.replace(opened, stages=(soaking, StageRun()))))
    assert tx.runs.open_to_newcomers() == []


def test_a_run_that_is_over_cannot_become_the_second_active_one(store: Either) -> None:
    def two(tx: Transaction) -> None:
        job = add_job(tx)
        tx.runs.save(in_state(tx.runs.add(run(job, "r1")), RunState.FAILED))
        tx.runs.add(run(job, "r2"))

    write(store, two)
    with pytest.raises(AssertionError):
        write(store, lambda tx: tx.runs.save(in_state(tx.runs.get(1), RunState.RUNNING)))


def test_uids_are_unique_and_jobs_exist(store: Either) -> None:
    write(store, add_run)
    with pytest.raises(AssertionError):
        write(store, lambda tx: tx.runs.add(run(add_job(tx, "other"), "r1")))
    with pytest.raises(AssertionError):
        write(store, lambda tx: tx.runs.add(run(msgspec.structs.replace(add_job(tx, "x"), id=77), "r9")))
    assert [found.uid for found in read(store, lambda tx: tx.runs.page(job=None, active=None, before=None, limit=9))]


def test_saving_stores_what_may_change_and_nothing_else(tx: Transaction) -> None:
    record = add_run(tx)
    stages = (StageRun(state=StageState.ROLLING_OUT, tally=Tally(queued=4)), record.run.stages[1])
    state = msgspec.structs.replace(record.run, stages=stages, epoch=3, reason="x")
    changed = msgspec.structs.replace(record, run=state, wake_at=at(1), ended_at=at(2))
    tx.runs.save(msgspec.structs.replace(changed, uid="other", job="other", created_at=at(9)))
    assert tx.runs.get(record.id) == tx.runs.by_uid("r1") == changed
    tx.runs.save(msgspec.structs.replace(changed, id=9))
    assert tx.runs.by_uid("r1") == changed


def test_pages_are_newest_first(tx: Transaction) -> None:
    for uid in ("r1", "r2", "r3"):
        add_run(tx, uid)
    tx.runs.save(in_state(tx.runs.get(2), RunState.TERMINATED))

    def uids(job: str | None = None, active: bool | None = None, before: int | None = None) -> list[str]:
        return [found.uid for found in tx.runs.page(job=job, active=active, before=before, limit=2)]

    assert uids() == ["r3", "r2"]
    assert uids(before=2) == ["r1"]
    assert uids(job="job-of-r2") == ["r2"]
    assert uids(active=True) == ["r3", "r1"]
    assert uids(active=False) == ["r2"]


def test_only_active_runs_wake_the_earliest_first(tx: Transaction) -> None:
    assert tx.runs.next_wake() is None
    for uid, wake_at in (("r1", 30), ("r2", 10), ("r3", 20), ("r4", 20)):
        tx.runs.save(msgspec.structs.replace(add_run(tx, uid), wake_at=at(wake_at)))
    add_run(tx, "r5")
    tx.runs.save(in_state(tx.runs.get(2), RunState.SUCCEEDED))
    assert tx.runs.next_wake() == at(20)
    assert tx.runs.waking(at(19)) == []
    assert tx.runs.waking(at(20)) == [3, 4]
    assert tx.runs.waking(at(99)) == [3, 4, 1]
    assert tx.runs.get(2).created_at == NOW
