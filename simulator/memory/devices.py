"""`controller.app.repositories.Devices` in memory."""

from collections.abc import Collection, Mapping, Sequence
from heapq import nsmallest
from itertools import islice
from typing import Final

import msgspec

from controller.app.records import Candidate, DeviceRecord, Enrolled, Sender, Sighted
from controller.domain.pipeline import Targets
from controller.domain.query import Described, Formula, highest, matches
from controller.domain.selector import formula_of
from protocol.ids import AppName, DeviceId, Name, partition_of
from protocol.messages import InstalledRelease
from protocol.units import Instant
from simulator.memory.journal import Journal

_HELLO: Final = (
    "facts",
    "installed",
    "agent",
    "capabilities",
    "incarnation",
    "hello_seq",
    "seq",
    "instance",
    "connection",
    "is_blocked",
    "is_broken",
    "last_seen_at",
)

_KEPT: Final = ("id", "labels", "seq", "incarnation", "hello_seq", "is_blocked")


class MemoryDevices:
    """Enrolled devices."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._rows: dict[int, DeviceRecord] = {}
        self._ids: dict[Name, int] = {}
        self._named: dict[DeviceId, int] = {}
        self._groups: dict[int, frozenset[str]] = {}

    def add(self, device: DeviceRecord) -> int:
        known = self._rows.get(self._ids.get(device.name, 0))
        added = _enrolled_anew(known, device) if known else msgspec.structs.replace(device, id=len(self._rows) + 1)
        owner = self._named.get(device.device, added.id)
        assert owner == added.id, f"two devices are called {device.device!r}"
        if known is not None and known.device != device.device:
            self._journal.drop(self._named, known.device)
        self._journal.put(self._rows, added.id, added)
        self._journal.put(self._ids, added.name, added.id)
        self._journal.put(self._named, added.device, added.id)
        return added.id

    def by_names(self, names: Collection[Name]) -> dict[Name, DeviceRecord]:
        return {name: self._rows[self._ids[name]] for name in sorted(names) if name in self._ids}

    def senders(self, names: Collection[Name]) -> dict[Name, Sender]:
        return {name: _sender(record) for name, record in self.by_names(names).items()}

    def page(
        self,
        *,
        labels: Mapping[str, str],
        online: bool | None,
        instance: int,
        app: str | None,
        version: str | None,
        after: str,
        limit: int,
        where: Formula | None = None,
    ) -> list[DeviceRecord]:
        found = (
            row
            for row in self._rows.values()
            if row.device > after
            and row.removed_at is None
            and all(row.labels.get(key) == value for key, value in labels.items())
            and online in {None, _is_online(row, instance)}
            and _has_installed(row, app, version)
            and (where is None or matches(where, self.described(row)))
        )
        return nsmallest(limit, found, key=lambda row: row.device)

    def matching(self, targets: Targets) -> list[Candidate]:
        where = formula_of(targets)
        return [
            _candidate(row)
            for row in self._rows.values()
            if not (row.is_blocked or row.is_broken) and matches(where, self.described(row))
        ]

    def candidates(self, ids: Collection[int]) -> list[tuple[Candidate, Described]]:
        rows = [self._rows[id_] for id_ in sorted(set(ids)) if self.is_fit(id_)]
        return [(_candidate(row), self.described(row)) for row in rows]

    def roll(self) -> list[Enrolled]:
        return [Enrolled(row.id, row.device, row.is_blocked, row.is_broken) for row in self._members()]

    def ids(self, where: Formula) -> list[int]:
        return [row.id for row in self._members() if matches(where, self.described(row))]

    def _members(self) -> list[DeviceRecord]:
        return [row for row in self._rows.values() if row.removed_at is None]

    def described(self, row: DeviceRecord) -> Described:
        """Return a device as queries see it."""
        return Described(
            device=row.device,
            model=row.model,
            agent=row.agent,
            labels=row.labels,
            facts=row.facts,
            apps=tuple((one.app, one.version) for one in row.installed),
            groups=self.groups_of(row.id),
        )

    def groups_of(self, device_id: int) -> frozenset[str]:
        """Return the paths of a device's groups."""
        return self._groups.get(device_id, frozenset())

    def members(self, path: str) -> set[int]:
        """Return the ids of the devices of a group itself."""
        return {device_id for device_id, groups in self._groups.items() if path in groups}

    def set_groups(self, device_id: int, groups: frozenset[str]) -> None:
        """Make the groups of a device these."""
        self._journal.put(self._groups, device_id, groups)

    def ids_of(self, devices: Collection[DeviceId]) -> dict[DeviceId, int]:
        """Return the ids of those devices that exist and were not removed."""
        known = {device: self._named[device] for device in devices if device in self._named}
        return {device: id_ for device, id_ in known.items() if self._rows[id_].removed_at is None}

    def last_id(self) -> int:
        """Return the id of the device that was enrolled last, 0 where there is none."""
        return len(self._rows)

    def is_known(self, device_id: int) -> bool:
        """Say whether there is such a device."""
        return device_id in self._rows

    def is_fit(self, device_id: int) -> bool:
        """Say whether a device exists and is neither blocked nor broken."""
        row = self._rows.get(device_id)
        return row is not None and not (row.is_blocked or row.is_broken)

    def get(self, device_id: int) -> DeviceRecord:
        """Return a device that exists."""
        return self._rows[device_id]

    def version_of(self, device_id: int, app: AppName) -> str:
        """Return which version of an app a device has, the highest of several; nothing where it has none."""
        return highest(one.version for one in self._rows[device_id].installed if one.app == app)

    def allocate_seqs(self, ids: Collection[int], *, at: Instant) -> dict[int, int]:
        known = [id_ for id_ in sorted(set(ids)) if id_ in self._rows]
        for id_ in known:
            self._change(id_, seq=max(self._rows[id_].seq + 1, at))
        return {id_: self._rows[id_].seq for id_ in known}

    def save_hello(self, device: DeviceRecord) -> None:
        self._change(device.id, **{name: getattr(device, name) for name in _HELLO})

    def save_installed(self, told: Sequence[tuple[int, Sequence[InstalledRelease], bool | None]]) -> None:
        for device_id, installed, is_broken in told:
            marked = {} if is_broken is None else {"is_broken": is_broken}
            self._change(device_id, installed=tuple(installed), **marked)

    def save_gone(self, device_id: int, *, connection: str, at: Instant) -> bool:
        row = self._rows.get(device_id)
        if row is None or row.connection != connection:
            return False
        self._change(device_id, instance=0, last_seen_at=at)
        return True

    def sighted(self, partitions: Collection[int], *, after: int, limit: int) -> list[Sighted]:
        found = (
            Sighted(row.id, row.name, row.incarnation)
            for row in self._rows.values()
            if row.id > after and row.instance > 0 and partition_of(row.name) in partitions
        )
        return list(islice(found, limit))

    def set_gone(self, ids: Collection[int]) -> None:
        for id_ in sorted(set(ids)):
            self._change(id_, instance=0)

    def set_labels(self, device: DeviceId, labels: Mapping[str, str]) -> None:
        self._change(self._named.get(device, 0), labels=dict(labels))

    def set_blocked(self, device: DeviceId, *, is_blocked: bool) -> None:
        self._change(self._named.get(device, 0), is_blocked=is_blocked)

    def set_removed(self, device: DeviceId, *, at: Instant) -> None:
        self._change(self._named.get(device, 0), is_blocked=True, removed_at=at)

    def set_certificate(self, device_id: int, *, serial: str, expires_at: Instant) -> None:
        self._change(device_id, certificate_serial=serial, certificate_expires_at=expires_at)

    def count(self) -> int:
        return len(self._members())

    def installed_counts(self, app: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for row in self._members():
            for one in row.installed:
                if one.app == app:
                    counts[one.version] = counts.get(one.version, 0) + 1
        return dict(sorted(counts.items()))

    def _change(self, device_id: int, **changes: object) -> None:
        """Change a device; nothing happens to one that there is not, as with an update in SQL."""
        row = self._rows.get(device_id)
        if row is not None:
            self._journal.put(self._rows, device_id, msgspec.structs.replace(row, **changes))


def _enrolled_anew(known: DeviceRecord, device: DeviceRecord) -> DeviceRecord:
    """Return what a new enrolment makes of a device; a blocked one stays blocked, and old hellos are still old."""
    return msgspec.structs.replace(device, **{name: getattr(known, name) for name in _KEPT})


def _is_online(row: DeviceRecord, instance: int) -> bool:
    return row.instance == instance and row.instance > 0


def _has_installed(row: DeviceRecord, app: str | None, version: str | None) -> bool:
    """Say whether one installed release has that app and that version, where they are given."""
    if app is None and version is None:
        return True
    return any(app in {None, one.app} and version in {None, one.version} for one in row.installed)


def _sender(record: DeviceRecord) -> Sender:
    return Sender(**{name: getattr(record, name) for name in Sender.__struct_fields__})


def _candidate(row: DeviceRecord) -> Candidate:
    return Candidate(id=row.id, device=row.device, name=row.name, instance=row.instance, model=row.model)
