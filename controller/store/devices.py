"""`controller.app.repositories.Devices` in SQL."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import islice, starmap
from operator import attrgetter
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from controller.app.records import Candidate, DeviceRecord, Enrolled, Sender, Sighted
from controller.domain.pipeline import Targets
from controller.domain.query import Described, Formula, version_key
from controller.domain.selector import formula_of
from controller.store import device_rows
from controller.store.columns import Bulk, one_of
from controller.store.queries import condition
from controller.store.tables import AGENT, device, device_app, device_group, device_label, fleet
from protocol.ids import DeviceId, Name, partition_of
from protocol.messages import InstalledRelease
from protocol.units import Instant

_d = device.c
_b_id: sa.BindParameter[int] = sa.bindparam("b_id")
_next_seq = sa.case((_d.seq >= sa.bindparam("at"), _d.seq + 1), else_=sa.bindparam("at"))

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
_KEPT: Final = frozenset({"id", "labels", "seq", "incarnation", "hello_seq", "is_blocked"})
"""What a new enrolment does not touch.

A blocked device stays blocked until an operator says otherwise. Old hellos stay old: a device may keep its key.
"""

INSERT: Final = sa.insert(device)
LAST_ID: Final = sa.select(sa.func.coalesce(sa.func.max(_d.id), 0))
KNOWN: Final = sa.select(_d.id, _d.removed_at).where(_d.name == sa.bindparam("b_name"))
ID_OF_DEVICE: Final = sa.select(_d.id).where(_d.device == sa.bindparam("b_device"))
BY_ID: Final = sa.select(device).where(_d.id == _b_id)
BY_NAMES: Final = sa.select(device).where(one_of(_d.name, "names"))
SENDERS: Final = sa.select(*(_d[name] for name in Sender.__struct_fields__)).where(one_of(_d.name, "names"))
_is_member = _d.removed_at.is_(None)
ROLL: Final = sa.select(*(_d[name] for name in Enrolled.__struct_fields__)).where(_is_member).order_by(_d.id)
FLEET_ID: Final = 1
REMOVED_COUNT: Final = sa.select(fleet.c.removed_count).where(fleet.c.id == FLEET_ID)
COUNT_REMOVED: Final = (
    sa.update(fleet).where(fleet.c.id == FLEET_ID).values(removed_count=fleet.c.removed_count + sa.bindparam("change"))
)
FIRST_REMOVED: Final = sa.insert(fleet)
REMOVED_AT: Final = sa.select(_d.removed_at).where(_d.device == sa.bindparam("b_device"))
CANDIDATES: Final = sa.select(*(_d[name] for name in Candidate.__struct_fields__)).where(~_d.is_blocked, ~_d.is_broken)
_DESCRIBED: Final = ("agent", "labels", "facts", "installed")
CANDIDATES_AMONG: Final = (
    CANDIDATES.add_columns(*(_d[name] for name in _DESCRIBED)).where(one_of(_d.id, "ids")).order_by(_d.id)
)
GROUPS_AMONG: Final = sa.select(device_group.c.device_id, device_group.c.path).where(
    one_of(device_group.c.device_id, "ids")
)
NEXT_SEQS: Final = sa.update(device).where(one_of(_d.id, "ids")).values(seq=_next_seq)
SEQS: Final = sa.select(_d.id, _d.seq).where(one_of(_d.id, "ids"))
SAVE_HELLO: Final = sa.update(device).where(_d.id == _b_id).values({name: sa.bindparam(name) for name in _HELLO})
SAVE_INSTALLED: Final = Bulk(
    sa.update(device)
    .where(_d.id == _b_id)
    .ordered_values(
        (_d.installed, sa.bindparam("b_installed")),
        (_d.is_broken, sa.func.coalesce(sa.bindparam("b_is_broken"), _d.is_broken)),
    )
)
SAVE_GONE: Final = (
    sa.update(device)
    .where(_d.id == _b_id, _d.connection == sa.bindparam("b_connection"))
    .values(instance=0, last_seen_at=sa.bindparam("at"))
)
SIGHTED: Final = (
    sa.select(*(_d[name] for name in Sighted.__struct_fields__))
    .where(_d.id > sa.bindparam("after"), _d.instance > 0)
    .order_by(_d.id)
)
SET_GONE: Final = sa.update(device).where(one_of(_d.id, "ids")).values(instance=0)
SET_LABELS: Final = sa.update(device).where(_d.device == sa.bindparam("b_device")).values(labels=sa.bindparam("labels"))
SET_BLOCKED: Final = (
    sa.update(device).where(_d.device == sa.bindparam("b_device")).values(is_blocked=sa.bindparam("is_blocked"))
)
SET_REMOVED: Final = (
    sa.update(device)
    .where(_d.device == sa.bindparam("b_device"))
    .values(is_blocked=True, removed_at=sa.bindparam("at"))
)
SET_CERTIFICATE: Final = (
    sa.update(device)
    .where(_d.id == _b_id)
    .values(certificate_serial=sa.bindparam("serial"), certificate_expires_at=sa.bindparam("expires_at"))
)
ENROL_ANEW: Final = (
    sa.update(device)
    .where(_d.id == _b_id)
    .values({column.name: sa.bindparam(column.name) for column in device.c if column.name not in _KEPT})
)

_installed = sa.func.json_each(_d.installed).table_valued("value", name="one_installed")
_app = sa.func.json_extract(_installed.c.value, sa.literal_column("'$.app'"))
_version = sa.func.json_extract(_installed.c.value, sa.literal_column("'$.version'"))
INSTALLED_COUNTS: Final = (
    sa.select(_version, sa.func.count())
    .select_from(sa.join(device, _installed, sa.true()))
    .where(_app == sa.bindparam("app"), _is_member)
    .group_by(_version)
)


class SqlDevices:
    """Enrolled devices."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._loaded: dict[int, DeviceRecord] = {}

    def add(self, device: DeviceRecord) -> int:
        row = msgspec.structs.asdict(device)
        found = self._connection.execute(KNOWN, {"b_name": device.name}).one_or_none()
        if found is not None:
            known: int = found.id
            if found.removed_at is not None:
                self._count_removed(-1)
            kept = {name: value for name, value in row.items() if name not in _KEPT}
            self._connection.execute(ENROL_ANEW, {**kept, "b_id": known})
            self._save_said(known, device)
            return known
        added: int = self._connection.execute(LAST_ID).scalar_one() + 1
        self._connection.execute(INSERT, {**row, "id": added})
        device_rows.save_labels(self._connection, added, device.labels)
        self._save_said(added, device)
        return added

    def by_names(self, names: Collection[Name]) -> dict[Name, DeviceRecord]:
        found = self._all(BY_NAMES, {"names": list(names)})
        self._loaded.update((record.id, record) for record in found)
        return {record.name: record for record in found}

    def senders(self, names: Collection[Name]) -> dict[Name, Sender]:
        rows = self._connection.execute(SENDERS, {"names": list(names)}).all()
        return {sender.name: sender for sender in starmap(Sender, rows)}

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
        statement = sa.select(device).where(_d.device > after, _is_member).order_by(_d.device).limit(limit)
        filters = [_has_label(key, value) for key, value in labels.items()]
        if online is not None:
            filters.append(_is_online(instance) if online else ~_is_online(instance))
        if app is not None or version is not None:
            filters.append(_has_installed(app, version))
        if where is not None:
            filters.append(condition(where))
        return self._all(statement.where(*filters), {})

    def matching(self, targets: Targets) -> list[Candidate]:
        rows = self._connection.execute(CANDIDATES.where(condition(formula_of(targets))))
        return sorted(starmap(Candidate, rows), key=attrgetter("id"))

    def candidates(self, ids: Collection[int]) -> list[tuple[Candidate, Described]]:
        wanted = {"ids": list(ids)}
        groups: defaultdict[int, set[str]] = defaultdict(set)
        members: Sequence[Any] = self._connection.execute(GROUPS_AMONG, wanted).all()
        for device_id, path in members:
            groups[device_id].add(path)
        rows = self._connection.execute(CANDIDATES_AMONG, wanted).mappings()
        return [(_candidate(row), _described(row, groups[row["id"]])) for row in rows]

    def roll(self) -> list[Enrolled]:
        return list(starmap(Enrolled, self._connection.execute(ROLL)))

    def ids(self, where: Formula) -> list[int]:
        return sorted(self._connection.scalars(sa.select(_d.id).where(condition(where), _is_member)))

    def allocate_seqs(self, ids: Collection[int], *, at: Instant) -> dict[int, int]:
        wanted = list(ids)
        self._connection.execute(NEXT_SEQS, {"ids": wanted, "at": at})
        return dict(self._connection.execute(SEQS, {"ids": wanted}).all())

    def save_hello(self, device: DeviceRecord) -> None:
        before = self._loaded.get(device.id) or next(iter(self._all(BY_ID, {"b_id": device.id})), None)
        self._connection.execute(SAVE_HELLO, {"b_id": device.id, **{name: getattr(device, name) for name in _HELLO}})
        if before is not None:
            self._save_said(device.id, device, before)

    def save_installed(self, told: Sequence[tuple[int, Sequence[InstalledRelease], bool | None]]) -> None:
        rows = [(msgspec.json.encode(installed).decode(), is_broken, id_) for id_, installed, is_broken in told]
        SAVE_INSTALLED.run(self._connection, rows)
        last = {id_: installed for id_, installed, _ in told}
        if last:
            apps = {(id_, one.app, one.version) for id_, installed in last.items() for one in installed}
            device_rows.save_apps(self._connection, last.keys(), apps, with_agents=False)
            self._loaded.clear()

    def save_gone(self, device_id: int, *, connection: str, at: Instant) -> bool:
        done = self._connection.execute(SAVE_GONE, {"b_id": device_id, "b_connection": connection, "at": at})
        return done.rowcount > 0

    def sighted(self, partitions: Collection[int], *, after: int, limit: int) -> list[Sighted]:
        rows = self._connection.execute(SIGHTED, {"after": after})
        found = (row for row in starmap(Sighted, rows) if partition_of(row.name) in partitions)
        return list(islice(found, limit))

    def set_gone(self, ids: Collection[int]) -> None:
        self._connection.execute(SET_GONE, {"ids": list(ids)})

    def set_labels(self, device: DeviceId, labels: Mapping[str, str]) -> None:
        found: int | None = self._connection.scalar(ID_OF_DEVICE, {"b_device": device})
        if found is not None:
            self._connection.execute(SET_LABELS, {"b_device": device, "labels": dict(labels)})
            device_rows.save_labels(self._connection, found, labels)

    def set_blocked(self, device: DeviceId, *, is_blocked: bool) -> None:
        self._connection.execute(SET_BLOCKED, {"b_device": device, "is_blocked": is_blocked})

    def set_removed(self, device: DeviceId, *, at: Instant) -> None:
        found = self._connection.execute(REMOVED_AT, {"b_device": device}).one_or_none()
        if found is not None and found.removed_at is None:
            self._count_removed(1)
        self._connection.execute(SET_REMOVED, {"b_device": device, "at": at})

    def set_certificate(self, device_id: int, *, serial: str, expires_at: Instant) -> None:
        values = {"b_id": device_id, "serial": serial, "expires_at": expires_at}
        self._connection.execute(SET_CERTIFICATE, values)

    def count(self) -> int:
        # Ids are given out without gaps and no device is ever deleted; counting would look at each of them.
        removed: int = self._connection.scalar(REMOVED_COUNT) or 0
        return self._connection.execute(LAST_ID).scalar_one() - removed

    def installed_counts(self, app: str) -> dict[str, int]:
        return dict(self._connection.execute(INSTALLED_COUNTS, {"app": app}).all())

    def _count_removed(self, change: int) -> None:
        if not self._connection.execute(COUNT_REMOVED, {"change": change}).rowcount:
            self._connection.execute(FIRST_REMOVED, {"id": FLEET_ID, "removed_count": change})

    def _save_said(self, device_id: int, said: DeviceRecord, before: DeviceRecord | None = None) -> None:
        """Keep the rows equal to what a device said last, where that is not what it said *before*."""
        if before is None or before.facts != said.facts:
            device_rows.save_facts(self._connection, device_id, said.facts)
        if before is None or (before.installed, before.agent) != (said.installed, said.agent):
            apps = {(device_id, one.app, one.version) for one in said.installed}
            if said.agent:
                apps.add((device_id, AGENT, said.agent))
            device_rows.save_apps(self._connection, [device_id], apps, with_agents=True)
        self._loaded[device_id] = said

    def _all(self, statement: sa.Select[Any], values: Mapping[str, object]) -> list[DeviceRecord]:
        return [DeviceRecord(**row) for row in self._connection.execute(statement, values).mappings()]


