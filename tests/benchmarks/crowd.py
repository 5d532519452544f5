"""A fleet of any size behind one controller, without a network, in which the first devices of a run are at work."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.app.ports import Compute, Disposition, Priority, Uplinked
from controller.app.records import DeviceRecord
from controller.domain.pipeline import Pace
from controller.store.sql_store import SqlStore
from controller.store.tables import device as table
from controller.store.transaction import SqlTransaction
from protocol.ids import Name, device_id, name_of
from protocol.keys import Ed25519Signing
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease
from protocol.topics import UplinkKind
from tests.controller.app.rig import APP, START, TENANT, Device, Inline, Rig, stage

CHUNK: Final = 10_000
BUILD: Final = InstalledRelease(app=APP, version="1.0.0", counter=1)


class _Devices(dict[str, Device]):
    """The devices that something was sent to; of the others there are only rows."""

    def __missing__(self, name: str) -> Device:
        key = Ed25519Signing(Ed25519PrivateKey.generate())
        self[name] = Device(name=name_of(TENANT, device_id(name)), key=key)
        return self[name]


class Crowd:
    """A rig over a database in a file, with *size* devices online, *at_work* of which were sent a command."""

    def __init__(self, store: SqlStore, runner: asyncio.Runner, *, size: int, at_work: int, compute: Compute) -> None:
        """Enrol the devices, start a run over all of them, and let the first take their commands."""
        self.size: Final = size
        self._store: Final = store
        self._runner: Final = runner
        self.rig: Final = Rig(store=store, wait=runner.run, compute=compute, release_batch_max=at_work)
        self.rig.devices = _Devices()
        names = [f"d{number}" for number in range(size)]
        self.rig.wire.sessions = dict.fromkeys((_name(name) for name in names), 1)
        for start in range(0, size, CHUNK):
            self._enrol(names[start : start + CHUNK], first_id=start + 1)
        self.rig.start(stage(pace=Pace(max_in_flight=at_work)))
        self.names: Final[Sequence[str]] = list(self.rig.devices)
        assert len(self.names) == at_work, f"{len(self.names)} devices are at work: expected {at_work}"
        self._give_keys()

    def reports(self, state: AttemptState) -> list[Uplinked]:
        """Return a signed report of every device at work, in dispatch order."""
        says: dict[str, Any] = {"left": Left.NEW, "installed": (BUILD,)} if state is AttemptState.SUCCEEDED else {}
        return [self.say(name, UplinkKind.REPORT, self.rig.signed_report(name, state, **says)) for name in self.names]

    def say(self, name: str, kind: UplinkKind, payload: bytes) -> Uplinked:
        """Return a message of a device."""
        return Uplinked(name=self.rig.devices[name].name, kind=kind, payload=payload)

    def receive(self, batch: Sequence[Uplinked]) -> None:
        """Take a batch in; all of it must be stored."""
        dispositions = self._runner.run(self.rig.inbox.receive(batch))
        assert set(dispositions) == {Disposition.STORED}, f"some of the batch was refused: {set(dispositions)}"

    def _enrol(self, names: Sequence[str], *, first_id: int) -> None:
        rows = [
            {**msgspec.structs.asdict(_record(name, self.rig.wire.instance)), "id": first_id + index}
            for index, name in enumerate(names)
        ]
        self._write(sa.insert(table), rows)

    def _give_keys(self) -> None:
        """Store the keys of the devices at work; the others say nothing and have none."""
        keys = [{"b_name": device.name, "b_key": device.key.public} for device in self.rig.devices.values()]
        statement = sa.update(table).where(table.c.name == sa.bindparam("b_name"))
        self._write(statement.values(signing_key=sa.bindparam("b_key")), keys)

    def _write(self, statement: sa.Insert | sa.Update, rows: Sequence[dict[str, Any]]) -> None:
        def work(tx: object) -> None:
            assert isinstance(tx, SqlTransaction)
            tx.devices._connection.execute(statement, rows)

        self._runner.run(self._store.write(work, priority=Priority.OPERATOR))


@contextmanager
def crowd(size: int, *, at_work: int, compute: Compute | None = None) -> Iterator[Crowd]:
    """Yield a crowd in a folder of its own; one thread signs and verifies, unless *compute* says otherwise."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        store = SqlStore.open(f"sqlite:///{Path(folder) / 'bench.db'}")
        store.migrate()
        try:
            yield Crowd(store, runner, size=size, at_work=at_work, compute=compute or Inline())
        finally:
            store.close()


def _name(name: str) -> Name:
    return name_of(TENANT, device_id(name))


def _record(name: str, instance: int) -> DeviceRecord:
    return DeviceRecord(
        device=device_id(name),
        name=_name(name),
        model="k1",
        hardware_id=name,
        signing_key=bytes(32),
        sealing_key=bytes(32),
        instance=instance,
        certificate_serial="1",
        certificate_expires_at=START,
        enrolled_at=START,
    )
