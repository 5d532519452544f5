"""A fleet as rows, written at once: enrolling device by device would take longer than the run."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from controller.app.records import DeviceRecord
from controller.domain.query import version_key
from controller.domain.query.evaluate import number_of
from controller.store.columns import Bulk
from controller.store.tables import AGENT, device, device_app, device_fact, device_group, device_label, fleet_group
from protocol.ids import DeviceId, TenantId, device_id, name_of
from protocol.messages import InstalledRelease
from protocol.units import Instant
from tests.scale.graph import STAGE_COUNT

CHUNK: Final = 10_000
BEFORE: Final = InstalledRelease(app="shop", version="0.9.0")
_AGENT: Final = "2.0.0"
_HUNDREDTH: Final = 100
_EVERY: Final = {table: Bulk.insert(table, *table.c.keys()) for table in (device, device_app, device_group)} | {
    table: Bulk.insert(table, *table.c.keys()) for table in (device_label, device_fact, fleet_group)
}


def device_name(number: int) -> DeviceId:
    """Return what device *number* is called."""
    return device_id(f"d{number}")


def stage_of(number: int) -> int:
    """Return the index of the stage that takes device *number*: a hundredth for each, and the rest for the last."""
    return min(number % _HUNDREDTH, STAGE_COUNT - 1)


def insert_fleet(
    connection: sa.Connection, count: int, *, tenant: TenantId, key: bytes, instance: int, at: Instant
) -> None:
    """Write *count* devices that are online at *instance*, have the same key, and are found as `graph` asks."""
    paths = ["fleet", *(f"fleet/w{stage}" for stage in range(STAGE_COUNT))]
    _EVERY[fleet_group].run(connection, [(path, at) for path in paths])
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        records = [_record(number, tenant=tenant, key=key, instance=instance, at=at) for number in numbers]
        _EVERY[device].run(
            connection, [_row(number + 1, record) for number, record in zip(numbers, records, strict=True)]
        )
        _insert_said(connection, zip(numbers, records, strict=True))
        _EVERY[device_group].run(connection, [(f"fleet/w{stage_of(number)}", number + 1) for number in numbers])


def _record(number: int, *, tenant: TenantId, key: bytes, instance: int, at: Instant) -> DeviceRecord:
    stage = stage_of(number)
    return DeviceRecord(
        device=device_name(number),
        name=name_of(tenant, device_name(number)),
        model="k1",
        hardware_id=str(number),
        signing_key=key,
        sealing_key=bytes(32),
        labels={"region": "eu", "wave": f"w{stage}-{number % 7}" if stage % 5 == 4 else f"w{stage}"},
        facts={"os": "linux", "wave": f"w{stage}"},
        installed=(BEFORE,),
        agent=_AGENT,
        instance=instance,
        connection="c1",
        certificate_serial="1",
        certificate_expires_at=at,
        enrolled_at=at,
    )


def _row(id_: int, record: DeviceRecord) -> tuple[object, ...]:
    """Return a device as the driver takes it: columns of JSON as text."""
    values: dict[str, Any] = msgspec.structs.asdict(record) | {"id": id_}
    for name in ("labels", "facts", "installed", "capabilities"):
        values[name] = msgspec.json.encode(values[name]).decode()
    return tuple(values[column.name] for column in device.c)


def _insert_said(connection: sa.Connection, records: Iterable[tuple[int, DeviceRecord]]) -> None:
    labels: list[tuple[object, ...]] = []
    facts: list[tuple[object, ...]] = []
    apps: list[tuple[object, ...]] = []
    for number, record in records:
        labels += _entries(number + 1, record.labels)
        facts += _entries(number + 1, record.facts)
        apps.append((number + 1, AGENT, _AGENT, version_key(_AGENT)))
        apps.append((number + 1, BEFORE.app, BEFORE.version, version_key(BEFORE.version)))
    _EVERY[device_label].run(connection, labels)
    _EVERY[device_fact].run(connection, facts)
    _EVERY[device_app].run(connection, apps)


def _entries(id_: int, told: Any) -> Iterator[tuple[object, ...]]:
    return ((id_, key, value, number_of(value)) for key, value in told.items())
