"""Bugs in what is taken in and kept: reports, hellos, acknowledgements, the audit log and the store."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import pytest

from controller.app import changes, hello, inbox, reports, wakeups
from controller.app.controller import Controller
from controller.app.errors import StorageUnavailable
from controller.app.inbox import Inbox
from controller.app.records import DeviceRecord, ReportRecord, Sender, TargetRecord
from protocol.envelope import Verified
from protocol.ids import Name
from protocol.lifecycle import Left
from protocol.messages import Hello, Mode, StateReport
from protocol.topics import DownlinkKind
from simulator.memory import journal
from simulator.memory.devices import MemoryDevices
from simulator.memory.log import MemoryLog
from simulator.memory.targets import MemoryTargets
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.fence import NothingAfterThePause
from simulator.virtual.laws.joining import NewcomersJoin
from simulator.virtual.laws.membership import OnlyMembers
from simulator.virtual.laws.outbox import CommittedBeforeSent
from simulator.virtual.laws.pace import InFlightIsBounded
from simulator.virtual.laws.reports import AcknowledgedIsStored, DuplicatesChangeNothing
from simulator.virtual.laws.restart import RestartsWhereItWas
from simulator.virtual.laws.tables import StatesFollowTables
from simulator.virtual.trial import LIVENESS
from tests.simulator.planted.planted import planted, wrap


@planted("Reports are acknowledged before they are committed.", AcknowledgedIsStored)
def acknowledged_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    def around(fold: Any) -> Any:
        def folded(controller: Controller, *rest: Any) -> Any:
            acks = fold(controller, *rest)
            for ack in acks:
                controller.transport.write(ack.name, DownlinkKind.ACK, inbox._sealed(controller, ack.message))
            return acks

        return folded

    wrap(patch, reports, "fold", around)


@planted("Reports are acknowledged although their commit failed.", AcknowledgedIsStored)
def acknowledged_although_the_commit_failed(patch: pytest.MonkeyPatch) -> None:
    def around(store: Any) -> Any:
        async def stored(self: Inbox, batch: Sequence[Any]) -> Any:
            try:
                return await store(self, batch)
            except StorageUnavailable:
                signed = [(d, c) for d, c in batch if isinstance(c, Verified) and not isinstance(c.value, Hello)]
                await self._answer(reports._acks(signed))
                raise

        return stored

    wrap(patch, Inbox, "_store", around)


@planted("A report that comes twice is taken twice.", DuplicatesChangeNothing)
def duplicate_report_is_counted_twice(patch: pytest.MonkeyPatch) -> None:
    def adding(add: Any) -> Any:
        def added(self: MemoryLog, batch: Sequence[ReportRecord]) -> None:
            known = known_reports(self, [_key(report) for report in batch])
            add(self, [report for report in batch if _key(report) not in known])

        return added

    known_reports = MemoryLog.known_reports
    wrap(patch, MemoryLog, "add_reports", adding)
    wrap(patch, MemoryLog, "known_reports", lambda _: lambda _self, _keys: set())


def _key(report: ReportRecord) -> tuple[int, str, int]:
    return report.device_id, report.incarnation, report.report_seq


@planted("A recorded hello is taken for a new one.", DuplicatesChangeNothing)
def replayed_hello_is_accepted(patch: pytest.MonkeyPatch) -> None:
    def around(by_names: Any) -> Any:
        def forgetful(self: MemoryDevices, names: Collection[Name]) -> dict[Name, DeviceRecord]:
            found = by_names(self, names)
            return {name: msgspec.structs.replace(row, hello_seq=0) for name, row in found.items()}

        return forgetful

    wrap(patch, MemoryDevices, "by_names", around)


@planted("The reply to a hello lets work go on in a pause.", NothingAfterThePause)
def reply_to_a_hello_ignores_the_pause(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, hello, "_mode", lambda _: lambda *_args: Mode.GO)


@planted("A device that an attempt left broken is not marked as such.", OnlyMembers)
def broken_device_is_not_marked(patch: pytest.MonkeyPatch) -> None:
    def around(ended: Any) -> Any:
        def mended(self: Any, device: Sender, report: StateReport, row: TargetRecord, **how: bool) -> None:
            is_broken = report.left is Left.BROKEN
            ended(self, device, msgspec.structs.replace(report, left=Left.OLD) if is_broken else report, row, **how)

        return mended

    wrap(patch, reports._Folding, "_ended", around)


@planted("Who comes to match a stage by what a hello says does not join it.", NewcomersJoin, first_seed=130)
def hello_overlooks_newcomers(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, hello, "greet", _with_nobody_joining)


def _with_nobody_joining(act: Any) -> Any:
    def acted(*given: Any) -> Any:
        with pytest.MonkeyPatch.context() as meanwhile:
            meanwhile.setattr(changes, "join", lambda *_given: None)
            return act(*given)

    return acted


@planted("Who comes to match a stage by what a report says does not join it.", NewcomersJoin)
def report_overlooks_newcomers(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, reports, "fold", _with_nobody_joining)


@planted("The audit log begins a new chain after each restart.", LIVENESS)
def audit_chain_breaks_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    lives: list[list[Any]] = [[]]

    def recovering(recover: Any) -> Any:
        def recovered(controller: Controller) -> Any:
            lives.append([])
            return recover(controller)

        return recovered

    def adding(add: Any) -> Any:
        def added(self: MemoryLog, entry: Any) -> None:
            add(self, entry)
            lives[-1].append(entry)

        return added

    wrap(patch, wakeups, "recover", recovering)
    wrap(patch, MemoryLog, "add_audit", adding)
    wrap(patch, MemoryLog, "last_audit", lambda last: lambda self: last(self) if lives[-1] else None)


@planted(
    "A transaction that fails leaves behind what it had written.",
    AcknowledgedIsStored,
    CommittedBeforeSent,
    CountersAddUp,
    InFlightIsBounded,
    StatesFollowTables,
    LIVENESS,
)
def failed_transaction_is_not_taken_back(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, journal, "_take_back", lambda _: lambda _undo: None)


@planted("The store forgets that a device was called back.", RestartsWhereItWas)
def recall_is_not_stored(patch: pytest.MonkeyPatch) -> None:
    def around(save: Any) -> Any:
        def forgetful(self: MemoryTargets, rows: Sequence[TargetRecord]) -> None:
            forgotten = [
                msgspec.structs.replace(row, target=msgspec.structs.replace(row.target, cancel_requested=False))
                for row in rows
            ]
            save(self, forgotten)

        return forgetful

    wrap(patch, MemoryTargets, "save", around)
