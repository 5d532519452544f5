"""How long operators and devices wait: from a promotion to the command at the device, and until a pause is answered.

A pause comes while commands are on their way, again and again. Every installation that is handed to the endpoint is
noted there: one after the pause was answered fails the benchmark. Holds, which the pause itself sends, do not count.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from controller.app.dispatch import BATCH_MAX
from tests.benchmarks import orders
from tests.benchmarks.measure import BenchmarkFailed, Count, Latency, Measured, progress
from tests.benchmarks.probe import Seen
from tests.benchmarks.site import SETTLE_S, Side, Site, open_site

DEVICES: Final = 1_000
IN_FLIGHT_MAX: Final = 1_000
"""The most commands at once: beyond it, latency is only the rate of dispatch again."""
ROUNDS: Final = 5
PAUSES: Final = 10
_MS: Final = 1_000
_NS_A_MS: Final = 1e6


@dataclass(frozen=True)
class Pause:
    """When a run began to move, its pause was asked for and answered, and it could move again.

    By CLOCK_MONOTONIC, in nanoseconds.
    """

    moved: int
    asked: int
    answered: int
    until: int

    @property
    def ms(self) -> float:
        """Return how long the answer took, in milliseconds."""
        return (self.answered - self.asked) / _NS_A_MS


def figures(*, devices: int = DEVICES, rounds: int = ROUNDS, pauses: int = PAUSES) -> Iterator[Measured]:
    """Measure in an installation of its own."""
    with open_site(devices, is_probed=True) as site:
        bare = site.bare(count=min(devices, IN_FLIGHT_MAX))
        yield from measure(site, site.controller(), bare, rounds=rounds, pauses=pauses)


def measure(site: Site, controller: Side, bare: Side, *, rounds: int, pauses: int) -> Iterator[Measured]:
    """Measure starts and pauses, each beside the same with nothing to do."""
    yield _start(site, controller, bare, rounds)
    moving, resting = _pauses(site, controller, pauses), _rests(site, pauses)
    name, bound = "pause answered, run moving", "the same, run at rest"
    yield Latency.of(name, [pause.ms for pause in moving], bound=bound, bound_ms=resting)
    yield _after(site.seen(), moving, _in_flight(site))


def _in_flight(site: Site) -> int:
    return min(site.devices, IN_FLIGHT_MAX)


def _start(site: Site, controller: Side, bare: Side, rounds: int) -> Latency:
    count = _in_flight(site)
    site.define("start", trigger="manual", pace=count)
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(rounds):
        progress(f"start {number + 1} of {rounds}")
        run = site.start("start")
        ours += controller.burst(partial(site.operator.act, run, "promote", stage="all"), count).seconds
        sample = controller.crowd.ask(orders.Sample())
        theirs += site.burst_bare(bare, sample, count).seconds
        site.end(run, controller)
    name = f"start, {count} of {site.devices} devices"
    return Latency.of(name, _ms(ours), bound="bare endpoint, the same bytes", bound_ms=_ms(theirs))


def _ms(seconds: Sequence[float]) -> list[float]:
    return [span * _MS for span in seconds]


def _pauses(site: Site, controller: Side, count: int) -> list[Pause]:
    """Pause a run whenever a tenth of its devices has heard of it, and have it move again."""
    site.define("pause", pace=_in_flight(site))
    run, pauses = site.start("pause"), []
    controller.crowd.ask(orders.Quiet(SETTLE_S))
    site.operator.act(run, "pause", reason="a benchmark")
    for number in range(count):
        progress(f"pause {number + 1} of {count}")
        pauses.append(_pause(site, controller, run))
    controller.burst(partial(site.operator.act, run, "resume"), _in_flight(site))
    site.end(run, controller)
    return pauses


def _pause(site: Site, controller: Side, run: str) -> Pause:
    controller.crowd.ask(orders.Quiet(SETTLE_S))
    controller.crowd.ask(orders.Watch())
    moved = time.monotonic_ns()
    site.operator.act(run, "resume")
    controller.crowd.ask(orders.Arrivals(max(1, _in_flight(site) // 10)))
    asked, answered = _ask(site, run)
    controller.crowd.ask(orders.Quiet(SETTLE_S))
    return Pause(moved, asked, answered, until=time.monotonic_ns())


def _ask(site: Site, run: str) -> tuple[int, int]:
    """Pause *run*; return when that was asked for and answered."""
    asked = time.monotonic_ns()
    site.operator.act(run, "pause", reason="a benchmark")
    return asked, time.monotonic_ns()


def _rests(site: Site, count: int) -> list[float]:
    """Return how long the pauses of a run take that has nothing to do, in milliseconds."""
    site.define("rest", trigger="manual")
    run, spans = site.start("rest"), []
    for _ in range(count):
        asked, answered = _ask(site, run)
        spans.append((answered - asked) / _NS_A_MS)
        site.operator.act(run, "resume")
    return spans


def _after(seen: Seen, pauses: Sequence[Pause], count: int) -> Count:
    """Count the installations that were handed over after an answer; there must be none.

    Raises:
        BenchmarkFailed: when there are some, or no pause came before all were handed over.
    """
    installs = [handed.at for handed in seen.handed if handed.op == "install"]
    late = held = 0
    for pause in pauses:
        late += sum(pause.answered < at < pause.until for at in installs)
        held += count - sum(pause.moved < at < pause.until for at in installs)
    if late:
        raise BenchmarkFailed(f"{late} commands were handed over after a pause had been answered, expected none")
    if not held and count > BATCH_MAX:
        raise BenchmarkFailed("every pause came too late to hold a command back, so nothing was shown")
    return Count("commands after a pause's answer", late, f"held back by {len(pauses)} pauses", held)
