"""How long to wait before a lane connects again, and when somebody else is taken to use it. Pure.

Two owners of one client id kick each other out for ever, about once a second, if both just connect again. So who is
kicked out waits for minutes, longer each time, and says so.

>>> retries = Retries(Limits())
>>> retries.wait_s(How.UNREACHABLE, lived_s=0.0, chance=1.0), retries.wait_s(How.UNREACHABLE, lived_s=0.0, chance=1.0)
(1.0, 2.0)
>>> retries.wait_s(How.TAKEN_OVER, lived_s=60.0, chance=1.0), retries.is_taken_over
(120.0, True)
"""

from typing import Final

from controller.mqtt.connection import How
from controller.mqtt.limits import Limits

_DOUBLINGS_MAX: Final = 16


class Retries:
    """What one lane has been through, and its next wait."""

    def __init__(self, limits: Limits) -> None:
        """Take the waits."""
        self._limits = limits
        self._failures = 0
        self._early_losses = 0
        self._takeovers = 0
        self.is_taken_over = False

    def wait_s(self, how: How, *, lived_s: float, chance: float) -> float:
        """Return the wait after a connection has ended, in seconds.

        Args:
            how: how it ended.
            lived_s: how long before that the broker accepted it; 0 when it never did.
            chance: drawn evenly from 0 to 1, so that lanes, and controllers, do not come all at once.
        """
        self._early_losses += how is How.LOST and 0.0 < lived_s < self._limits.early_s
        if lived_s >= self._limits.early_s or how is How.UNREACHABLE:  # nobody takes anything over where nobody listens
            self._early_losses = 0
        if lived_s >= self._limits.taken_over_wait_max_s:
            self._takeovers = 0
        self.is_taken_over = how is How.TAKEN_OVER or self._early_losses >= self._limits.early_losses_max
        if self.is_taken_over:
            return self._long_wait_s(chance)
        self._failures = 0 if lived_s >= self._limits.early_s else self._failures
        ceiling_s = min(self._limits.retry_first_s * (1 << self._failures), self._limits.retry_max_s)
        self._failures = min(self._failures + 1, _DOUBLINGS_MAX)
        return chance * ceiling_s

    def _long_wait_s(self, chance: float) -> float:
        """Return at least half of a wait that doubles."""
        self._early_losses = 0
        wait_s = min(self._limits.taken_over_wait_s * (1 << self._takeovers), self._limits.taken_over_wait_max_s)
        self._takeovers = min(self._takeovers + 1, _DOUBLINGS_MAX)
        return wait_s * (1 + chance) / 2
