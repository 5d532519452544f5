"""What it costs to hold devices that say nothing: memory and handshakes of each, and CPU time while all are silent.

```
bare  (the endpoint)      ── mTLS ── clients, in two processes      one process holds all connections
held  (asyncio's own TLS) ── mTLS ── clients, in two processes      the bound, afterwards, in the same run
```

The devices run in processes of their own, as a process may have only so many files open. Each has its own certificate,
connects, subscribes and falls silent. Both ends share the machine, so the rate of handshakes is that of all its cores
together; the CPU time is that of the serving process alone.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator.installation import Installation
from simulator.processes import Processes
from tests.benchmarks import bare, clients, held, orders
from tests.benchmarks.control import Remote
from tests.benchmarks.fleet import enrol, write_papers
from tests.benchmarks.light import Papers
from tests.benchmarks.measure import (
    BenchmarkFailed,
    Cost,
    Figure,
    Measured,
    Share,
    cpu_seconds,
    progress,
    resident_kib,
)

DEVICES: Final = 10_000
SPAN_S: Final = 10.0
REST_S: Final = 1.0
CROWDS: Final = 2
_WARM_SHARE: Final = 20
"""One device in so many connects before anything is measured: the first ones pay for what all share."""
_FILES_SPARE: Final = 100


@dataclass(frozen=True)
class Holding:
    """What one server took for *count* connections."""

    count: int
    kib: float
    seconds: float
    cpu_seconds: float
    idle_percent: float

    @property
    def per_second(self) -> float:
        """Return connections made a second."""
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Return the server's milliseconds of CPU for one connection, from TLS to the granted subscription."""
        return self.cpu_seconds * 1_000 / self.count


def figures(*, devices: int = DEVICES, span_s: float = SPAN_S) -> Iterator[Measured]:
    """Measure both servers, one after the other.

    Raises:
        BenchmarkFailed: when a process may not have so many files open.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if devices + _FILES_SPARE > files:
        raise BenchmarkFailed(f"{devices} connections in a process that may have {files} files open: raise ulimit -n")
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        progress(f"making an installation with {devices} devices")
        installation = Installation.create(processes.folder, processes)
        papers = asyncio.run(enrol(installation.online, devices))
        ours = _hold(installation, bare.__name__, papers, span_s=span_s)
        bound = _hold(installation, held.__name__, papers, span_s=span_s)
    yield from _told(ours, bound, devices)


def _told(ours: Holding, bound: Holding, devices: int) -> Iterator[Measured]:
    name = "asyncio's own TLS server"
    rate, bound_rate = ours.per_second, bound.per_second
    yield Cost(f"memory of {devices} connections, each", "KiB", ours.kib, bound=name, bound_amount=bound.kib)
    yield Figure("connects, with the devices' work", rate, name, bound_rate)
    yield Cost("server's CPU for one connect", "ms", ours.cpu_ms, bound=name, bound_amount=bound.cpu_ms)
    yield Share(f"idle, {devices} connections", ours.idle_percent, f"{name}, waking once a second", bound.idle_percent)


def _hold(installation: Installation, module: str, papers: list[Papers], *, span_s: float) -> Holding:
    """Connect everybody to a server that runs `main` of *module*, and end both."""
    name = module.rpartition(".")[2]
    server = Remote.start(installation.processes, name, module, str(installation.online))
    crowds = [_crowd(installation, f"{name}-{number}", papers[number::CROWDS]) for number in range(CROWDS)]
    _connect(server, crowds, len(papers) // _WARM_SHARE)
    holding = _measured(server, crowds, len(papers), span_s=span_s)
    for process in (*crowds, server):
        process.child.kill()
    return holding


def _crowd(installation: Installation, name: str, papers: list[Papers]) -> Remote:
    path = installation.folder / name
    write_papers(path, papers)
    return Remote.start(installation.processes, name, clients.__name__, str(path), str(installation.ca), "silent")


def _connect(server: Remote, crowds: list[Remote], count: int) -> None:
    """Have *count* devices connected in all, by all crowds at once."""
    port = server.ask(bare.Port())

    def ask(number: int) -> None:
        share = len(range(number, count, CROWDS))
        crowds[number].ask(orders.Connect(port, share, is_answered=False), seconds=clients.CONNECT_SECONDS)

    with ThreadPoolExecutor(CROWDS) as threads:
        list(threads.map(ask, range(CROWDS)))


def _measured(server: Remote, crowds: list[Remote], count: int, *, span_s: float) -> Holding:
    pid, fresh = server.child.pid, count - count // _WARM_SHARE
    progress(f"{server.child.name}: connecting {fresh} devices, then {span_s:.0f} s of silence")
    kib, cpu, begun = resident_kib(pid), cpu_seconds(pid), time.monotonic()
    _connect(server, crowds, count)
    seconds, cpu = time.monotonic() - begun, cpu_seconds(pid) - cpu
    time.sleep(REST_S)
    kib = (resident_kib(pid) - kib) / fresh
    idle, begun = cpu_seconds(pid), time.monotonic()
    time.sleep(span_s)
    idle = 100 * (cpu_seconds(pid) - idle) / (time.monotonic() - begun)
    return Holding(fresh, kib, seconds, cpu, idle)
