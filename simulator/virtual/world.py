"""What all parts of one simulated world share: time, chance, whether faults are in force, and what was seen."""

import random
from collections import Counter
from typing import Final

from protocol.units import Instant
from simulator.virtual.draws import Draws
from simulator.virtual.scheduler import Scheduler
from simulator.virtual.sometimes import Sometimes

START: Final = Instant(1_800_000_000_000)
VIOLATIONS_MAX: Final = 20


class World:
    """Time, chance and memory of one seed.

    Parts that draw have a chance of their own, so that one more draw in one part changes nothing in another.
    """

    def __init__(self, draws: Draws, *, is_traced: bool = False) -> None:
        self.draws = draws
        self.scheduler = Scheduler(start=START)
        self.is_healed = False
        self.counts: Counter[Sometimes] = Counter()
        self.violations: list[str] = []
        self.unwritable_at: list[int] = []
        self.outage_until = 0
        self.timeline: list[str] = []
        self.is_traced = is_traced

    @property
    def now(self) -> Instant:
        """The true time, which nobody in the world can read."""
        return Instant(self.scheduler.now)

    @property
    def elapsed_ms(self) -> int:
        """How long the world has lasted."""
        return self.scheduler.now - START

    def chance(self, part: str) -> random.Random:
        """Return the chance of one part of the world."""
        return random.Random(f"{self.draws.seed}/{part}")

    def strikes(self, rate: float, chance: random.Random) -> bool:
        """Say whether a fault of this rate happens now; none does once the world is healed."""
        return rate > 0 and not self.is_healed and chance.random() < rate

    @property
    def is_out(self) -> bool:
        """Whether no download succeeds now."""
        return not self.is_healed and self.now < self.outage_until

    def sometimes(self, path: Sometimes) -> None:
        """Count that a rare path was taken."""
        self.counts[path] += 1

    def say(self, who: str, text: str) -> None:
        """Note something for the timeline."""
        if self.is_traced:
            self.timeline.append(f"{self.elapsed_ms / 1000:10.3f}  {who:12}  {text}")

    def violated(self, law: str, text: str) -> None:
        """Note that a law was broken; the seed ends after this event."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(f"{law}: {text}")
        self.say("LAW BROKEN", f"{law}: {text}")
