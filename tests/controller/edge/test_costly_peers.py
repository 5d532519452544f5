"""Hundreds of peers that are broken or mean harm: what they cost the endpoint is bounded, and a good device is served.

The endpoint, the peers and the good device have a process each. Measured are the endpoint's resident memory, the size
of its log, and how long a report of the good device takes until it is acknowledged. What a busy machine makes of that
is measured, too: the endpoint may take longer by as much as it waited for a processor.
"""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import pytest

from controller.edge.limits import Limits
from controller.intake import IntakeLimits
from simulator.processes import Processes
from tests.benchmarks.control import Remote
from tests.benchmarks.measure import got_and_waited_s, percentile, resident_kib
from tests.controller.edge import peers, served
from tests.controller.edge.world import Client, Pki, open_client

COUNT: Final = 200
NAMES: Final = tuple(f"acme:p{number}" for number in range(COUNT))
GOOD: Final = "acme:good"
LIMITS: Final = Limits(
    keepalive_s=2,
    connect_timeout_s=3.0,
    handshake_timeout_s=1.0,
    shutdown_timeout_s=0.5,
    sweep_s=0.1,
    intake=IntakeLimits(gather_s=0.0),
)
WAIT_S: Final = 40.0
LOG_LINE_BYTES: Final = 300
REFUSALS: Final = 10
"""So many times each peer must have had no room, until we believe that nothing more gathers."""
TLS_KIB: Final = 64
"""What a connection takes by itself; 53 were measured."""
WRITE_KIB: Final = 2 * LIMITS.write_buffer_bytes_max / 1_024
"""What a peer that does not read may make us hold: once as it is, once encrypted."""


@dataclass(frozen=True)
class Case:
    """Peers of one kind, how much of our memory each may take, and what is counted until it happened to all of them.

    That is the reason why their sessions end, "handshakes", or "refusals" of what was to be written to them.
    """

    kind: str
    kib_max: float
    counted: str
    flood_bytes: int = 0
    is_stopped: bool = False


CASES: Final = (
    Case("silent_at_the_socket", TLS_KIB, "handshakes"),
    Case("malformed", TLS_KIB, "malformed"),
    Case("oversized", TLS_KIB, "too_large"),
    Case("slow_to_connect", TLS_KIB, "keepalive"),
    Case("slow_to_speak", TLS_KIB, "keepalive"),
    Case("deaf", TLS_KIB + WRITE_KIB, "refusals", flood_bytes=16_000),
    Case("frozen", TLS_KIB + WRITE_KIB, "keepalive", flood_bytes=16_000, is_stopped=True),
)


@dataclass
class Seen:
    """What was measured while peers were there: latencies in seconds, and the most memory, in KiB."""

    seconds: list[float] = field(default_factory=list)
    peak_kib: float = 0.0


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Return a CA with a certificate for everybody."""
    made = Pki(tmp_path_factory.mktemp("pki"))
    for name in (GOOD, *NAMES):
        made.device(name)
    return made


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """End all processes at the end, also those that are stopped."""
    with Processes(tmp_path) as made:
        yield made


class Yard:
    """The endpoint in its process, and a good device."""

    def __init__(self, pki: Pki, processes: Processes, good: Client, endpoint: Remote) -> None:
        self._pki = pki
        self._processes = processes
        self._good = good
        self.endpoint = endpoint
        self._port = endpoint.ask(served.Port())

    def look(self) -> served.State:
        return self.endpoint.ask(served.Look())

    async def report(self, seen: Seen) -> None:
        """Have the good device report once, no more often than it may."""
        await asyncio.sleep(2 / LIMITS.packets_per_second)
        begun = time.perf_counter()
        self._good.publish(b"report" * 50)
        assert (packet := await self._good.packet()) is not None, "the good device lost its connection"
        assert packet.reason_code == 0
        seen.seconds.append(time.perf_counter() - begun)
        seen.peak_kib = max(seen.peak_kib, resident_kib(self.endpoint.child.pid))

    async def wave(self, case: Case, number: int) -> Seen:
        """Let peers come, and watch until it happened to as many as they are; then end their process."""
        before, seen = _count(case, self.look()), Seen()
        crowd = Remote.start(self._processes, f"peers-{number}", peers.__name__, str(self._pki.folder))
        begin = asyncio.create_task(
            asyncio.to_thread(crowd.ask, peers.Begin(case.kind, self._port, NAMES), seconds=WAIT_S)
        )
        try:
            async with asyncio.timeout(WAIT_S):
                while not begin.done():
                    await self.report(seen)
                await begin
                self.endpoint.ask(served.Flood(case.flood_bytes))
                if case.is_stopped:
                    os.kill(crowd.child.pid, signal.SIGSTOP)
                while _count(case, self.look()) < before + COUNT:
                    for _ in range(10):
                        await self.report(seen)
        finally:
            os.kill(crowd.child.pid, signal.SIGCONT)
            crowd.child.kill()
            self.endpoint.ask(served.Flood(0))
        async with asyncio.timeout(WAIT_S):
            while self.look().connections > 1:
                await self.report(Seen())
        return seen


def _count(case: Case, state: served.State) -> int:
    match case.counted:
        case "handshakes":
            return state.handshakes_failed
        case "refusals":
            return state.write_refused // REFUSALS
        case reason:
            return state.ended.get(reason, 0)


@asynccontextmanager
async def yard(pki: Pki, processes: Processes) -> AsyncIterator[Yard]:
    limits = msgspec.json.encode(LIMITS).decode()
    endpoint = Remote.start(processes, "endpoint", served.__name__, str(pki.folder), limits)
    context = pki.client_context(pki.folder / f"{GOOD.replace(':', '-')}.pem")
    good = await open_client(context, endpoint.ask(served.Port()), GOOD)
    await good.connect()
    try:
        yield Yard(pki, processes, good, endpoint)
    finally:
        good.cut()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
async def test_many_bad_peers_cost_little_and_a_good_device_does_not_notice(
    case: Case, pki: Pki, processes: Processes
) -> None:
    async with yard(pki, processes) as y:
        quiet = Seen()
        for _ in range(100):
            await y.report(quiet)
        begun, before_s = time.monotonic(), got_and_waited_s(y.endpoint.child.pid)
        first, second = [await y.wave(case, number) for number in (1, 2)]
        spent, after_s = time.monotonic() - begun, got_and_waited_s(y.endpoint.child.pid)

    per_peer = (first.peak_kib - quiet.peak_kib) / COUNT
    more = (second.peak_kib - first.peak_kib) / COUNT
    p50, p99 = (1_000 * percentile(first.seconds + second.seconds, percent) for percent in (50, 99))
    before = 1_000 * statistics.median(quiet.seconds)
    ran_s, waited_s = (after - then for after, then in zip(after_s, before_s, strict=True))
    stretch = 1 + waited_s / ran_s
    log_bytes = y.endpoint.child.log.stat().st_size
    print(f"{case.kind}: {per_peer:.0f} KiB each, {more:+.0f} in the second wave; p50 {p50:.1f}, p99 {p99:.1f} ms")
    print(f"  (alone {before:.1f} ms; a machine {stretch:.1f} times as slow); {spent:.0f} s; log {log_bytes} bytes")
    assert per_peer <= case.kib_max
    assert more <= case.kib_max / 4, "what the first wave took was not used again"
    assert p50 <= max(30, 5 * before) * stretch
    assert p99 <= 250 * stretch
    assert log_bytes <= (LIMITS.log_lines_burst + LIMITS.log_lines_per_second * (spent + 5)) * LOG_LINE_BYTES
