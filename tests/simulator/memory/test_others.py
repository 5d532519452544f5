"""Catalogue, credentials and log, on both stores."""

from typing import Any

import msgspec
import pytest

from controller.app.errors import Conflict
from controller.app.records import (
    AuditRecord,
    ClaimRecord,
    EventRecord,
    MomentRecord,
    PipelineRecord,
    ReleaseRecord,
    SecurityRecord,
    TokenRecord,
)
from controller.app.repositories import Transaction
from controller.domain.counters import Tally
from controller.domain.course import Moment
from controller.domain.states import ReleaseState, RunState
from protocol.units import Instant
from tests.controller.store.samples import NOW, add_job, add_run, at, digest, pipeline, report, run
from tests.simulator.memory.both import Either, write


def release(app: str, version: str, counter: int, path: str = "") -> ReleaseRecord:
    return ReleaseRecord(
        app=app,
        version=version,
        path=path or f"{app}/{version}",
        sha256=digest(counter),
        length=10,
        counter=counter,
        floor=1,
        installer="oci",
        hardware=("k1", "k2"),
        published_at=NOW,
    )


def token(name: str, created_at: Instant = NOW) -> TokenRecord:
    return TokenRecord(
        id=f"id-{name}", name=name, role="operator", secret_sha256=name, created_at=created_at, expires_at=None
    )


def claim(secret: str = "s") -> ClaimRecord:
    return ClaimRecord(id="c", secret_sha256=secret, uses_left=2, expires_at=at(10))


def test_every_edit_makes_a_revision(tx: Transaction) -> None:
    first = tx.catalog.add_revision("weekly", pipeline(1), author="ann", at=NOW)
    second = tx.catalog.add_revision("weekly", pipeline(2), author="bob", at=at(1))
    other = tx.catalog.add_revision("daily", pipeline(1, "daily"), author="ann", at=at(2))
    assert second == PipelineRecord(
        id=2, name="weekly", revision=2, definition=pipeline(2), author="bob", created_at=at(1)
    )
    assert (other.id, other.revision) == (3, 1)
    assert tx.catalog.pipeline("weekly") == second
    assert tx.catalog.pipeline("weekly", 1) == first
    assert tx.catalog.pipeline("weekly", 3) is None
    assert tx.catalog.pipeline("none") is None
    assert tx.catalog.pipelines() == [other, second]


def test_jobs_tell_their_active_run(tx: Transaction) -> None:
    idle, busy = add_job(tx, "idle"), add_job(tx, "busy")
    begun = tx.runs.add(run(busy, "r1"))
    assert (tx.catalog.job("idle"), tx.catalog.job("none")) == (idle, None)
    assert [(job.name, job.active_run) for job in tx.catalog.jobs()] == [("busy", "r1"), ("idle", None)]
    tx.runs.save(msgspec.structs.replace(begun, run=msgspec.structs.replace(begun.run, state=RunState.FAILED)))
    assert tx.catalog.job("busy") == busy


def test_a_job_name_is_taken_once(tx: Transaction) -> None:
    add_job(tx, "idle")
    with pytest.raises(Conflict, match="idle"):
        add_job(tx, "idle")
    assert add_job(tx, "other").id == 2


def test_releases_come_by_app_and_counter(tx: Transaction) -> None:
    shop10, shop9, till = release("shop", "1.0", 10), release("shop", "0.9", 9), release("till", "1", 1)
    again = release("shop", "1.0-b", 10)
    tx.catalog.add_releases([])
    tx.catalog.add_releases([till, shop10, shop9, again])
    assert tx.catalog.releases() == [shop9, shop10, again, till]
    assert tx.catalog.releases("shop") == [shop9, shop10, again]
    assert (tx.catalog.release("shop", "1.0"), tx.catalog.release("till", "1.0")) == (shop10, None)


