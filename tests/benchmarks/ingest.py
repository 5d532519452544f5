"""Taking in signed reports: verified, folded, committed with full sync; beside the signature check alone.

The database is a file; no network is part of it.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from controller.app.ports import Uplinked
from controller.domain.pipeline import Pace
from controller.store.sql_store import SqlStore
from protocol.envelope import verify
from protocol.keys import ring_of
from protocol.lifecycle import AttemptState
from protocol.messages import PayloadType, Report
from protocol.topics import UplinkKind
from tests.benchmarks.measure import Figure, rate
from tests.controller.app.rig import Rig, stage

DEVICES: Final = 1_000
BATCH: Final = 250
STATES: Final = (AttemptState.ACCEPTED, AttemptState.DOWNLOADING, AttemptState.INSTALLING, AttemptState.VERIFYING)


def figures() -> Iterator[Figure]:
    """Measure the reports of a thousand devices that are all at work."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        store = SqlStore.open(f"sqlite:///{Path(folder) / 'bench.db'}")
        store.migrate()
        rig = Rig(store=store, wait=runner.run)
        names = [f"d{number}" for number in range(DEVICES)]
        rig.enrol(*names)
        rig.connect(*names)
        rig.start(stage(pace=Pace(max_in_flight=DEVICES)))
        rounds = [_round(rig, names, state) for state in STATES]
        bound = _bound(rig, rounds[0])
        rates = [_ingest(rig, runner, messages) for messages in rounds]
        store.close()
    yield Figure("ingest signed reports", median(rates), "the same signatures verified, one thread", bound)


def _round(rig: Rig, names: Sequence[str], state: AttemptState) -> list[Uplinked]:
    """Return one report of every device, signed."""
    return [
        Uplinked(name=rig.devices[name].name, kind=UplinkKind.REPORT, payload=rig.signed_report(name, state))
        for name in names
    ]


def _bound(rig: Rig, messages: Sequence[Uplinked]) -> float:
    rings = {device.name: ring_of(device.key.public) for device in rig.devices.values()}

    def work() -> int:
        for message in messages:
            verify(message.payload, PayloadType.REPORT, Report, rings[message.name])
        return len(messages)

    return rate(work, rounds=3)


def _ingest(rig: Rig, runner: asyncio.Runner, messages: Sequence[Uplinked]) -> float:
    begun = time.perf_counter()
    for start in range(0, len(messages), BATCH):
        runner.run(rig.inbox.receive(messages[start : start + BATCH]))
    return len(messages) / (time.perf_counter() - begun)
