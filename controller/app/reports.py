"""Folding reports: each is stored once, moves its target along its machine, and is acknowledged after the commit.

The rules this module keeps:

1. A report is known by (device, incarnation, report_seq), with no contiguity; a duplicate changes nothing and is
   acknowledged again.
2. A report of a command that we never gave to that device changes nothing and raises an alarm. Numbers that a device
   tells once its stage has its verdict change nothing.
3. All reports of a batch on one run are folded into one step of that run.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

import msgspec
import structlog

from controller.app import pairing, presence, silence
from controller.app.advance import Advance
from controller.app.changes import notice
from controller.app.consequences import Answer, Consequences
from controller.app.controller import Controller
from controller.app.records import GivenCommand, ReportRecord, SecurityRecord, Sender, TargetRecord
from controller.app.releasing import policy_of
from controller.app.repositories import ReportKey, Transaction
from controller.domain import target as targets
from controller.domain.events import Event, Folded, Woken
from controller.domain.metrics import Pair
from controller.domain.target import (
    Anomaly,
    Delta,
    Marked,
    Measured,
    RecallHeard,
    RefusedCommand,
    Reissue,
    Reported,
    Target,
    TargetState,
)
from protocol.envelope import Verified
from protocol.ids import Digest, Name
from protocol.lifecycle import AttemptState, Left
from protocol.messages import (
    Ack,
    HealthReport,
    InstalledRelease,
    MeasureReport,
    Op,
    RefusalReport,
    Report,
    StateReport,
)
from protocol.reasons import RejectCode, reason_from
from protocol.units import SECOND

log = structlog.get_logger()

SignedReport = tuple[Sender, Verified[Report]]

REISSUE_DELAY_MS: Final = {RejectCode.BUSY: 5 * SECOND, RejectCode.NO_FRESH_TIME: 2 * SECOND}
REISSUE_MS_MIN: Final = SECOND
"""The least time between two commands for one attempt: a device that refuses everything is not answered in a loop."""
UNKNOWN_COMMAND: Final = "unknown-command"
MEASURED: Final = "measured"
"""The state under which the log keeps that a device told numbers."""


def fold(controller: Controller, tx: Transaction, after: Consequences, batch: Sequence[SignedReport]) -> list[Answer]:
    """Store and fold a batch of verified reports; return the acknowledgements to be sent after the commit."""
    if not batch:
        return []
    folding = _Folding(Advance(controller, tx, after), batch)
    folding.fold()
    return _acks(batch)


def _acks(batch: Sequence[SignedReport]) -> list[Answer]:
    stored: dict[tuple[Name, str], list[int]] = defaultdict(list)
    for device, signed in batch:
        stored[device.name, signed.value.incarnation].append(signed.value.report_seq)
    return [
        Answer(name, Ack(device=name, incarnation=incarnation, stored=tuple(seqs)))
        for (name, incarnation), seqs in stored.items()
    ]


class _Folding:
    """One batch: what it needs is loaded once, and what it changed is stored once."""

    def __init__(self, advance: Advance, batch: Sequence[SignedReport]) -> None:
        self.advance = advance
        self.tx = advance.tx
        self.meters = advance.controller.meters
        self.batch = self._new(batch)
        self.commands = self.tx.commands.given({signed.value.command for _, signed in self.batch})
        ids = {c.target_id for c in self.commands.values() if c.target_id is not None}
        self.before = self.tx.targets.get(ids)
        self.now = dict(self.before)
        self.heard: set[int] = set()
        self.told: list[tuple[int, Sequence[InstalledRelease], bool | None]] = []
        self.counts: Counter[str] = Counter()
        self.reissues: dict[int, int] = {}
        self.reports: list[ReportRecord] = []
        self.security: list[SecurityRecord] = []

    def _new(self, batch: Sequence[SignedReport]) -> list[SignedReport]:
        keyed = {_key(device, signed.value): (device, signed) for device, signed in batch}
        known = self.tx.log.known_reports(keyed.keys())
        return [report for key, report in keyed.items() if key not in known]

    def fold(self) -> None:
        """Fold every new report, then let the runs settle."""
        for device, signed in self.batch:
            self._one(device, signed.value)
        self.tx.log.add_reports(self.reports)
        self.tx.log.add_security(self.security)
        self.tx.devices.save_installed(self.told)
        self._watch()
        self.tx.targets.save([row for key, row in self.now.items() if row is not self.before[key]])
        self.tx.commands.close(self.heard)
        pairs = self._pair()
        self._reissue()
        self._settle(pairs)
        self.advance.finish()
        for state, count in self.counts.items():
            self.meters.reports.labels(state=state).inc(count)

    def _watch(self) -> None:
        """Begin the silence of those that have succeeded and are not connected: a report may come after the will."""
        done = [row for key, row in self.now.items() if row.target.watched_until is not None]
        began = [row for row in done if self.before[row.id].target.watched_until is None]
        self.now |= {row.id: row for row in silence.of_success(self.advance, began)}

    def _pair(self) -> dict[int, dict[int, list[Pair]]]:
        """Compare what updated devices have told now with what others told; return that by run and stage."""
        told = [row for key, row in self.now.items() if _is_told(self.before[key].target, row.target)]
        pairs: dict[int, dict[int, list[Pair]]] = defaultdict(lambda: defaultdict(list))
        matches = list(pairing.matches(self.advance, sorted(told, key=lambda row: row.id)))
        for match in matches:
            pairs[match.updated.run_id][match.updated.stage].append(match.pair)
            for row in match:
                self.before.setdefault(row.id, row)
                self.now[row.id] = pairing.paired(row, self.advance)
        self.tx.targets.save([self.now[row.id] for match in matches for row in match])
        return pairs

    def _one(self, device: Sender, report: Report) -> None:
        command = self.commands.get(report.command)
        if command is not None and command.device_id != device.id:
            command = None
        row = self.now.get(command.target_id) if command is not None and command.target_id is not None else None
        self.reports.append(_record(device, report, row, self.advance))
        match report:
            case StateReport():
                self.counts[report.state.value] += 1
                if command is None:
                    self._alarm(device, UNKNOWN_COMMAND, report.command, f"reports {report.state} of run {report.run}")
                elif row is None:
                    self._control_heard(device, report, command)
                else:
                    self._state(device, report, command, row)
            case HealthReport() | MeasureReport():
                told = MEASURED if isinstance(report, MeasureReport) else report.mark.value
                self.counts[told] += 1
                if command is None:
                    self._alarm(device, UNKNOWN_COMMAND, report.command, f"reports {told} of run {report.run}")
                elif row is not None:
                    self._watched(device, report, command, row)
            case RefusalReport():
                self.meters.refusals.labels(code=report.code.value).inc()
                self._alarm(device, report.code.value, report.command, report.detail)
                if row is not None and command is not None:
                    self._refusal(report, row, command)

    def _control_heard(self, device: Sender, report: StateReport, command: GivenCommand) -> None:
        """Take note that a control command was heard; a recalled device that has no work says attempt 0."""
        if command.op is not Op.CANCEL or report.attempt != 0:
            return
        row = self.tx.targets.at_work(device.id)
        if row is None or row.run_id != command.run_id:
            return
        self.before.setdefault(row.id, row)
        current = self.now.setdefault(row.id, row)
        self._step(current, RecallHeard(at=self._run_time(current)))

    def _state(self, device: Sender, report: StateReport, command: GivenCommand, row: TargetRecord) -> None:
        event = Reported(
            at=self._run_time(row),
            attempt=command.attempt,
            state=report.state,
            reason=reason_from(report.reason) if report.reason else None,
            detail=report.detail,
            left=report.left,
            outputs=report.outputs,
        )
        after = self._step(row, event)
        is_current = command.digest == after.command
        is_end = report.state.is_terminal and command.attempt == after.attempt
        if (is_current and command.is_open) or (is_end and not is_current):
            self.heard.add(row.id)
        if is_end or (report.state.is_terminal and after.left is None):
            # Of the current attempt the device has told no end: what an earlier one left it with still holds.
            is_late = not is_end or row.target.state is not TargetState.IN_PROGRESS
            self._ended(device, report, row, is_late=is_late)

    def _ended(self, device: Sender, report: StateReport, row: TargetRecord, *, is_late: bool) -> None:
        if report.left is not None:
            is_broken = report.left is Left.BROKEN
            told = None if is_late and not is_broken else is_broken
            self.told.append((device.id, report.installed, told))
        log.info(
            "attempt_ended",
            run_id=self.advance.record(row.run_id).uid,
            device_id=device.device,
            state=report.state.value,
            reason=report.reason,
            attempt=report.attempt,
        )

    def _watched(
        self, device: Sender, report: HealthReport | MeasureReport, command: GivenCommand, row: TargetRecord
    ) -> None:
        if isinstance(report, HealthReport):
            self._health(device, report, command, row)
        elif self.advance.record(row.run_id).run.stages[row.stage].is_comparing:
            # A report may have waited for its device to be connected again; its clock is nobody's proof of the future.
            told_at = min(report.at, self.advance.at)
            self._step(row, Measured(attempt=command.attempt, outputs=report.outputs, told_at=told_at))

    def _health(self, device: Sender, report: HealthReport, command: GivenCommand, row: TargetRecord) -> None:
        self._step(row, Marked(attempt=command.attempt, mark=report.mark, detail=report.detail))
        log.info(
            "release_watched",
            run_id=self.advance.record(row.run_id).uid,
            device_id=device.device,
            mark=report.mark.value,
            attempt=report.attempt,
            count=report.count,
        )

    def _refusal(self, report: RefusalReport, row: TargetRecord, command: GivenCommand) -> None:
        event = RefusedCommand(at=self._run_time(row), command=report.command, code=report.code)
        after = self._step(row, event)
        if after.attempt_state is not AttemptState.SENT:
            self.heard.add(row.id)
        if row.id in self.reissues:
            age = self.advance.at - command.created_at
            self.reissues[row.id] = max(REISSUE_DELAY_MS.get(report.code, 0), REISSUE_MS_MIN - age)

    def _step(self, row: TargetRecord, event: targets.Event) -> Target:
        record = self.advance.record(row.run_id)
        after, effects = targets.step(row.target, event, policy_of(record, row))
        for effect in effects:
            match effect:
                case Anomaly():
                    self.meters.anomalies.labels(kind=effect.kind).inc()
                    log.warning("report_out_of_place", kind=effect.kind, run_id=record.uid, device=row.name)
                case Reissue():
                    self.reissues[row.id] = 0
        if after != row.target:
            self.now[row.id] = msgspec.structs.replace(row, target=after, updated_at=self.advance.at)
        return after

    def _reissue(self) -> None:
        for target_id, delay_ms in self.reissues.items():
            row = self.now[target_id]
            record = self.advance.record(row.run_id)
            if record.run.may_send(self.advance.at) and row.target.attempt_state is AttemptState.SENT:
                self.advance.releasing.reissue(record, [row], delay_ms=delay_ms)

    def _settle(self, pairs: Mapping[int, Mapping[int, Sequence[Pair]]]) -> None:
        deltas: dict[int, dict[int, list[Delta]]] = defaultdict(lambda: defaultdict(list))
        freed: list[TargetRecord] = []
        for key, row in self.now.items():
            before = self.before[key]
            if row is not before:
                deltas[row.run_id][row.stage].append(before.delta(row.target))
                if before.target.state is not row.target.state:
                    freed.append(row)
        waiting = presence.freed(self.advance.controller, self.tx, freed) if freed else []
        events: dict[int, Event] = {run_id: Woken(at=self.advance.at) for run_id in sorted(waiting)}
        for run_id, stages in deltas.items():
            folded = {stage: tuple(changes) for stage, changes in stages.items()}
            told = {stage: tuple(some) for stage, some in pairs.get(run_id, {}).items()}
            events[run_id] = Folded(at=self.advance.at, deltas=folded, pairs=told)
        notice(self.advance, {device_id for device_id, _, _ in self.told}, besides=events)

    def _run_time(self, row: TargetRecord) -> int:
        return self.advance.record(row.run_id).run.clock.run_time(self.advance.at)

    def _alarm(self, device: Sender, code: str, digest: Digest, detail: str) -> None:
        log.warning("security_event", device=device.name, code=code, digest=digest)
        self.security.append(
            SecurityRecord(at=self.advance.at, name=device.name, code=code, digest=digest, detail=detail)
        )


def _is_told(before: Target, after: Target) -> bool:
    """Say whether an updated device told numbers that are to be compared."""
    return before.measured_at is None and after.measured_at is not None and not after.is_control


def _key(device: Sender, report: Report) -> ReportKey:
    return device.id, report.incarnation, report.report_seq


def _record(device: Sender, report: Report, row: TargetRecord | None, advance: Advance) -> ReportRecord:
    match report:
        case StateReport():
            attempt, state, mode, reason = report.attempt, report.state.value, report.mode.value, report.reason
        case RefusalReport():
            attempt, state, mode, reason = 0, "refused", "", report.code.value
        case HealthReport():
            attempt, state, mode, reason = report.attempt, report.mark.value, "", ""
        case MeasureReport():
            attempt, state, mode, reason = report.attempt, MEASURED, "", ""
        case _:
            assert_never(report)
    return ReportRecord(
        device_id=device.id,
        incarnation=report.incarnation,
        report_seq=report.report_seq,
        command=report.command,
        target_id=None if row is None else row.id,
        attempt=attempt,
        state=state,
        mode=mode,
        reason=reason,
        detail=report.detail,
        device_at=report.at,
        received_at=advance.at,
    )
