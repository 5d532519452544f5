"""`controller.app.repositories.Log` in memory."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Generic, TypeVar

import msgspec

from controller.app.records import AnswerRecord, AuditRecord, EventRecord, MomentRecord, ReportRecord, SecurityRecord
from controller.app.repositories import ReportKey
from protocol.units import Instant
from simulator.memory.journal import Journal
from simulator.memory.runs import MemoryRuns

E = TypeVar("E", EventRecord, SecurityRecord, AuditRecord)

_CONTROLLER = "controller"


class MemoryLog:
    """What is only ever added to: reports, run timelines, security events, audit."""

    def __init__(self, journal: Journal, runs: MemoryRuns) -> None:
        self._journal = journal
        self._runs = runs
        self._reports: dict[ReportKey, ReportRecord] = {}
        self._events: _Entries[EventRecord] = _Entries(journal)
        self._timelines: defaultdict[int, _Entries[EventRecord]] = defaultdict(lambda: _Entries(journal))
        self._moments: dict[int, list[MomentRecord]] = {}
        self._security: _Entries[SecurityRecord] = _Entries(journal)
        self._audit: _Entries[AuditRecord] = _Entries(journal)
        self._answers: dict[tuple[str, str], AnswerRecord] = {}
        self._beats: dict[str, Instant] = {}

    def known_reports(self, keys: Collection[ReportKey]) -> set[ReportKey]:
        return {key for key in keys if key in self._reports}

    def add_reports(self, reports: Sequence[ReportRecord]) -> None:
        for report in reports:
            key = report.device_id, report.incarnation, report.report_seq
            assert key not in self._reports, f"report {key} is stored already"
            self._journal.put(self._reports, key, report)

    def add_events(self, events: Sequence[EventRecord]) -> None:
        for event in events:
            assert self._runs.is_known(event.run_id), f"run {event.run_id} does not exist"
            self._timelines[event.run_id].add(self._events.add(event))

    def events(self, run_id: int, *, after: int, limit: int) -> list[EventRecord]:
        return self._timelines[run_id].after(after, limit)

    def add_moments(self, moments: Sequence[MomentRecord]) -> None:
        for moment in moments:
            assert self._runs.is_known(moment.run_id), f"run {moment.run_id} does not exist"
            if moment.run_id not in self._moments:
                self._journal.put(self._moments, moment.run_id, [])
            kept = self._moments[moment.run_id]
            self._journal.insert(kept, len(kept), moment)

    def moments(self, run_id: int) -> list[MomentRecord]:
        return list(self._moments.get(run_id, ()))

    def forget_moments(self, *, ended_before: Instant) -> None:
        for run_id in list(self._moments):
            ended_at = self._runs.get(run_id).ended_at
            if ended_at is not None and ended_at < ended_before:
                self._journal.drop(self._moments, run_id)

    def add_security(self, events: Sequence[SecurityRecord]) -> None:
        for event in events:
            self._security.add(event)

    def security(self, *, after: int, limit: int) -> list[SecurityRecord]:
        return self._security.after(after, limit)

    def last_audit(self) -> AuditRecord | None:
        return self._audit.last()

    def answer(self, actor: str, key: str) -> AnswerRecord | None:
        return self._answers.get((actor, key))

    def add_answer(self, answer: AnswerRecord) -> None:
        place = answer.actor, answer.key
        assert place not in self._answers, f"there is an answer under {place}"
        self._journal.put(self._answers, place, answer)

    def forget_answers(self, *, before: Instant) -> None:
        for place in [place for place, answer in self._answers.items() if answer.at < before]:
            self._journal.drop(self._answers, place)

    def add_audit(self, entry: AuditRecord) -> None:
        self._audit.add(entry)

    def audit(self, *, after: int, limit: int) -> list[AuditRecord]:
        return self._audit.after(after, limit)

    def heartbeat(self) -> Instant | None:
        return self._beats.get(_CONTROLLER)

    def beat(self, at: Instant) -> None:
        self._journal.put(self._beats, _CONTROLLER, at)


class _Entries(Generic[E]):
    """Records in the order of their ids."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._entries: list[E] = []

    def add(self, entry: E) -> E:
        """Add an entry under its own id where it has one, else under the next; return it with its id."""
        last = self.last()
        added = entry if entry.id else msgspec.structs.replace(entry, id=1 if last is None else last.id + 1)
        index = self._place(added.id)
        is_taken = index > 0 and self._entries[index - 1].id == added.id
        assert not is_taken, f"two entries have the id {added.id}"
        self._journal.insert(self._entries, index, added)
        return added

    def last(self) -> E | None:
        """Return the entry with the highest id."""
        return self._entries[-1] if self._entries else None

    def after(self, after: int, limit: int) -> list[E]:
        """Return up to *limit* entries with an id above *after*."""
        first = self._place(after)
        return self._entries[first : first + limit]

    def _place(self, id_: int) -> int:
        return bisect_right(self._entries, id_, key=lambda entry: entry.id)
