"""A rollout over a fleet of any size: the real controller on a database in a file, and devices that answer at once."""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.app import runs, wakeups
from controller.app.ports import Disposition, Priority, Uplinked
from controller.app.views import RunView
from controller.domain.pipeline import Stage
from controller.store.sql_store import SqlStore
from controller.store.transaction import SqlTransaction
from protocol.ids import DeviceId, Name, name_of, split_name
from protocol.keys import Ed25519Signing
from protocol.lifecycle import AttemptState, Left
from protocol.messages import InstalledRelease
from protocol.reasons import Reason
from protocol.topics import DownlinkKind, UplinkKind
from protocol.units import later
from tests.controller.app.rig import APP, START, TENANT, Device, Rig
from tests.scale.fleet import device_name, insert_fleet

BATCH: Final = 250
LOOKS_MAX: Final = 100_000
ODD: Final = 49
"""Of so many devices one fails for good, and another fails once for a reason that is tried again."""
TALKATIVE: Final = 5
_NEW: Final = InstalledRelease(app=APP, version="1.0.0", counter=1)


class Rollout:
    """One run over a fleet. `asked_max` is the most devices that had a command to answer at once."""

    def __init__(self, store: SqlStore, runner: asyncio.Runner, *, size: int) -> None:
        """Have a fleet of *size* devices, all of them online with the same key."""
        self.size: Final = size
        self.rig: Final = Rig(store=store, wait=runner.run)
        self.store: Final = store
        self.runner: Final = runner
        self._key: Final = Ed25519Signing(Ed25519PrivateKey.generate())
        self.rig.devices = {name: self._device(name) for name in map(device_name, range(size))}
        self._by_name: Final = {device.name: device for device in self.rig.devices.values()}
        self.rig.wire.sessions = dict.fromkeys(self._by_name, 1)
        self._write_fleet()
        self.asked_max = 0
        self.run = ""

    def start(self, *stages: Stage) -> None:
        """Start a run of these stages."""
        self.run = self.rig.start(*stages)

    def promote(self, stage: str) -> None:
        """Open a stage by hand."""
        self.rig.do(runs.promote, run=self.run, stage=stage)

    def view(self) -> RunView:
        """Return the run as people see it."""
        return self.rig.view(self.run)

    def play(self, until: Callable[[RunView], bool]) -> None:
        """Let devices answer and deadlines come, until the run is as wanted."""
        for _ in range(LOOKS_MAX):
            run = self.view()
            if until(run):
                return
            assert run.state == "running", f"the run {run.state}: {run.reason}"
            if not self._answer():
                self._wait()
        raise AssertionError(f"the run did not come there in {LOOKS_MAX} looks: {self.view()}")

    def _answer(self) -> bool:
        """Let every device that was sent a command answer it; say whether there was any."""
        asked = [self._by_name[name] for name, kind, _ in self._written() if kind is DownlinkKind.COMMAND]
        self.asked_max = max(self.asked_max, len(asked))
        for first in range(0, len(asked), BATCH):
            batch = [message for device in asked[first : first + BATCH] for message in self._said(device)]
            assert set(self.rig.receive(batch)) == {Disposition.STORED}
        return bool(asked)

    def _written(self) -> list[tuple[Name, DownlinkKind, bytes]]:
        """Return what was written to devices since the last time; the rig has read it, and nobody needs it any more."""
        written, self.rig.wire.written = self.rig.wire.written, []
        self.rig._read = 0
        return written

    def _said(self, device: Device) -> Iterator[Uplinked]:
        """Yield what a device says to its newest command: how it ended; some say before that they took it."""
        number, attempt = int(split_name(device.name)[1].removeprefix("d")), device.commands[-1][1].attempt
        if number % TALKATIVE == 0:
            yield self._report(device, AttemptState.ACCEPTED)
        match number % ODD, attempt:
            case 7, _:
                yield self._report(device, AttemptState.FAILED, reason=Reason.DISK_FULL, left=Left.OLD)
            case 8, 1:
                yield self._report(device, AttemptState.FAILED, reason=Reason.DOWNLOAD_FAILED, left=Left.OLD)
            case _:
                yield self._report(device, AttemptState.SUCCEEDED, left=Left.NEW, installed=(_NEW,))

    def _report(self, device: Device, state: AttemptState, **said: Any) -> Uplinked:
        payload = self.rig.signed_report(split_name(device.name)[1], state, **said)
        return Uplinked(name=device.name, kind=UplinkKind.REPORT, payload=payload)

    def _wait(self) -> None:
        """Do what is due; time goes on to the next deadline."""
        next_at = self.rig.wait(wakeups.look(self.rig.controller))
        self.rig.pump()
        self.rig.clock.time = max(later(self.rig.clock.time, 1), next_at)

    def _device(self, name: DeviceId) -> Device:
        return Device(name=name_of(TENANT, name), key=self._key)

    def _write_fleet(self) -> None:
        def work(tx: object) -> None:
            assert isinstance(tx, SqlTransaction)
            public, instance = self._key.public, self.rig.wire.instance
            insert_fleet(tx.devices._connection, self.size, tenant=TENANT, key=public, instance=instance, at=START)

        self.rig.wait(self.store.write(work, priority=Priority.OPERATOR))


@contextmanager
def rollout(size: int) -> Iterator[Rollout]:
    """Yield a rollout in a folder of its own, with nothing logged but warnings."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        store = SqlStore.open(f"sqlite:///{Path(folder) / 'scale.db'}")
        store.migrate()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        try:
            yield Rollout(store, runner, size=size)
        finally:
            structlog.reset_defaults()
            store.close()
