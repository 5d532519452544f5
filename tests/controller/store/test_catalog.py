"""Pipelines, jobs and releases."""

import msgspec
import pytest

from controller.app.errors import Conflict
from controller.app.records import ChannelRecord, PipelineRecord, ReleaseRecord
from controller.domain.parameters import Given
from controller.domain.trigger import OnRelease, OnSchedule, StartRequest
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


def test_a_job_keeps_what_starts_it(tx: SqlTransaction) -> None:
    job = msgspec.structs.replace(
        add_job(tx, "job"),
        triggers=(OnRelease(channel="stable"), OnSchedule(cron="0 2 * * *")),
        next_at=at(5),
        waiting=StartRequest(by="x", at=NOW, version="2", given=Given(parameters={"ring": ("a", "b")}, env={"A": "b"})),
        hook="h",
    )
    tx.catalog.save_job(job)
    assert tx.catalog.job("job") == job


def test_jobs_start_when_their_time_comes_or_nothing_is_in_the_way_of_what_waits(tx: SqlTransaction) -> None:
    idle, busy, later = add_job(tx, "idle"), add_job(tx, "busy"), add_job(tx, "later")
    assert tx.catalog.next_start() is None
    tx.runs.add(run(busy, "r1"))
    waiting = StartRequest(by="x", at=NOW)
    tx.catalog.save_job(msgspec.structs.replace(later, next_at=at(5)))
    tx.catalog.save_job(msgspec.structs.replace(busy, waiting=waiting))
    assert (tx.catalog.next_start(), tx.catalog.startable(at(4))) == (at(5), [])
    assert [job.name for job in tx.catalog.startable(at(5))] == ["later"]
    tx.catalog.save_job(msgspec.structs.replace(idle, waiting=waiting, next_at=at(1)))
    assert tx.catalog.next_start() == 0
    assert [job.name for job in tx.catalog.startable(at(5))] == ["idle", "later"]


def test_channels_hold_releases(tx: SqlTransaction) -> None:
    def record(channel: str, version: str, when: int, app: str = "shop") -> ChannelRecord:
        return ChannelRecord(app=app, channel=channel, version=version, at=at(when), actor="ann")

    old, new, beta, till = (
        record("stable", "1", 1),
        record("stable", "2", 2),
        record("beta", "1", 3),
        record("beta", "1", 0, "till"),
    )
    for each in (old, new, beta, till):
        tx.catalog.add_to_channel(each)
    assert tx.catalog.channels() == [beta, new, old, till]
    assert tx.catalog.remove_from_channel("shop", "stable", "1")
    assert not tx.catalog.remove_from_channel("shop", "stable", "1")
    assert tx.catalog.channels("shop") == [beta, new]


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


def test_an_archived_job_starts_nothing_and_forgets_its_starts_when_it_comes_back(tx: SqlTransaction) -> None:
    first = add_job(tx, "idle")
    waiting = StartRequest(by="x", at=NOW)
    starts = msgspec.structs.replace(
        first, triggers=(OnSchedule(cron="0 2 * * *"),), next_at=at(1), waiting=waiting, hook="h"
    )
    tx.catalog.save_job(starts)
    tx.catalog.archive_job("idle", at=at(1))
    assert (tx.catalog.startable(at(2)), tx.catalog.next_start()) == ([], None)
    assert add_job(tx, "idle") == first
    assert tx.catalog.job("idle") == first
    assert (tx.catalog.startable(at(2)), tx.catalog.next_start()) == ([], None)
