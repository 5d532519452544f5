"""What a gate computes: the time of each decision, and how soon rules stop a build, beside this gate."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import repeat
from math import exp, log1p
from time import process_time
from typing import Final

from controller.domain.gates import peers
from controller.domain.gates.comparison import Row, Rule, compare, rules
from controller.domain.gates.interval import NARROW_AT, log_refutation, weight_for
from controller.domain.gates.odds import GRID, Evidence, ladder, log_evidence, stops_on, threshold
from tests.benchmarks.measure import BenchmarkFailed, Cost, Measured, progress, rate

COUNT: Final = 2_000
DEVICES: Final = 10_000
ABOVE: Final = 0.02
ALPHA: Final = 0.01
RATES: Final = (0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 1.0)

_MICROSECONDS: Final = 1e6
_MILLISECONDS: Final = 1e3
_PERCENT: Final = 100.0
_BARE: Final = "twelve bare log1p and exp"


def figures(*, devices: int = DEVICES) -> Iterator[Measured]:
    """Time decisions, then make the comparison of rules anew for so many devices."""
    yield from decisions()
    progress("comparing rules, exactly")
    asked, begun = rivals(devices), process_time()
    rows = compare(asked, above=ABOVE, rates=RATES, devices=devices)
    cell_ms = (process_time() - begun) * _MILLISECONDS / (len(asked) * len(RATES))
    yield Cost("exact, each cell of the table", "ms", cell_ms, "a second", _MILLISECONDS)
    yield from table(rows)


def decisions() -> Iterator[Measured]:
    """Time what is asked whenever a device reports."""
    bare = _each_us(lambda: [exp(-log1p(odds)) for odds in GRID])
    evidence = Evidence()
    yield Cost("log_evidence", "µs", _each_us(partial(log_evidence, 120, 5_000, above=ABOVE)), _BARE, bare)
    yield Cost("stops_on", "µs", _each_us(partial(stops_on, 5_000, above=ABOVE, alpha=ALPHA)), _BARE, bare)
    yield Cost("Evidence.after", "µs", _each_us(partial(evidence.after, null=ABOVE, failed=True)), _BARE, bare)


def rivals(devices: int) -> tuple[Rule, ...]:
    """Return this gate, the rules of others, and what else statisticians would use."""
    wide = ladder(devices, above=ABOVE, alpha=5 * ALPHA)
    return (
        *rules(above=ABOVE, alpha=ALPHA, devices=devices),
        Rule(name="this gate at alpha 5%", boundary=lambda started: bisect_left(wide, started)),
        Rule(name="SPRT 2% v 5%", boundary=peers.sprt(ABOVE, against=0.05, alpha=ALPHA)),
        Rule(name="SPRT 2% v 10%", boundary=peers.sprt(ABOVE, against=0.1, alpha=ALPHA)),
        Rule(name="SPRT 2% v 30%", boundary=peers.sprt(ABOVE, against=0.3, alpha=ALPHA)),
        Rule(name="confidence sequence", boundary=_refuted(devices).__getitem__),
        Rule(name="budget 4 + 2%", boundary=peers.budget(4, share=ABOVE)),
        Rule(name="AWS 10% of 10", boundary=peers.aws(10, minimum=10)),
        Rule(name="AWS 5% of 100", boundary=peers.aws(5, minimum=100)),
    )


def table(rows: Sequence[Row]) -> Iterator[Measured]:
    """Yield the comparison, cell by cell: false stops beside alpha, medians beside those of this gate.

    Raises:
        BenchmarkFailed: when this gate breaks its promise.
    """
    ours = rows[0]
    if ours.false_stop > ALPHA:
        raise BenchmarkFailed(f"this gate stops {ours.false_stop:%} of tolerable builds: expected at most {ALPHA:%}")
    for row in rows:
        for own, fate in zip(ours.fates, row.fates, strict=True):
            name, stopped = f"{row.rule}, builds of {fate.rate:.0%}", _PERCENT * fate.stopped
            if fate.rate <= ABOVE:
                yield Cost(name, "% stopped", stopped, "alpha", _PERCENT * ALPHA)
            elif fate.median and own.median:
                yield Cost(name, "devices", fate.median, "this gate", own.median)
            else:
                yield Cost(name, "% stopped", stopped, "this gate", _PERCENT * own.stopped)


def _each_us(ask: Callable[[], object]) -> float:
    def work() -> int:
        for _ in repeat(None, COUNT):
            ask()
        return COUNT

    return _MICROSECONDS / rate(work, clock=process_time)


def _refuted(devices: int) -> list[int]:
    """Return of 0, 1, … devices the failures from which on a confidence sequence lies above what is tolerated."""
    found, weight, goal = [1], weight_for(NARROW_AT, alpha=ALPHA), threshold(ALPHA)
    for counted in range(1, devices + 1):
        failed = max(found[-1], int(ABOVE * counted) + 1)
        while failed <= counted and log_refutation(failed, counted, rate=ABOVE, weight=weight) < goal:
            failed += 1
        found.append(failed)
    return found
