"""What becomes of a rollout that goes in batches: exactly, by dynamic programming over (exposed, failed)."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, lgamma, log, log1p
from typing import Final

from controller.domain.gates.ramp import next_batch

NEGLIGIBLE: Final = 1e-8
"""Batches with less probable numbers of failures are not followed; `Ended.lost` says how probable all of them were."""

Rule = Callable[[int, int, int], int]
"""From devices exposed, failures and batches so far to the next batch; 0 to hold."""


@dataclass
class Ended:
    """How probable each end of a rollout is, from 0 to 1: `broken` is that it ever broke the limit."""

    broken: float = 0.0
    held: float = 0.0
    done: float = 0.0
    lost: float = 0.0

    def stopped(self, weight: float, *, is_done: bool) -> None:
        """Note rollouts that go no further."""
        if is_done:
            self.done += weight
        else:
            self.held += weight

    def goes_on(self, state: tuple[int, int], weight: float, risk: int, above: float) -> bool:
        """Say whether a state is to be followed, and note what it is if not."""
        exposed, failed = state
        if failed > risk + above * exposed + 1e-9:
            self.broken += weight
        elif weight < NEGLIGIBLE:
            self.lost += weight
        else:
            return True
        return False


def ramp(devices: int, *, risk: int, above: float, delta: float, rounds: int = 15) -> Rule:
    """Return the rule of the product for a stage of so many devices."""

    @cache
    def batch(exposed: int, failed: int) -> int:
        left = devices - exposed
        return next_batch(exposed, failed, left=left, risk=risk, above=above, delta=delta, rounds=rounds)

    return lambda exposed, failed, spent: batch(exposed, failed) if spent < rounds else 0


def ended(rule: Rule, devices: int, *, rates: Sequence[float], risk: int, above: float) -> Ended:
    """Return how rollouts end under a rule, at one failure rate for each round; the last one stays.

    A rollout that broke its limit is not followed further, nor is one that holds or has reached all devices.
    """
    end, states, spent = Ended(), {(0, 0): 1.0}, 0
    while states:
        following: defaultdict[tuple[int, int], float] = defaultdict(float)
        for (exposed, failed), weight in states.items():
            batch = rule(exposed, failed, spent)
            if not batch:
                end.stopped(weight, is_done=exposed == devices)
                continue
            reached = exposed + batch
            masses = probable(batch, rates[min(spent, len(rates) - 1)])
            end.lost += weight * max(0.0, 1 - sum(masses.values()))
            for more, mass in masses.items():
                following[reached, failed + more] += weight * mass
        states = {state: weight for state, weight in following.items() if end.goes_on(state, weight, risk, above)}
        spent += 1
    return end


@cache
def probable(batch: int, rate: float) -> dict[int, float]:
    """Return the chance of each number of failures in a batch that is not negligible."""
    if rate in {0.0, 1.0}:
        return {round(batch * rate): 1.0}
    masses: dict[int, float] = {}
    mode = min(batch, int((batch + 1) * rate))
    for numbers in (range(mode, batch + 1), range(mode - 1, -1, -1)):
        for number in numbers:
            ways = lgamma(batch + 1) - lgamma(number + 1) - lgamma(batch - number + 1)
            mass = exp(ways + number * log(rate) + (batch - number) * log1p(-rate))
            if mass < NEGLIGIBLE:
                break
            masses[number] = mass
    return masses
