"""Timing, and how a figure is shown."""

import gc
import os
import platform
import sqlite3
import ssl
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROUNDS: Final = 5
_PERCENT: Final = 100.0
_CPU_OF_PROCESS: Final = 2
"""CPUCLOCK_SCHED: the clock of clock_getcpuclockid(3), by whose formula `cpu_seconds` makes the clock's number."""


class BenchmarkFailed(Exception):
    """What was measured is wrong, or could not be measured; the message says what was expected."""


@dataclass(frozen=True)
class Measured(ABC):
    """Something measured beside a bound of the same run; each kind has its own unit and names of fields."""

    name: str

    @property
    @abstractmethod
    def ratio(self) -> float:
        """Return what was measured, divided by the bound."""

    @abstractmethod
    def line(self) -> str:
        """Return the figure for people."""

    def data(self) -> dict[str, Any]:
        """Return the figure for programs."""
        return {**asdict(self), "ratio": round(self.ratio, 3)}


@dataclass(frozen=True)
class Figure(Measured):
    """One measured rate beside its bound."""

    per_second: float
    bound: str
    bound_per_second: float

    @property
    def ratio(self) -> float:
        """Return how much of the bound was reached."""
        return self.per_second / self.bound_per_second

    def line(self) -> str:
        """Return the figure for people."""
        share = f"{self.ratio:5.2f} of {self.bound_per_second:10,.0f}/s  {self.bound}"
        return f"{self.name:34} {self.per_second:10,.0f}/s  {share}"


@dataclass(frozen=True)
class Latency(Measured):
    """How long something takes, in milliseconds: the median and the 99th percentile."""

    p50_ms: float
    p99_ms: float
    bound: str
    bound_p50_ms: float
    bound_p99_ms: float

    @classmethod
    def of(cls, name: str, samples_ms: Sequence[float], *, bound: str, bound_ms: Sequence[float]) -> "Latency":
        """Return the figure for samples of both, in milliseconds."""
        p50, p99 = percentile(samples_ms, 50), percentile(samples_ms, 99)
        return cls(name, p50, p99, bound, percentile(bound_ms, 50), percentile(bound_ms, 99))

    @property
    def ratio(self) -> float:
        """Return how many times the bound it takes, by the medians."""
        return self.p50_ms / self.bound_p50_ms

    def line(self) -> str:
        """Return the figure for people."""
        theirs = f"p50 {self.bound_p50_ms:,.1f} p99 {self.bound_p99_ms:,.1f} ms"
        ours = f"p50 {self.p50_ms:,.1f} p99 {self.p99_ms:,.1f} ms"
        return f"{self.name:34} {ours}  {self.ratio:5.2f} times {theirs}  {self.bound}"


@dataclass(frozen=True)
class Share(Measured):
    """How much of one core a process uses, in percent."""

    percent: float
    bound: str
    bound_percent: float

    @property
    def ratio(self) -> float:
        """Return how many times the bound it uses."""
        return self.percent / self.bound_percent

    def line(self) -> str:
        """Return the figure for people."""
        share = f"{self.ratio:5.2f} times {self.bound_percent:.3f} %  {self.bound}"
        return f"{self.name:34} {self.percent:10.3f} %   {share}"


@dataclass(frozen=True)
class Cost(Measured):
    """What one of many things takes, in a unit of its own."""

    unit: str
    amount: float
    bound: str
    bound_amount: float

    @property
    def ratio(self) -> float:
        """Return how many times the bound it takes."""
        return self.amount / self.bound_amount

    def line(self) -> str:
        """Return the figure for people."""
        share = f"{self.ratio:5.2f} times {self.bound_amount:,.2f} {self.unit}  {self.bound}"
        return f"{self.name:34} {self.amount:10,.2f} {self.unit}  {share}"


@dataclass(frozen=True)
class Count(Measured):
    """How many of some things are so, such as 0 of 5,000."""

    count: int
    bound: str
    bound_count: int

    @property
    def ratio(self) -> float:
        """Return which part it is."""
        return self.count / max(1, self.bound_count)

    def line(self) -> str:
        """Return the figure for people."""
        return f"{self.name:34} {self.count:10,}     of {self.bound_count:,}  {self.bound}"


def rate(work: Callable[[], int], *, rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median number of things a second over *rounds* of *work*, which returns how many it did.

    With `time.process_time` as *clock* it is a second of our own CPU time, whoever else uses the machine.
    """
    rates = []
    for _ in range(rounds):
        gc.collect()
        begun = clock()
        count = work()
        rates.append(count / (clock() - begun))
    return statistics.median(rates)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that is at least as large as *percent* of all (nearest rank).

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.0
    """
    ranked = sorted(samples)
    return ranked[max(0, -int(-len(ranked) * percent // _PERCENT) - 1)]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with all its threads, as /proc/PID/stat tells it, but in nanoseconds."""
    return time.clock_gettime((~pid << 3) | _CPU_OF_PROCESS)


def got_and_waited_s(pid: int) -> tuple[float, float]:
    """Return how long the main thread of a process ran so far, and how long it was ready and had to wait, in seconds.

    Source: ``/proc/<pid>/schedstat``, as Linux documents it in scheduler/sched-stats.
    """
    ran_ns, waited_ns = Path(f"/proc/{pid}/schedstat").read_text().split()[:2]
    return int(ran_ns) / 1e9, int(waited_ns) / 1e9


def resident_kib(pid: int) -> float:
    """Return how much memory a process occupies, in KiB: what of it lies in RAM, shared pages included."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_024


def progress(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(f"  … {text}", file=sys.stderr, flush=True)


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    return {
        "python": f"Python {platform.python_version()}",
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": f"{os.cpu_count()} cores",
        "sqlite": f"SQLite {sqlite3.sqlite_version}",
        "openssl": " ".join(ssl.OPENSSL_VERSION.split()[:2]),
        "cryptography": f"cryptography {version('cryptography')}",
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "unknown CPU")
