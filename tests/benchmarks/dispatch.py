"""Signed commands to connected devices, beside the bare endpoint that writes the same bytes.

Each round resumes a paused run of which no device has accepted its command: for every device a new command is made,
stored, signed, handed over, acknowledged and marked. The clock runs from the request to the arrival of the last one.
The bound for CPU time is what the bare endpoint and a bare signature need together.
"""

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.keys import Ed25519Signing
from tests.benchmarks import orders
from tests.benchmarks.measure import Figure, progress, rate
from tests.benchmarks.site import SETTLE_S, Burst, Side, Site, open_site

DEVICES: Final = 1_000
ROUNDS: Final = 5


def figures(*, devices: int = DEVICES, rounds: int = ROUNDS) -> Iterator[Figure]:
    """Measure in an installation of its own."""
    with open_site(devices) as site:
        yield from measure(site, site.controller(), site.bare(), rounds=rounds)


def measure(site: Site, controller: Side, bare: Side, *, rounds: int) -> Iterator[Figure]:
    """Measure both sides in turn."""
    site.define("dispatch")
    run = site.start("dispatch")
    ours: list[Burst] = []
    theirs: list[Burst] = []
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        ours.append(_resume(site, controller, run))
        sample = controller.crowd.ask(orders.Sample())
        theirs.append(site.burst_bare(bare, sample, site.devices))
    site.end(run, controller)
    yield Figure("dispatch signed commands", _rate(ours), "bare endpoint, the same bytes", _rate(theirs))
    bound = 1 / (1 / _per_cpu_second(theirs) + 1 / _signatures(len(sample)))
    yield Figure("dispatch, per CPU second", _per_cpu_second(ours), "bare endpoint and bare Ed25519", bound)


def _resume(site: Site, controller: Side, run: str) -> Burst:
    controller.crowd.ask(orders.Watch())
    controller.crowd.ask(orders.Quiet(SETTLE_S))
    site.operator.act(run, "pause", reason="another round")
    controller.crowd.ask(orders.Watch())
    controller.crowd.ask(orders.Quiet(SETTLE_S))
    return controller.burst(lambda: site.operator.act(run, "resume"), site.devices)


def _rate(bursts: Sequence[Burst]) -> float:
    return median(burst.per_second for burst in bursts)


def _per_cpu_second(bursts: Sequence[Burst]) -> float:
    return sum(len(burst.seconds) for burst in bursts) / sum(burst.cpu_seconds for burst in bursts)


def _signatures(length: int) -> float:
    """Return how many messages of *length* bytes are signed in a second of CPU time."""
    key, message = Ed25519Signing(Ed25519PrivateKey.generate()), bytes(length)
    return rate(lambda: sum(bool(key.sign(message)) for _ in range(1_000)), clock=time.process_time)
