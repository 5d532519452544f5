"""What is only ever added to."""

import msgspec
import pytest
import sqlalchemy as sa

from controller.app.records import AuditRecord, EventRecord, MomentRecord, SecurityRecord
from controller.domain.counters import Tally
from controller.domain.course import Moment
from controller.store.transaction import SqlTransaction
from tests.controller.store.samples import NOW, add_run, at, report


def test_known_reports_are_those_stored_under_the_whole_key(tx: SqlTransaction) -> None:
    other = "f" * 16
    tx.log.add_reports([])
    tx.log.add_reports([report(1, 1), report(1, 2), report(2, 1), report(1, 1, other)])
    keys = [(1, "0123456789abcdef", 1), (1, "0123456789abcdef", 3), (2, other, 1), (1, other, 1)]
    assert tx.log.known_reports(keys) == {keys[0], keys[3]}
    assert tx.log.known_reports([]) == set()


def test_many_keys_at_once(tx: SqlTransaction) -> None:
    reports = [report(n, 1) for n in range(2_100)]
    tx.log.add_reports(reports)
    assert len(tx.log.known_reports([(n, "0123456789abcdef", 1) for n in range(3_000)])) == 2_100


def test_a_report_is_stored_once(tx: SqlTransaction) -> None:
    tx.log.add_reports([report(1, 1)])
    with pytest.raises(sa.exc.IntegrityError):
        tx.log.add_reports([report(1, 1)])


def test_the_timeline_of_a_run(tx: SqlTransaction) -> None:
    first, second = add_run(tx, "r1"), add_run(tx, "r2")
    entries = [
        EventRecord(run_id=run_id, at=NOW, kind=kind, data={"text": "é", "count": 3})
        for run_id, kind in ((first.id, "started"), (second.id, "started"), (first.id, "opened"))
    ]
    tx.log.add_events([])
    tx.log.add_events(entries)
    assert [(e.id, e.kind, e.data) for e in tx.log.events(first.id, after=0, limit=9)] == [
        (1, "started", {"text": "é", "count": 3}),
        (3, "opened", {"text": "é", "count": 3}),
    ]
    assert [e.id for e in tx.log.events(first.id, after=1, limit=9)] == [3]
    assert [e.id for e in tx.log.events(first.id, after=0, limit=1)] == [1]


def test_security_events(tx: SqlTransaction) -> None:
    one = SecurityRecord(at=NOW, name="acme:kiosk-0001", code="replay", digest="", detail="")
    tx.log.add_security([one, one])
    assert [event.id for event in tx.log.security(after=0, limit=9)] == [1, 2]
    assert [event.code for event in tx.log.security(after=1, limit=9)] == ["replay"]


def test_audit(tx: SqlTransaction) -> None:
    assert tx.log.last_audit() is None
    for number in (1, 2):
        entry = AuditRecord(
            at=at(number), actor="ann", verb="pause", subject="r1", reason="x", previous="", hash=str(number)
        )
        tx.log.add_audit(entry)
    last = tx.log.last_audit()
    assert last is not None
    assert (last.id, last.hash) == (2, "2")
    assert [entry.id for entry in tx.log.audit(after=0, limit=9)] == [1, 2]
    assert [entry.id for entry in tx.log.audit(after=1, limit=9)] == [2]


def test_the_heartbeat(tx: SqlTransaction) -> None:
    assert tx.log.heartbeat() is None
    tx.log.beat(at(1))
    tx.log.beat(at(2))
    assert tx.log.heartbeat() == at(2)


def test_turning_points_of_a_run_in_their_order(tx: SqlTransaction) -> None:
    first, second = add_run(tx, "r1"), add_run(tx, "r2")
    tally = Tally(queued=4, in_progress=2, failed=1, started=3, exposed=3, resolved=1, blamed=1, bricked=1)
    kept = [
        MomentRecord(run_id=run_id, stage=1, at=at(number), moment=Moment(at=number, accepted=number, tally=tally))
        for number, run_id in enumerate((first.id, second.id, first.id))
    ]
    tx.log.add_moments([])
    tx.log.add_moments(kept)
    assert tx.log.moments(first.id) == [kept[0], kept[2]]
    assert tx.log.moments(99) == []


def test_turning_points_are_forgotten_of_runs_that_ended_before_an_instant(tx: SqlTransaction) -> None:
    early, late, going = (add_run(tx, f"r{number}") for number in range(3))
    moment = Moment(at=1, accepted=0, tally=Tally(queued=4))
    tx.log.add_moments([MomentRecord(run_id=one.id, stage=0, at=at(1), moment=moment) for one in (early, late, going)])
    for one, ended_at in ((early, 4), (late, 5)):
        tx.runs.save(msgspec.structs.replace(one, ended_at=at(ended_at)))
    tx.log.forget_moments(ended_before=at(5))
    assert [len(tx.log.moments(one.id)) for one in (early, late, going)] == [0, 1, 1]
