"""Taking in what devices say, over mTLS: a report is acknowledged when it is verified, folded and committed.

Reports go at QoS 1, all devices at once, one state after the other. Beside the bare endpoint, which commits the raw
bytes in groups before it acknowledges them. The bound for CPU time is the bare endpoint's with a bare verification.
Ticks are neither signed nor stored; the bare endpoint drops them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.keys import Ed25519Signing, Ed25519Verify
from protocol.lifecycle import AttemptState
from tests.benchmarks import orders
from tests.benchmarks.control import Order
from tests.benchmarks.measure import Figure, Measured, progress, rate
from tests.benchmarks.site import Side, Site, open_site

DEVICES: Final = 1_000
TICKS: Final = 40
TICK_ROUNDS: Final = 3
REPORT_BYTES: Final = 600
STATES: Final = (AttemptState.ACCEPTED, AttemptState.DOWNLOADING, AttemptState.INSTALLING, AttemptState.VERIFYING)


@dataclass(frozen=True)
class Taken:
    """What a server took in over some rounds: the median rate, and the messages for each second of its CPU time."""

    per_second: float
    per_cpu_second: float


def figures(*, devices: int = DEVICES, ticks: int = TICKS, tick_rounds: int = TICK_ROUNDS) -> Iterator[Measured]:
    """Measure in an installation of its own."""
    with open_site(devices) as site:
        yield from measure(site, site.controller(), site.bare(), ticks=ticks, tick_rounds=tick_rounds)


def measure(site: Site, controller: Side, bare: Side, *, ticks: int, tick_rounds: int) -> Iterator[Measured]:
    """Measure reports, then ticks, both sides in turn."""
    site.define("wire")
    controller.crowd.ask(orders.Watch())
    run = site.start("wire")
    controller.crowd.ask(orders.Arrivals(site.devices))
    site.burst_bare(bare, controller.crowd.ask(orders.Sample()), site.devices)
    progress("reports")
    ours, theirs = _taken_in([controller, bare], [orders.PrepareReports(state) for state in STATES])
    yield Figure("ingest reports over mTLS", ours.per_second, "bare endpoint, raw commits", theirs.per_second)
    bound = 1 / (1 / theirs.per_cpu_second + 1 / _verifications())
    bound_name = "bare endpoint and bare Ed25519"
    yield Figure("ingest reports, per CPU second", ours.per_cpu_second, bound_name, bound)
    progress("ticks")
    ours, theirs = _taken_in([controller, bare], [orders.PrepareTicks(ticks)] * tick_rounds)
    yield Figure("ticks over mTLS", ours.per_second, "bare endpoint", theirs.per_second)
    yield Figure("ticks, per CPU second", ours.per_cpu_second, "bare endpoint", theirs.per_cpu_second)
    site.end(run, controller)


def _taken_in(sides: Sequence[Side], preparations: Sequence[Order[None]]) -> list[Taken]:
    """Return what each side took in of the messages that *preparations* make."""
    sent: list[list[tuple[orders.Sent, float]]] = [[] for _ in sides]
    for preparation in preparations:
        for side, rounds in zip(sides, sent, strict=True):
            side.crowd.ask(preparation)
            rounds.append(side.send())
    return [_taken(rounds) for rounds in sent]


def _taken(rounds: Sequence[tuple[orders.Sent, float]]) -> Taken:
    return Taken(
        median(sent.count / sent.seconds for sent, _ in rounds),
        sum(sent.count for sent, _ in rounds) / sum(cpu for _, cpu in rounds),
    )


def _verifications() -> float:
    """Return how many reports are verified in a second of CPU time."""
    key, message = Ed25519Signing(Ed25519PrivateKey.generate()), bytes(REPORT_BYTES)
    public, signature = Ed25519Verify(key.public), key.sign(message)
    return rate(lambda: sum(public.is_signature(signature, message) for _ in range(1_000)), clock=time.process_time)
