"""Taking in what devices say: verified, folded, committed with full sync; beside the signature check alone.

The database is a file; no network is part of it. A thousand devices are at work, in a fleet of a thousand and in a
large one by turns, so that the two costs of a report can be compared. One thread computes, unless the name of a
figure says otherwise.
"""

import gc
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from statistics import median
from typing import Final

import structlog

from controller.app.ports import Uplinked
from controller.bootstrap import SWITCH_INTERVAL_S, Threads
from controller.observe import set_up_logs
from protocol.codec import decode, encode
from protocol.envelope import verify
from protocol.keys import ring_of
from protocol.lifecycle import AttemptState
from protocol.messages import PayloadType, Progress, Report, Tick
from protocol.topics import UplinkKind
from tests.benchmarks.crowd import Crowd, crowd
from tests.benchmarks.measure import Figure, rate

AT_WORK: Final = 1_000
FLEET: Final = 100_000
BATCH: Final = 250
TICK_ROUNDS: Final = 5
STATES: Final = (AttemptState.ACCEPTED, AttemptState.DOWNLOADING, AttemptState.INSTALLING, AttemptState.VERIFYING)
CHECKED: Final = "the same signatures verified, one thread"


def figures(*, devices: int = FLEET) -> Iterator[Figure]:
    """Measure what a thousand devices at work say, alone and among *devices*."""
    with ExitStack() as stack:
        stack.enter_context(_as_served())
        threads = Threads()
        stack.callback(threads.close)
        small = stack.enter_context(crowd(AT_WORK, at_work=AT_WORK))
        shared = stack.enter_context(crowd(AT_WORK, at_work=AT_WORK, compute=threads))
        large = stack.enter_context(crowd(devices, at_work=AT_WORK))
        yield from _reports(small, shared, large)
        yield _ticks(small)


def _reports(small: Crowd, shared: Crowd, large: Crowd) -> Iterator[Figure]:
    """Measure by turns, so that a slow minute of the machine is in every rate and in its bound."""
    rounds = [_round(state, small, shared, large) for state in STATES]
    bound, alone, threaded, among = (median(rates) for rates in zip(*rounds, strict=True))
    yield Figure("ingest signed reports", alone, CHECKED, bound)
    yield Figure("ingest signed reports, two threads", threaded, CHECKED, bound)
    yield Figure(f"ingest in a fleet of {large.size:,}", among, f"in a fleet of {small.size:,}", alone)
    bound, last = _round(AttemptState.SUCCEEDED, small)
    yield Figure("ingest final reports", last, CHECKED, bound)


def _round(state: AttemptState, *crowds: Crowd) -> list[float]:
    """Return at which rate the first crowd's reports are verified, and at which each crowd's are taken in."""
    said = [crowd.reports(state) for crowd in crowds]
    return [_verify(crowds[0], said[0]), *(_ingest(*both) for both in zip(crowds, said, strict=True))]


def _ticks(crowd: Crowd) -> Figure:
    progress = (Progress(run="r0123456789", attempt=1, state=AttemptState.DOWNLOADING, done=1_000, total=9_000),)
    payload = encode(Tick(progress=progress))
    messages = [crowd.say(name, UplinkKind.TICK, payload) for name in crowd.names]
    bound = rate(lambda: sum(bool(decode(message.payload, Tick)) for message in messages))
    ticks = median(_ingest(crowd, messages) for _ in range(TICK_ROUNDS))
    return Figure("ingest ticks", ticks, "the same ticks parsed", bound)


def _verify(crowd: Crowd, messages: Sequence[Uplinked]) -> float:
    """Return how many reports a second can be verified, with the keys at hand."""
    rings = {device.name: ring_of(device.key.public) for device in crowd.rig.devices.values()}

    def work() -> int:
        for message in messages:
            verify(message.payload, PayloadType.REPORT, Report, rings[message.name])
        return len(messages)

    return rate(work, rounds=1)


def _ingest(crowd: Crowd, messages: Sequence[Uplinked]) -> float:
    gc.collect()
    begun = time.perf_counter()
    for start in range(0, len(messages), BATCH):
        crowd.receive(messages[start : start + BATCH])
    return len(messages) / (time.perf_counter() - begun)


@contextmanager
def _as_served() -> Iterator[None]:
    """Have threads take turns as in a controller that serves, and log lines made, but not shown."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        set_up_logs(as_json=True)
        try:
            yield
        finally:
            structlog.reset_defaults()
            sys.setswitchinterval(interval)