def _candidate(row: sa.RowMapping) -> Candidate:
    return Candidate(*(row[name] for name in Candidate.__struct_fields__))


def _described(row: sa.RowMapping, groups: Collection[str]) -> Described:
    """Return a device as queries see it."""
    return Described(
        device=row["device"],
        model=row["model"],
        agent=row["agent"],
        labels=row["labels"],
        facts=row["facts"],
        apps=tuple((one.app, one.version) for one in row["installed"]),
        groups=frozenset(groups),
    )


def _is_online(instance: int) -> sa.ColumnElement[bool]:
    return sa.and_(_d.instance == instance, _d.instance > 0)


def _has_label(key: str, value: str) -> sa.ColumnElement[bool]:
    """Return the condition that a label has a value."""
    label = device_label.c
    return _d.id.in_(sa.select(label.device_id).where(label.key == key, label.value == value))


def _has_installed(app: str | None, version: str | None) -> sa.ColumnElement[bool]:
    """Return the condition that one installed release has that app and that version, where they are given."""
    one = device_app.c
    wanted = [one.app != AGENT]
    if app is not None:
        wanted.append(one.app == app)
    if version is not None:
        wanted += [one.version_key == version_key(version), one.version == version]
    return _d.id.in_(sa.select(one.device_id).where(*wanted))
