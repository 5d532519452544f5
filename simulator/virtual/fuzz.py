"""Many seeds on all cores: which of them break a law, which rare paths they took, and how to see one again."""

import gc
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from enum import StrEnum
from functools import partial
from typing import Final

import msgspec

from controller.store.inline_store import InlineStore
from simulator.memory.store import MemoryStore
from simulator.virtual.draws import draw
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.trial import Outcome, Trial

CHUNK: Final = 10
GARBAGE_MAX: Final = 100_000
SURE_SEEDS: Final = 1_000
"""From so many seeds on, a rare path that no world took means that something keeps worlds from taking it."""


class Backend(StrEnum):
    """What the controller's data is kept in."""

    MEMORY = "memory"
    SQL = "sql"
    BOTH = "both"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a range of seeds. `failed` are the seeds that broke a law, with what they broke."""

    first: int
    seeds: int
    seconds: float
    events: int
    failed: dict[int, tuple[str, ...]]
    counts: dict[str, int]

    @property
    def seeds_per_minute(self) -> float:
        """Return how fast it went."""
        return self.seeds * 60 / max(self.seconds, 1e-9)

    @property
    def never(self) -> tuple[str, ...]:
        """Return the rare paths that no world took."""
        return tuple(path.value for path in Sometimes if not self.counts.get(path.value))

    @property
    def is_good(self) -> bool:
        """Say whether no law was broken, and no rare path was missed by so many seeds."""
        return not self.failed and not (self.seeds >= SURE_SEEDS and self.never)


def replay(seed: int, backend: Backend = Backend.MEMORY, *, is_traced: bool = False) -> Outcome:
    """Return what comes of one seed; with both stores, also whether they tell the same story."""
    if backend is Backend.BOTH:
        return _compared(seed)
    store = MemoryStore() if backend is Backend.MEMORY else InlineStore()
    try:
        return Trial(draw(seed), store, is_traced=is_traced).run()
    finally:
        if isinstance(store, InlineStore):
            store.close()


def _compared(seed: int) -> Outcome:
    in_memory = replay(seed, Backend.MEMORY, is_traced=True)
    in_sql = replay(seed, Backend.SQL, is_traced=True)
    if in_memory == in_sql:
        return in_memory
    violations = (*in_memory.violations, f"both stores tell the same story: {_difference(in_memory, in_sql)}")
    return msgspec.structs.replace(in_memory, violations=violations)


def _difference(in_memory: Outcome, in_sql: Outcome) -> str:
    for left, right in zip(in_memory.timeline, in_sql.timeline, strict=False):
        if left != right:
            return f"in memory {left!r}, in SQL {right!r}"
    return f"{len(in_memory.timeline)} lines in memory, {len(in_sql.timeline)} in SQL"


def fuzz(
    *,
    first: int,
    seeds: int,
    workers: int,
    backend: Backend = Backend.MEMORY,
    show: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Run *seeds* seeds from *first* on, in so many processes; *show* is called now and then with what is known."""
    begun = time.monotonic()
    failed: dict[int, tuple[str, ...]] = {}
    counts: Counter[str] = Counter()
    done = events = 0

    def report() -> Report:
        seconds = round(time.monotonic() - begun, 3)
        return Report(first=first, seeds=done, seconds=seconds, events=events, failed=failed, counts=dict(counts))

    with closing(_outcomes(range(first, first + seeds), workers, backend)) as outcomes:
        for outcome in outcomes:
            done += 1
            events += outcome.events
            counts.update(outcome.counts)
            if not outcome.is_good:
                failed[outcome.seed] = outcome.violations
            show(report())
    return report()


def _outcomes(seeds: Sequence[int], workers: int, backend: Backend) -> Generator[Outcome, None, None]:
    if workers == 1:
        yield from (replay(seed, backend) for seed in seeds)
        return
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context, initializer=_ready)
    try:
        for outcomes in pool.map(partial(_chunk, backend), chunks):
            yield from outcomes
    finally:
        pool.shutdown(cancel_futures=True)


def _ready() -> None:
    """Leave Ctrl-C to the parent, and look for garbage seldom: a world is one big circle, and short-lived."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(GARBAGE_MAX)


def _chunk(backend: Backend, seeds: Sequence[int]) -> list[Outcome]:
    return [_without_timeline(replay(seed, backend)) for seed in seeds]


def _without_timeline(outcome: Outcome) -> Outcome:
    """Return what came of a seed, without its story."""
    return msgspec.structs.replace(outcome, timeline=())