def test_the_state_of_a_release_changes_and_nothing_else_of_it(tx: Transaction) -> None:
    first, second = release("shop", "9", 1), release("shop", "10", 2)
    tx.catalog.add_releases([first, second])
    told = {"state": ReleaseState.WITHDRAWN, "state_reason": "it burns", "state_by": "ann", "state_at": NOW}
    tx.catalog.save_release(msgspec.structs.replace(first, floor=9, **told))
    kept = msgspec.structs.replace(first, **told)
    assert tx.catalog.release("shop", "9") == kept
    assert tx.catalog.releases() == [kept, second]


def test_the_newest_release_document_is_served(tx: Transaction) -> None:
    assert tx.catalog.release_document() is None
    tx.catalog.add_release_document(2, b"two", at=NOW)
    tx.catalog.add_release_document(1, b"one", at=at(1))
    assert tx.catalog.release_document() == (2, b"two")


def test_tokens_are_found_by_hash_and_listed_newest_first(tx: Transaction) -> None:
    old, new, twin = token("old"), token("new", at(5)), token("even", at(5))
    for one in (old, new, twin):
        tx.credentials.add_token(one)
    assert (tx.credentials.token_by_hash("old"), tx.credentials.token_by_hash("none")) == (old, None)
    assert tx.credentials.tokens() == [twin, new, old]


def test_revoking_keeps_the_first_time(tx: Transaction) -> None:
    tx.credentials.add_token(token("a"))
    assert tx.credentials.revoke_token("id-a", at=at(1))
    assert tx.credentials.revoke_token("id-a", at=at(2))
    assert not tx.credentials.revoke_token("id-b", at=at(1))
    assert [one.revoked_at for one in tx.credentials.tokens()] == [at(1)]


def test_a_claim_is_spent_as_often_as_it_may_be(tx: Transaction) -> None:
    tx.credentials.add_claim(claim())
    spent = [tx.credentials.spend_claim(secret, at=when) for secret, when in (("x", NOW), ("s", at(10)), ("s", at(9)))]
    assert spent == [False, False, True]
    assert [tx.credentials.spend_claim("s", at=NOW) for _ in range(2)] == [True, False]


def test_known_reports_are_those_stored_under_the_whole_key(tx: Transaction) -> None:
    other = "f" * 16
    tx.log.add_reports([])
    tx.log.add_reports([report(1, 1), report(1, 2), report(2, 1), report(1, 1, other)])
    keys = [(1, "0123456789abcdef", 1), (1, "0123456789abcdef", 3), (2, other, 1), (1, other, 1)]
    assert tx.log.known_reports(keys) == {keys[0], keys[3]}
    assert tx.log.known_reports([]) == set()


def test_the_timeline_of_a_run(tx: Transaction) -> None:
    first, second = add_run(tx, "r1"), add_run(tx, "r2")
    entries = [
        EventRecord(run_id=run_id, at=NOW, kind="x", data={"n": 3}) for run_id in (first.id, second.id, first.id)
    ]
    tx.log.add_events([])
    tx.log.add_events(entries)
    assert [(e.id, e.data) for e in tx.log.events(first.id, after=0, limit=9)] == [(1, {"n": 3}), (3, {"n": 3})]
    assert [e.id for e in tx.log.events(first.id, after=1, limit=9)] == [3]
    assert [e.id for e in tx.log.events(first.id, after=0, limit=1)] == [1]


def test_turning_points_of_a_run_in_their_order(tx: Transaction) -> None:
    first, second = add_run(tx, "r1"), add_run(tx, "r2")
    tally = Tally(queued=4, in_progress=2, failed=1, started=3, exposed=3, resolved=1, blamed=1)
    kept = [
        MomentRecord(run_id=run_id, stage=1, at=at(number), moment=Moment(at=number, accepted=number, tally=tally))
        for number, run_id in enumerate((first.id, second.id, first.id))
    ]
    tx.log.add_moments([])
    tx.log.add_moments(kept)
    assert tx.log.moments(first.id) == [kept[0], kept[2]]
    assert tx.log.moments(99) == []


