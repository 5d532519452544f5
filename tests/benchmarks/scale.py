"""Opening a stage of a whole large fleet, and a run of 40 stages over it; no network, the database in a file.

Opening is one transaction: on an idle machine its time is also how long everything else waits for the database. A run's
cost for each device is all of it: released, sent, reported, folded, acknowledged; what devices sign and check is in it,
too.
"""

import gc
import time
import tracemalloc
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.app.ports import Priority
from controller.domain.pipeline import Trigger
from controller.store.tables import target_run
from controller.store.target_statements import INSERT
from controller.store.transaction import SqlTransaction
from protocol.codec import encode
from protocol.envelope import seal, verify
from protocol.ids import Name
from protocol.keys import Ed25519Signing, ring_of
from protocol.messages import Ack, PayloadType
from tests.benchmarks.measure import BenchmarkFailed, Cost, Measured, progress, rate
from tests.controller.app.rig import stage
from tests.scale.graph import BY_HAND, STAGE_COUNT, pipeline_stages
from tests.scale.rollout import Rollout, rollout

FLEET: Final = 100_000
SIGNATURES: Final = 3
"""A device's share: its command, its report, the acknowledgement."""
COLUMNS: Final = ", ".join(target_run.c.keys())
"""In the order in which they are inserted; migrations have added columns in another."""
_ROWS: Final = "the same rows inserted by SQLite alone"


def figures(*, devices: int = FLEET) -> Iterator[Measured]:
    """Measure with a fleet of *devices*."""
    yield from _opening(devices)
    yield _memory(devices)
    yield _advance(devices)


def _opening(size: int) -> Iterator[Cost]:
    with rollout(size) as played:
        opened = _opened(played)
        bare = _inserted_alone(played)
    yield Cost(f"open a stage of {size:,} devices", "ms of CPU", opened * 1_000, _ROWS, bare * 1_000)
    yield Cost("open a stage, each device", "µs of CPU", opened / size * 1_000_000, _ROWS, bare / size * 1_000_000)


def _opened(played: Rollout) -> float:
    """Return the seconds of CPU that it takes to open a stage of the whole fleet."""
    played.start(stage(trigger=Trigger.MANUAL))
    gc.collect()
    begun = time.process_time()
    played.promote("all")
    return time.process_time() - begun


def _inserted_alone(played: Rollout) -> float:
    """Return the seconds of CPU that the driver takes to insert the rows of the run again."""

    def work(tx: object) -> float:
        assert isinstance(tx, SqlTransaction)
        connection = tx.devices._connection
        rows = [tuple(row) for row in connection.exec_driver_sql(f"SELECT {COLUMNS} FROM target_run ORDER BY id")]
        connection.exec_driver_sql("DELETE FROM target_run")
        begun = time.process_time()
        INSERT.run(connection, rows)
        return time.process_time() - begun

    return played.runner.run(played.store.write(work, priority=Priority.OPERATOR))


def _memory(size: int) -> Cost:
    """Measure the most memory that opening takes, beside what the devices it is about take in memory."""
    with rollout(size) as played:
        played.start(stage(trigger=Trigger.MANUAL))
        tracemalloc.start()
        candidates = played.runner.run(played.store.read(lambda tx: tx.devices.roll()))
        listed, _ = tracemalloc.get_traced_memory()
        del candidates
        tracemalloc.reset_peak()
        played.promote("all")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    kib = 1_024 * size
    return Cost("open a stage, memory for each", "KiB", peak / kib, "the devices listed in memory", listed / kib)


def _advance(size: int) -> Cost:
    with rollout(size) as played:
        progress(f"a run of {STAGE_COUNT} stages over {size:,} devices")
        begun = time.process_time()
        played.start(*pipeline_stages())
        played.play(lambda run: any(stage.state == "awaiting_promotion" for stage in run.stages))
        played.promote(BY_HAND)
        played.play(lambda run: run.state != "running")
        spent = time.process_time() - begun
        if played.view().state != "succeeded":
            raise BenchmarkFailed(f"the run {played.view().state}: expected it to succeed")
    bound = SIGNATURES * 1_000_000 / _signatures()
    name = f"{STAGE_COUNT} stages, CPU for each device"
    return Cost(name, "µs", spent / size * 1_000_000, f"{SIGNATURES} signatures made and checked", bound)


def _signatures(count: int = 2_000) -> float:
    """Return how many envelopes a second of CPU are signed and checked."""
    key, payload = (
        Ed25519Signing(Ed25519PrivateKey.generate()),
        encode(Ack(device=Name("acme:d"), incarnation="1", stored=(1,))),
    )
    ring = ring_of(key.public)

    def work() -> int:
        for _ in range(count):
            verify(seal(payload, PayloadType.ACK, key), PayloadType.ACK, Ack, ring)
        return count

    return rate(work, rounds=3, clock=time.process_time)
