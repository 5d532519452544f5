"""Pipelines, jobs and releases."""

import msgspec
import pytest

from controller.app.errors import Conflict
from controller.app.records import PipelineRecord, ReleaseRecord
from controller.store.transaction import SqlTransaction
from tests.controller.store.samples import NOW, add_job, at, digest, pipeline, run


def release(app: str, version: str, counter: int) -> ReleaseRecord:
    return ReleaseRecord(
        app=app,
        version=version,
        path=f"{app}/{version}",
        sha256=digest(counter),
        length=10,
        counter=counter,
        floor=1,
        installer="oci",
        hardware=("k1", "k2"),
        published_at=NOW,
    )


def test_every_edit_makes_a_revision(tx: SqlTransaction) -> None:
    first = tx.catalog.add_revision("weekly", pipeline(1), author="ann", at=NOW)
    second = tx.catalog.add_revision("weekly", pipeline(2), author="bob", at=at(1))
    other = tx.catalog.add_revision("daily", pipeline(1, "daily"), author="ann", at=at(2))
    assert second == PipelineRecord(
        id=2, name="weekly", revision=2, definition=pipeline(2), author="bob", created_at=at(1)
    )
    assert tx.catalog.pipeline("weekly") == second
    assert tx.catalog.pipeline("weekly", 1) == first
    assert tx.catalog.pipeline("weekly", 3) is None
    assert tx.catalog.pipeline("none") is None
    assert tx.catalog.pipelines() == [other, second]


def test_jobs_tell_their_active_run(tx: SqlTransaction) -> None:
    idle, busy = add_job(tx, "idle"), add_job(tx, "busy")
    tx.runs.add(run(busy, "r1"))
    assert tx.catalog.job("idle") == idle
    assert tx.catalog.job("none") is None
    assert [(job.name, job.active_run) for job in tx.catalog.jobs()] == [("busy", "r1"), ("idle", None)]


def test_a_job_name_is_taken_once(tx: SqlTransaction) -> None:
    add_job(tx, "idle")
    with pytest.raises(Conflict, match="idle"):
        add_job(tx, "idle")
    assert add_job(tx, "other").id == 2


def test_releases_come_by_app_and_counter(tx: SqlTransaction) -> None:
    shop10, shop9, till = release("shop", "1.0", 10), release("shop", "0.9", 9), release("till", "1", 1)
    tx.catalog.add_releases([])
    tx.catalog.add_releases([till, shop10, shop9])
    assert tx.catalog.releases() == [shop9, shop10, till]
    assert tx.catalog.releases("shop") == [shop9, shop10]
    assert tx.catalog.release("shop", "1.0") == shop10
    assert tx.catalog.release("till", "1.0") is None


def test_the_newest_release_document_is_served(tx: SqlTransaction) -> None:
    assert tx.catalog.release_document() is None
    tx.catalog.add_release_document(2, b"two", at=NOW)
    tx.catalog.add_release_document(1, b"one", at=at(1))
    assert tx.catalog.release_document() == (2, b"two")


def test_revisions_come_newest_first_in_pages(tx: SqlTransaction) -> None:
    made = [tx.catalog.add_revision("weekly", pipeline(n), author="ann", at=NOW) for n in (1, 2, 3)]
    assert tx.catalog.revisions("weekly", before=None, limit=2) == [made[2], made[1]]
    assert tx.catalog.revisions("weekly", before=2, limit=2) == [made[0]]
    assert tx.catalog.revisions("daily", before=None, limit=2) == []


def test_an_archived_pipeline_is_found_by_its_revisions_alone(tx: SqlTransaction) -> None:
    tx.catalog.add_revision("weekly", pipeline(1), author="ann", at=NOW)
    tx.catalog.archive_pipeline("weekly", at=at(1))
    assert tx.catalog.pipeline("weekly") is None
    assert tx.catalog.pipelines() == []
    [kept] = tx.catalog.revisions("weekly", before=None, limit=9)
    assert tx.catalog.pipeline("weekly", 1) == kept
    assert kept.archived_at == at(1)
    back = tx.catalog.add_revision("weekly", pipeline(1), author="ann", at=at(2))
    assert (back.revision, tx.catalog.pipeline("weekly")) == (2, back)


def test_a_job_is_saved_archived_and_brought_back(tx: SqlTransaction) -> None:
    first = add_job(tx, "idle")
    changed = msgspec.structs.replace(first, pipeline="daily", priority=2)
    tx.catalog.save_job(changed)
    assert tx.catalog.job("idle") == changed
    tx.catalog.archive_job("idle", at=at(1))
    assert (tx.catalog.job("idle"), tx.catalog.jobs()) == (None, [])
    assert add_job(tx, "idle") == first
    assert tx.catalog.job("idle") == first
