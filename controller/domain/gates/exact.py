"""How often a rule stops a rollout, and after how many devices: exactly, by dynamic programming, without sampling.

Devices come one by one, each fails with the same probability, and its outcome is known before the next begins. That
flatters rules that wait for reports, and suits all rules alike.

>>> from controller.domain.gates.odds import stops_on
>>> found = run(lambda started: stops_on(started, above=0.02, alpha=0.01), rate=0.3, devices=200)
>>> found.median, f"{found.stopped:.6f}"
(9, '1.000000')
>>> run(lambda started: 1, rate=0.5, devices=3)
Crossing(stopped=0.875, median=1, lost=0.0)
"""

from collections.abc import Callable
from itertools import repeat
from operator import add, mul
from typing import Final

import msgspec

NEGLIGIBLE: Final = 1e-18
"""States less probable than this are dropped; `Crossing.lost` says how much was in all."""

_HALF: Final = 0.5

Boundary = Callable[[int], int]
"""From how many devices have begun, at least 1, to the smallest number of failures that stops; more than that: none."""


class Crossing(msgspec.Struct, frozen=True):
    """What becomes of a rollout under a rule."""

    stopped: float
    """The probability that it is ever stopped; too low by at most `lost`."""
    median: int | None
    """The number of devices within which half of all rollouts are stopped; None where fewer than half ever are."""
    lost: float
    """The probability of all that was dropped."""


def run(boundary: Boundary, *, rate: float, devices: int, restart_every: int | None = None) -> Crossing:
    """Return the probability that a rule stops a rollout, and when.

    It takes a step for each device and each number of failures that is likely and does not stop.

    Args:
        boundary: the smallest number of failures that stops, by how many devices have begun.
        rate: the probability with which each device fails, 0 to 1.
        devices: how many devices there are, 1 or more.
        restart_every: after how many devices the rule counts from zero again, devices and failures; None: never.

    Raises:
        AssertionError: if the rate or the number of devices is none.
    """
    assert 0 <= rate <= 1, f"a rate is a share from 0 to 1, not {rate}"
    assert devices > 0, f"a rollout has devices, not {devices}"
    state, stops = _State(), [0.0]
    for device in range(1, devices + 1):
        begun = (device - 1) % (restart_every or devices) + 1
        if begun == 1:
            state.restart()
        stops.append(stops[-1] + state.step(boundary(begun), rate))
    median = next((device for device, stopped in enumerate(stops) if stopped >= _HALF), None)
    return Crossing(stops[-1], median, state.lost)


class _State:
    """How probable each number of failures is, among rollouts that go on: `masses[i]` is that of `least + i`."""

    def __init__(self) -> None:
        self.least, self.masses, self.lost = 0, [1.0], 0.0

    def restart(self) -> None:
        """Begin to count from zero."""
        self.least, self.masses = 0, [sum(self.masses)]

    def step(self, limit: int, rate: float) -> float:
        """Let one device succeed or fail, and return the probability that *limit* failures are reached by it."""
        stay = map(mul, [*self.masses, 0.0], repeat(1 - rate))
        come = map(mul, [0.0, *self.masses], repeat(rate))
        masses: list[float] = list(map(add, stay, come))
        kept = max(0, limit - self.least)
        self.masses, stopped = masses[:kept], sum(masses[kept:])
        self._drop()
        return stopped

    def _drop(self) -> None:
        """Drop what is negligible at both ends."""
        masses = self.masses
        while masses and masses[-1] < NEGLIGIBLE:
            self.lost += masses.pop()
        skipped = next((index for index, mass in enumerate(masses) if mass >= NEGLIGIBLE), len(masses))
        self.lost += sum(masses[:skipped])
        self.least, self.masses = self.least + skipped, masses[skipped:]
