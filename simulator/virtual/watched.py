"""A transaction that notes what is written through it, so that an oracle outside sees every committed change."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.app.records import (
    AuditRecord,
    ChannelRecord,
    CommandRecord,
    DeviceRecord,
    EventRecord,
    FreezeRecord,
    JobRecord,
    PipelineRecord,
    ReportRecord,
    RunRecord,
    TargetRecord,
)
from controller.app.repositories import Transaction
from controller.domain.admission import Hold, Pin, UpgradePath
from controller.domain.freeze import Freeze
from controller.domain.pipeline import Pipeline
from protocol.ids import DeviceId
from protocol.messages import InstalledRelease
from protocol.units import Instant


@dataclass(slots=True)
class Changes:
    """What one transaction wrote, in the order of writing."""

    runs: list[RunRecord] = field(default_factory=list)
    targets: list[TargetRecord] = field(default_factory=list)
    commands: list[CommandRecord] = field(default_factory=list)
    voided: list[int] = field(default_factory=list)
    reports: list[ReportRecord] = field(default_factory=list)
    hellos: list[DeviceRecord] = field(default_factory=list)
    blocked: list[tuple[DeviceId, bool]] = field(default_factory=list)
    removed: list[DeviceId] = field(default_factory=list)
    enrolled: list[tuple[int, DeviceRecord]] = field(default_factory=list)
    labelled: list[tuple[DeviceId, Mapping[str, str]]] = field(default_factory=list)
    installed: list[tuple[int, bool]] = field(default_factory=list)
    said: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    grouped: list[tuple[str, Collection[int], bool]] = field(default_factory=list)
    revisions: list[PipelineRecord] = field(default_factory=list)
    jobs: list[JobRecord] = field(default_factory=list)
    channels: list[ChannelRecord] = field(default_factory=list)
    held: list[tuple[int, Hold | None]] = field(default_factory=list)
    pinned: list[tuple[int, str | None]] = field(default_factory=list)
    paths: list[tuple[str, UpgradePath | None]] = field(default_factory=list)
    kept_out: list[TargetRecord] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    calendar: list[tuple[str, Freeze | None]] = field(default_factory=list)
    authors: list[tuple[str, int, str]] = field(default_factory=list)
    audit: list[AuditRecord] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    is_mark: bool = False


class _Watched:
    """One repository: what is not overridden goes straight through."""

    __slots__ = ("_changes", "_inner")

    def __init__(self, inner: Any, changes: Changes) -> None:
        self._inner = inner
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Catalog(_Watched):
    __slots__ = ()

    def add_revision(self, name: str, definition: Pipeline, *, author: str, at: Instant) -> PipelineRecord:
        added: PipelineRecord = self._inner.add_revision(name, definition, author=author, at=at)
        self._changes.revisions.append(added)
        self._changes.authors.append((name, added.revision, author))
        return added

    def save_job(self, job: JobRecord) -> None:
        self._inner.save_job(job)
        self._changes.jobs.append(job)

    def add_to_channel(self, record: ChannelRecord) -> None:
        self._inner.add_to_channel(record)
        self._changes.channels.append(record)


class _Devices(_Watched):
    __slots__ = ()

    def add(self, device: DeviceRecord) -> int:
        device_id: int = self._inner.add(device)
        self._changes.enrolled.append((device_id, device))
        return device_id

    def set_removed(self, device: DeviceId, *, at: Instant) -> None:
        self._inner.set_removed(device, at=at)
        self._changes.removed.append(device)
        self._changes.blocked.append((device, True))

    def set_blocked(self, device: DeviceId, *, is_blocked: bool) -> None:
        self._inner.set_blocked(device, is_blocked=is_blocked)
        self._changes.blocked.append((device, is_blocked))

    def set_labels(self, device: DeviceId, labels: Mapping[str, str]) -> None:
        self._inner.set_labels(device, labels)
        self._changes.labelled.append((device, dict(labels)))

    def save_gone(self, device_id: int, *, connection: str, at: Instant) -> bool:
        is_current: bool = self._inner.save_gone(device_id, connection=connection, at=at)
        if is_current:
            self._changes.gone.append(device_id)
        return is_current

    def set_gone(self, ids: Collection[int]) -> None:
        self._inner.set_gone(ids)
        self._changes.unseen.extend(ids)

    def save_hello(self, device: DeviceRecord) -> None:
        self._inner.save_hello(device)
        self._changes.hellos.append(device)
        said = {"facts": dict(device.facts), "apps": _apps(device.installed), "agent": device.agent}
        self._changes.said.append((device.id, said))

    def save_installed(self, told: Sequence[tuple[int, Sequence[InstalledRelease], bool | None]]) -> None:
        self._inner.save_installed(told)
        self._changes.installed.extend(
            (device_id, is_broken) for device_id, _, is_broken in told if is_broken is not None
        )
        self._changes.said.extend((device_id, {"apps": _apps(installed)}) for device_id, installed, _ in told)


class _Groups(_Watched):
    __slots__ = ()

    def add_members(self, path: str, ids: Collection[int]) -> int:
        changed: int = self._inner.add_members(path, ids)
        self._changes.grouped.append((path, frozenset(ids), True))
        return changed

    def drop_members(self, path: str, ids: Collection[int]) -> int:
        changed: int = self._inner.drop_members(path, ids)
        self._changes.grouped.append((path, frozenset(ids), False))
        return changed


class _Restraints(_Watched):
    __slots__ = ()

    def hold(self, device_id: int, hold: Hold) -> None:
        self._inner.hold(device_id, hold)
        self._changes.held.append((device_id, hold))

    def unhold(self, device_id: int) -> bool:
        self._changes.held.append((device_id, None))
        return bool(self._inner.unhold(device_id))

    def pin(self, device_id: int, pin: Pin) -> None:
        self._inner.pin(device_id, pin)
        self._changes.pinned.append((device_id, pin.versions))

    def unpin(self, device_id: int, app: str) -> bool:
        self._changes.pinned.append((device_id, None))
        return bool(self._inner.unpin(device_id, app))

    def set_path(self, app: str, version: str, path: UpgradePath | None) -> None:
        self._inner.set_path(app, version, path)
        self._changes.paths.append((version, path))


class _Runs(_Watched):
    __slots__ = ()

    def add(self, run: RunRecord) -> RunRecord:
        added: RunRecord = self._inner.add(run)
        self._changes.runs.append(added)
        return added

    def save(self, run: RunRecord) -> None:
        self._inner.save(run)
        self._changes.runs.append(run)


class _Targets(_Watched):
    __slots__ = ()

    def add(self, targets: Sequence[TargetRecord]) -> None:
        self._inner.add(targets)
        self._changes.targets.extend(targets)

    def save(self, targets: Sequence[TargetRecord]) -> None:
        self._inner.save(targets)
        self._changes.targets.extend(targets)

    def block(self, targets: Sequence[TargetRecord]) -> None:
        self._inner.block(targets)
        self._changes.kept_out.extend(targets)


class _Commands(_Watched):
    __slots__ = ()

    def add(self, commands: Sequence[CommandRecord]) -> list[CommandRecord]:
        added: list[CommandRecord] = self._inner.add(commands)
        self._changes.commands.extend(added)
        return added

    def void(self, *, run_id: int, stage: int | None) -> list[int]:
        return self._closed(self._inner.void(run_id=run_id, stage=stage))

    def close(self, target_ids: Collection[int]) -> list[int]:
        return self._closed(self._inner.close(target_ids))

    def drop(self, ids: Collection[int]) -> list[int]:
        return self._closed(self._inner.drop(ids))

    def _closed(self, ids: list[int]) -> list[int]:
        self._changes.voided.extend(ids)
        return ids

    def mark_sent(self, ids: Collection[int], **again_at: Any) -> None:
        self._inner.mark_sent(ids, **again_at)
        self._changes.is_mark = True


class _Tenant(_Watched):
    __slots__ = ()

    def add_freeze(self, record: FreezeRecord) -> None:
        self._inner.add_freeze(record)
        self._changes.calendar.append((record.name, record.freeze))

    def drop_freeze(self, name: str) -> None:
        self._inner.drop_freeze(name)
        self._changes.calendar.append((name, None))


class _Log(_Watched):
    __slots__ = ()

    def add_reports(self, reports: Sequence[ReportRecord]) -> None:
        self._inner.add_reports(reports)
        self._changes.reports.extend(reports)

    def add_events(self, events: Sequence[EventRecord]) -> None:
        self._inner.add_events(events)
        self._changes.events.extend(events)

    def add_audit(self, entry: AuditRecord) -> None:
        self._inner.add_audit(entry)
        self._changes.audit.append(entry)


class Watched:
    """A transaction; implements `controller.app.repositories.Transaction`."""

    __slots__ = (
        "catalog",
        "commands",
        "credentials",
        "devices",
        "groups",
        "log",
        "restraints",
        "runs",
        "targets",
        "tenant",
        "watches",
    )

    def __init__(self, inner: Transaction, changes: Changes) -> None:
        self.catalog = _Catalog(inner.catalog, changes)
        self.credentials = inner.credentials
        self.restraints = _Restraints(inner.restraints, changes)
        self.tenant = _Tenant(inner.tenant, changes)
        self.commands = _Commands(inner.commands, changes)
        self.devices = _Devices(inner.devices, changes)
        self.groups = _Groups(inner.groups, changes)
        self.log = _Log(inner.log, changes)
        self.runs = _Runs(inner.runs, changes)
        self.targets = _Targets(inner.targets, changes)
        self.watches = inner.watches


def _apps(installed: Sequence[InstalledRelease]) -> tuple[tuple[str, str], ...]:
    return tuple((one.app, one.version) for one in installed)
