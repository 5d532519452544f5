"""Records to store."""

from typing import Any

import msgspec

from controller.app.records import CommandRecord, DeviceRecord, JobRecord, ReportRecord, RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.domain.model import Plan, create
from controller.domain.pipeline import Operation, Pipeline, Stage
from controller.domain.target import Target
from controller.store.targets import STAGE_SHIFT
from protocol.ids import AppName, DeviceId, Digest, Name, StageName, digest_of
from protocol.messages import InstalledRelease, Op, ReleaseRef
from protocol.units import Instant

NOW = Instant(1_700_000_000_000)


def at(offset: int) -> Instant:
    return Instant(NOW + offset)


def digest(number: int) -> Digest:
    return digest_of(str(number).encode())


def device(number: int, **changes: Any) -> DeviceRecord:
    record = DeviceRecord(
        device=DeviceId(f"kiosk-{number:04}"),
        name=Name(f"acme:kiosk-{number:04}"),
        model="k2",
        hardware_id=f"hw-{number}",
        signing_key=bytes([number % 256]) * 32,
        sealing_key=b"\1" * 32,
        labels={"region": "eu"},
        certificate_serial=f"{number:x}",
        certificate_expires_at=at(1_000_000),
        enrolled_at=NOW,
    )
    return msgspec.structs.replace(record, **changes)


def installed(app: str, version: str) -> InstalledRelease:
    return InstalledRelease(app=app, version=version, path=f"{app}/{version}", sha256=digest(1), counter=3)


def operation(version: str = "2.1") -> Operation:
    return Operation(app=AppName("shop"), version=version, params={"a": "b"})


def pipeline(stage_count: int = 2, name: str = "weekly") -> Pipeline:
    return Pipeline(name=name, stages=tuple(Stage(name=StageName(f"s{i}")) for i in range(stage_count)))


def plan(stage_count: int = 2) -> Plan:
    return Plan(
        pipeline=pipeline(stage_count),
        revision=1,
        operation=operation(),
        release=ReleaseRef(path="shop/2.1", sha256=digest(1), length=10, counter=3),
        salt="salt",
    )


def add_job(tx: Transaction, name: str = "shop-weekly") -> JobRecord:
    return tx.catalog.add_job(
        JobRecord(name=name, pipeline="weekly", operation=operation(), priority=7, created_at=NOW)
    )


def run(job: JobRecord, uid: str = "r1", stage_count: int = 2, **changes: Any) -> RunRecord:
    wanted = plan(stage_count)
    record = RunRecord(uid=uid, job_id=job.id, job=job.name, plan=wanted, run=create(wanted), created_at=NOW)
    return msgspec.structs.replace(record, **changes)


def add_run(tx: Transaction, uid: str = "r1", stage_count: int = 2) -> RunRecord:
    return tx.runs.add(run(add_job(tx, f"job-of-{uid}"), uid, stage_count))


def add_devices(tx: Transaction, count: int, **changes: Any) -> list[int]:
    return [tx.devices.add(device(number, **changes)) for number in range(1, count + 1)]


def target(run: RunRecord, position: int, device_id: int, *, stage: int = 0, **changes: Any) -> TargetRecord:
    """Return a row; what `changes` names is changed in the row, or else in its target."""
    of_row = {name: changes.pop(name) for name in ("ready", "updated_at", "model") if name in changes}
    record = TargetRecord(
        id=run.stage_ids[stage] << STAGE_SHIFT | position,
        run_id=run.id,
        stage=stage,
        device_id=device_id,
        name=Name(f"acme:kiosk-{device_id:04}"),
        target=msgspec.structs.replace(Target(), **changes),
        updated_at=NOW,
    )
    return msgspec.structs.replace(record, **of_row)


def command(number: int, run: RunRecord, target: TargetRecord | None = None, **changes: Any) -> CommandRecord:
    record = CommandRecord(
        run_id=run.id,
        target_id=None if target is None else target.id,
        device_id=1 if target is None else target.device_id,
        name=Name("acme:kiosk-0001") if target is None else target.name,
        op=Op.INSTALL if target is not None else Op.HOLD,
        attempt=1,
        epoch=1,
        seq=number,
        digest=digest(number),
        payload=f"payload {number}".encode(),
        send_at=at(number),
        expires_at=at(10_000),
        created_at=NOW,
    )
    return msgspec.structs.replace(record, **changes)


def report(device_id: int, seq: int, incarnation: str = "0123456789abcdef") -> ReportRecord:
    return ReportRecord(
        device_id=device_id,
        incarnation=incarnation,
        report_seq=seq,
        command=digest(seq),
        target_id=None,
        attempt=1,
        state="downloading",
        mode="go",
        reason="",
        detail="d" * 120,
        device_at=NOW,
        received_at=NOW,
    )
