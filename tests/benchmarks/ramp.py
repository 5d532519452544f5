"""How many devices a bad build reaches, and how many rounds a good one takes, by how batches are sized.

All are stopped by the same sequential test after each batch; its batches are all that a plan decides. Outcomes are
drawn from a fixed seed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from math import log, log1p
from random import Random
from statistics import fmean
from time import process_time
from typing import Final

from controller.domain.gates.odds import log_evidence, threshold
from controller.domain.gates.ramp import next_batch
from controller.domain.gates.tail import log_chance
from tests.benchmarks.measure import Cost, Measured, percentile

DEVICES: Final = 100_000
RUNS: Final = 1_000
SEED: Final = 5
ABOVE: Final = 0.02
ALPHA: Final = 0.01
DELTA: Final = 0.01
ROUNDS: Final = 15
RATES: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 1.0)
SHARES: Final = (1, 5, 20, 50, 100)
RISKS: Final = (25, 10)
FIXED: Final = "fixed 1/5/20/50/100 %"

Plan = Callable[[int, int, int], int]
"""From devices exposed, failures and batches so far to the next batch; 0 to hold."""


@dataclass(frozen=True)
class Rollouts(Measured):
    """What becomes of many rollouts of a build: means over them, and shares from 0 to 1."""

    exposed: float
    failed: float
    rounds: float
    done: float
    held: float
    broken: float
    """Of all, those in which failures exceeded the risk and the share that is put up with."""
    bound: str
    bound_exposed: float

    @property
    def ratio(self) -> float:
        """Return how many times the devices of the bound are reached."""
        return self.exposed / self.bound_exposed

    def line(self) -> str:
        """Return the figure for people."""
        ends = f"done {self.done:6.1%}  held {self.held:6.1%}  over the limit {self.broken:6.1%}"
        reached = f"{self.exposed:9,.0f} reached, {self.failed:8,.1f} failed in {self.rounds:4.1f} rounds"
        return f"{self.name:34} {reached}  {ends}  {self.ratio:5.2f} of {self.bound_exposed:,.0f}  {self.bound}"


@dataclass
class Rollout:
    """One rollout under way."""

    exposed: int = 0
    failed: int = 0
    rounds: int = 0
    is_held: bool = False
    is_broken: bool = False


def figures(*, devices: int = DEVICES, runs: int = RUNS) -> Iterator[Measured]:
    """Play rollouts of builds good and bad by each plan, and time the sizing of a batch."""
    for rate in RATES:
        bound = 0.0
        for name, (plan, risk) in plans(devices).items():
            random = Random(SEED)
            played = [play(plan, random, devices=devices, rate=rate, risk=risk) for _ in range(runs)]
            bound = bound or fmean(rollout.exposed for rollout in played)
            yield summed_up(f"{rate:.1%} fail, {name}", played, devices=devices, bound=bound)
    yield from _sizing()


def plans(devices: int) -> Mapping[str, tuple[Plan, int]]:
    """Return what is compared, each with the risk that it is judged by; first the one that bounds the others."""
    return {
        FIXED: (fixed(devices), min(RISKS)),
        "doubling from 10": (lambda exposed, failed, rounds: min(exposed or 10, devices - exposed), min(RISKS)),
        **{f"ramp of {risk}": (ramp(devices, risk=risk), risk) for risk in RISKS},
    }


def fixed(devices: int) -> Plan:
    """Return the plan of fixed shares of all devices."""
    goals = [devices * share // 100 for share in SHARES]
    return lambda exposed, failed, rounds: goals[rounds] - exposed


def ramp(devices: int, *, risk: int) -> Plan:
    """Return the plan of the product."""

    @cache
    def sized(exposed: int, failed: int) -> int:
        left = devices - exposed
        return next_batch(exposed, failed, left=left, risk=risk, above=ABOVE, delta=DELTA, rounds=ROUNDS)

    return lambda exposed, failed, rounds: sized(exposed, failed) if rounds < ROUNDS else 0


def play(plan: Plan, random: Random, *, devices: int, rate: float, risk: int) -> Rollout:
    """Play one rollout to its end: everybody reached, a hold, or the test's stop."""
    rollout = Rollout()
    while rollout.exposed < devices:
        batch = plan(rollout.exposed, rollout.failed, rollout.rounds)
        if batch == 0:
            rollout.is_held = True
            break
        rollout.exposed += batch
        rollout.failed += failures(random, batch, rate=rate)
        rollout.rounds += 1
        rollout.is_broken |= rollout.failed > risk + ABOVE * rollout.exposed + 1e-9
        if log_evidence(rollout.failed, rollout.exposed, above=ABOVE) >= threshold(ALPHA):
            break
    return rollout


def failures(random: Random, batch: int, *, rate: float) -> int:
    """Draw how many of a batch fail, by the gaps between failures, which are geometric."""
    if rate == 1:
        return batch
    count, at = 0, 0
    while True:
        at += 1 + int(log(1 - random.random()) / log1p(-rate))
        if at > batch:
            return count
        count += 1


def summed_up(name: str, played: list[Rollout], *, devices: int, bound: float) -> Rollouts:
    """Return the means and shares over rollouts."""
    return Rollouts(
        name=name,
        exposed=fmean(rollout.exposed for rollout in played),
        failed=fmean(rollout.failed for rollout in played),
        rounds=fmean(rollout.rounds for rollout in played),
        done=fmean(rollout.exposed == devices for rollout in played),
        held=fmean(rollout.is_held for rollout in played),
        broken=fmean(rollout.is_broken for rollout in played),
        bound=FIXED,
        bound_exposed=bound,
    )


def _sizing() -> Iterator[Cost]:
    """Time one batch where a million devices are left, at many points of a rollout, beside one chance.

    It is CPU time: other work on the machine should not count.
    """
    bound = percentile([_timed_us(partial(log_chance, 10**6, 20_100, log(ABOVE))) for _ in range(100)], 50)
    points = range(50, 20_050, 20)
    samples = [_timed_us(partial(_sized, exposed, share)) for exposed in points for share in (0, 100, 67)]
    for name, percent in (("median", 50.0), ("99th percentile", 99.0)):
        took = percentile(samples, percent)
        yield Cost(f"size a batch, {name}", "µs", took, "one chance of a batch of 1,000,000", bound)


def _sized(exposed: int, share: int) -> int:
    """Size a batch after so many devices, of which one in *share* failed, or none."""
    failed = exposed // share if share else 0
    return next_batch(exposed, failed, left=10**6, risk=25, above=ABOVE, delta=DELTA, rounds=ROUNDS)


def _timed_us(work: Callable[[], object]) -> float:
    begun = process_time()
    work()
    return (process_time() - begun) * 1_000_000
