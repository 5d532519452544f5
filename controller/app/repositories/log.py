"""What is only ever added to."""

from collections.abc import Collection, Sequence
from typing import Protocol

from controller.app.records import (
    AnswerRecord,
    AuditRecord,
    EventRecord,
    MomentRecord,
    ReportRecord,
    SecurityRecord,
)
from protocol.units import Instant

ReportKey = tuple[int, str, int]
"""(device id, incarnation, report_seq)"""


class Log(Protocol):
    """What is only ever added to: reports, run timelines, security events, audit."""

    def known_reports(self, keys: Collection[ReportKey]) -> set[ReportKey]:
        """Return those that are stored."""

    def add_reports(self, reports: Sequence[ReportRecord]) -> None:
        """Insert reports."""

    def add_events(self, events: Sequence[EventRecord]) -> None:
        """Insert timeline entries."""

    def events(self, run_id: int, *, after: int, limit: int) -> list[EventRecord]:
        """Return timeline entries with an id above *after*."""

    def add_moments(self, moments: Sequence[MomentRecord]) -> None:
        """Insert turning points, in the order in which they were."""

    def moments(self, run_id: int) -> list[MomentRecord]:
        """Return the turning points of a run, in the order in which they were."""

    def forget_moments(self, *, ended_before: Instant) -> None:
        """Delete those of runs that ended before an instant."""

    def add_security(self, events: Sequence[SecurityRecord]) -> None:
        """Insert security events."""

    def security(self, *, after: int, limit: int) -> list[SecurityRecord]:
        """Return security events with an id above *after*."""

    def last_audit(self) -> AuditRecord | None:
        """Return the newest audit entry."""

    def answer(self, actor: str, key: str) -> AnswerRecord | None:
        """Return what *actor* was answered under *key*, or None."""

    def add_answer(self, answer: AnswerRecord) -> None:
        """Insert an answer; there must be none under its actor and key."""

    def forget_answers(self, *, before: Instant) -> None:
        """Delete the answers given before an instant."""

    def add_audit(self, entry: AuditRecord) -> None:
        """Insert an audit entry."""

    def audit(self, *, after: int, limit: int) -> list[AuditRecord]:
        """Return audit entries with an id above *after*."""

    def heartbeat(self) -> Instant | None:
        """Return when the controller last said that it lives."""

    def beat(self, at: Instant) -> None:
        """Say that the controller lives."""