def test_turning_points_are_forgotten_of_runs_that_ended_before_an_instant(tx: Transaction) -> None:
    early, late, going = (add_run(tx, f"r{number}") for number in range(3))
    moment = Moment(at=1, accepted=0, tally=Tally(queued=4))
    tx.log.add_moments([MomentRecord(run_id=one.id, stage=0, at=at(1), moment=moment) for one in (early, late, going)])
    for one, ended_at in ((early, 4), (late, 5)):
        tx.runs.save(msgspec.structs.replace(one, ended_at=at(ended_at)))
    tx.log.forget_moments(ended_before=at(5))
    assert [len(tx.log.moments(one.id)) for one in (early, late, going)] == [0, 1, 1]


def test_turning_points_of_a_run_that_was_taken_back_are_not_there_to_be_forgotten(store: Either) -> None:
    def fail(tx: Transaction) -> None:
        moment = Moment(at=1, accepted=0, tally=Tally(queued=4))
        tx.log.add_moments([MomentRecord(run_id=add_run(tx, "r1").id, stage=0, at=at(1), moment=moment)])
        raise LookupError

    with pytest.raises(LookupError):
        write(store, fail)
    write(store, lambda tx: tx.log.forget_moments(ended_before=at(5)))


def test_security_events(tx: Transaction) -> None:
    one = SecurityRecord(at=NOW, name="acme:kiosk-0001", code="replay", digest="", detail="")
    tx.log.add_security([one, one])
    assert [event.id for event in tx.log.security(after=0, limit=9)] == [1, 2]
    assert tx.log.security(after=1, limit=9) == [msgspec.structs.replace(one, id=2)]


def audit(**changes: Any) -> AuditRecord:
    entry = AuditRecord(at=NOW, actor="ann", verb="pause", subject="r1", reason="x", previous="", hash="")
    return msgspec.structs.replace(entry, **changes)


def test_audit_entries_keep_an_id_that_they_bring(tx: Transaction) -> None:
    assert tx.log.last_audit() is None
    for entry in (audit(), audit(id=7), audit(id=5), audit()):
        tx.log.add_audit(entry)
    assert tx.log.last_audit() == audit(id=8)
    assert [entry.id for entry in tx.log.audit(after=0, limit=9)] == [1, 5, 7, 8]
    assert [entry.id for entry in tx.log.audit(after=5, limit=1)] == [7]


def test_the_heartbeat(tx: Transaction) -> None:
    assert tx.log.heartbeat() is None
    tx.log.beat(at(1))
    tx.log.beat(at(2))
    assert tx.log.heartbeat() == at(2)


def begin(tx: Transaction) -> None:
    add_run(tx)
    tx.catalog.add_releases([release("shop", "1", 1)])
    tx.catalog.add_release_document(1, b"", at=NOW)
    tx.credentials.add_token(token("a"))
    tx.credentials.add_claim(claim())
    tx.log.add_reports([report(1, 1)])
    tx.log.add_audit(audit())


BREACHES: dict[str, Any] = {
    "path": lambda tx: tx.catalog.add_releases([release("shop", "2", 2, path="shop/1")]),
    "version": lambda tx: tx.catalog.add_releases([release("shop", "1", 2, path="elsewhere")]),
    "document": lambda tx: tx.catalog.add_release_document(1, b"", at=NOW),
    "token id": lambda tx: tx.credentials.add_token(msgspec.structs.replace(token("a"), secret_sha256="other")),
    "token secret": lambda tx: tx.credentials.add_token(msgspec.structs.replace(token("a"), id="other")),
    "claim id": lambda tx: tx.credentials.add_claim(claim("other")),
    "claim secret": lambda tx: tx.credentials.add_claim(msgspec.structs.replace(claim(), id="other")),
    "report": lambda tx: tx.log.add_reports([report(1, 1)]),
    "event": lambda tx: tx.log.add_events([EventRecord(run_id=9, at=NOW, kind="x", data={})]),
    "audit": lambda tx: tx.log.add_audit(audit(id=1)),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_what_breaks_a_rule_is_a_bug(store: Either, breach: str) -> None:
    write(store, begin)
    with pytest.raises(AssertionError):
        write(store, BREACHES[breach])
