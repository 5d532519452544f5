"""`controller.app.repositories.Log` in SQL."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from controller.app.records import (
    AnswerRecord,
    AuditRecord,
    EventRecord,
    MomentRecord,
    Record,
    ReportRecord,
    SecurityRecord,
)
from controller.app.repositories import ReportKey
from controller.domain.counters import Tally
from controller.domain.course import Moment
from controller.store.columns import Bulk
from controller.store.tables import TALLY, answer, audit, event, heartbeat, moment, report, run, security_event
from protocol.units import Instant

HEARTBEAT_ID: Final = 1

# SQLite finds no index for a list of whole keys in an IN; it does for a join with one.
_wanted = sa.func.json_each(sa.bindparam("keys")).table_valued("value", name="wanted")
_KEY: Final = (report.c.device_id, report.c.incarnation, report.c.report_seq)
_after: sa.BindParameter[int] = sa.bindparam("after")
_limit = sa.bindparam("limit", type_=sa.Integer)

KNOWN_REPORTS: Final = (
    sa.select(*_KEY)
    .select_from(_wanted.join(report, sa.true()))
    .where(*(column == sa.func.json_extract(_wanted.c.value, f"$[{index}]") for index, column in enumerate(_KEY)))
)
INSERT_REPORTS: Final = Bulk.insert(report, *ReportRecord.__struct_fields__)
INSERT_EVENTS: Final = sa.insert(event)
INSERT_SECURITY: Final = sa.insert(security_event)
INSERT_AUDIT: Final = sa.insert(audit)
EVENTS: Final = (
    sa.select(event)
    .where(event.c.run_id == sa.bindparam("run_id"), event.c.id > _after)
    .order_by(event.c.id)
    .limit(_limit)
)
_OUT: Final = ("out_exposed", "out_blamed", "out_accepted", "share")
_MOMENT: Final = ("run_id", "stage", "at", "run_at", "accepted", *_OUT, *TALLY)
INSERT_MOMENTS: Final = Bulk.insert(moment, *_MOMENT)
MOMENTS: Final = (
    sa.select(*(moment.c[name] for name in _MOMENT[1:]))
    .where(moment.c.run_id == sa.bindparam("run_id"))
    .order_by(moment.c.id)
)
FORGET_MOMENTS: Final = sa.delete(moment).where(
    moment.c.run_id.in_(sa.select(run.c.id).where(run.c.ended_at < sa.bindparam("b_at")))
)
SECURITY: Final = (
    sa.select(security_event).where(security_event.c.id > _after).order_by(security_event.c.id).limit(_limit)
)
AUDIT: Final = sa.select(audit).where(audit.c.id > _after).order_by(audit.c.id).limit(_limit)
LAST_AUDIT: Final = sa.select(audit).order_by(audit.c.id.desc()).limit(1)
ANSWER: Final = sa.select(answer).where(
    answer.c.actor == sa.bindparam("b_actor"), answer.c.key == sa.bindparam("b_key")
)
INSERT_ANSWER: Final = sa.insert(answer)
FORGET_ANSWERS: Final = sa.delete(answer).where(answer.c.at < sa.bindparam("b_at"))
HEARTBEAT: Final = sa.select(heartbeat.c.at).where(heartbeat.c.id == HEARTBEAT_ID)
BEAT: Final = sa.update(heartbeat).where(heartbeat.c.id == HEARTBEAT_ID).values(at=sa.bindparam("b_at"))
FIRST_BEAT: Final = sa.insert(heartbeat)


class SqlLog:
    """What is only ever added to: reports, run timelines, security events, audit."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def known_reports(self, keys: Collection[ReportKey]) -> set[ReportKey]:
        wanted = msgspec.json.encode(list(keys)).decode()
        return {(row[0], row[1], row[2]) for row in self._connection.execute(KNOWN_REPORTS, {"keys": wanted})}

    def add_reports(self, reports: Sequence[ReportRecord]) -> None:
        INSERT_REPORTS.run(self._connection, [msgspec.structs.astuple(record) for record in reports])

    def add_events(self, events: Sequence[EventRecord]) -> None:
        self._insert(INSERT_EVENTS, events)

    def events(self, run_id: int, *, after: int, limit: int) -> list[EventRecord]:
        values = {"run_id": run_id, "after": after, "limit": limit}
        return [EventRecord(**row) for row in self._connection.execute(EVENTS, values).mappings()]

    def add_moments(self, moments: Sequence[MomentRecord]) -> None:
        INSERT_MOMENTS.run(self._connection, [_moment_row(one) for one in moments])

    def moments(self, run_id: int) -> list[MomentRecord]:
        return [_moment(run_id, row) for row in self._connection.execute(MOMENTS, {"run_id": run_id})]

    def forget_moments(self, *, ended_before: Instant) -> None:
        self._connection.execute(FORGET_MOMENTS, {"b_at": ended_before})

    def add_security(self, events: Sequence[SecurityRecord]) -> None:
        self._insert(INSERT_SECURITY, events)

    def security(self, *, after: int, limit: int) -> list[SecurityRecord]:
        rows = self._connection.execute(SECURITY, {"after": after, "limit": limit}).mappings()
        return [SecurityRecord(**row) for row in rows]

    def last_audit(self) -> AuditRecord | None:
        row = self._connection.execute(LAST_AUDIT).mappings().one_or_none()
        return None if row is None else AuditRecord(**row)

    def answer(self, actor: str, key: str) -> AnswerRecord | None:
        row = self._connection.execute(ANSWER, {"b_actor": actor, "b_key": key}).mappings().one_or_none()
        return None if row is None else AnswerRecord(**row)

    def add_answer(self, answer: AnswerRecord) -> None:
        self._connection.execute(INSERT_ANSWER, msgspec.structs.asdict(answer))

    def forget_answers(self, *, before: Instant) -> None:
        self._connection.execute(FORGET_ANSWERS, {"b_at": before})

    def add_audit(self, entry: AuditRecord) -> None:
        self._insert(INSERT_AUDIT, [entry])

    def audit(self, *, after: int, limit: int) -> list[AuditRecord]:
        rows = self._connection.execute(AUDIT, {"after": after, "limit": limit}).mappings()
        return [AuditRecord(**row) for row in rows]

    def heartbeat(self) -> Instant | None:
        return self._connection.scalar(HEARTBEAT)

    def beat(self, at: Instant) -> None:
        if self._connection.execute(BEAT, {"b_at": at}).rowcount == 0:
            self._connection.execute(FIRST_BEAT, {"id": HEARTBEAT_ID, "at": at})

    def _insert(self, statement: sa.Insert, records: Sequence[Record]) -> None:
        """Insert records, each with its own id where it has one, else with the next."""
        if records:
            self._connection.execute(statement, [_to_row(record) for record in records])


def _to_row(record: Record) -> dict[str, Any]:
    row = msgspec.structs.asdict(record)
    if not row["id"]:
        del row["id"]
    return row


def _moment_row(record: MomentRecord) -> tuple[object, ...]:
    moment = record.moment
    out = (getattr(moment, name) for name in _OUT)
    tally = msgspec.structs.astuple(moment.tally)
    return (record.run_id, record.stage, record.at, moment.at, moment.accepted, *out, *tally)


def _moment(run_id: int, row: Sequence[Any]) -> MomentRecord:
    out, tally = dict(zip(_OUT, row[4:8], strict=True)), Tally(**dict(zip(TALLY, row[8:], strict=True)))
    moment = Moment(at=row[2], accepted=row[3], tally=tally, **out)
    return MomentRecord(run_id=run_id, stage=row[0], at=row[1], moment=moment)
