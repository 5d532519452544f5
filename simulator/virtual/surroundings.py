"""What changes about devices by itself while faults are in force: what they tell, and the agents that run on them."""

from collections.abc import Sequence
from typing import Final

from simulator.virtual.connection import NOTICE_MS_MAX
from simulator.virtual.device import Device
from simulator.virtual.places import draw_facts
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

TOLD_SOON: Final = 2
"""Of so many changes one is told at once; the others wait for the next hello."""


class Surroundings:
    """Change one device after the other, where that is drawn."""

    def __init__(self, world: World, devices: Sequence[Device]) -> None:
        self._world = world
        self._devices = devices
        self._chance = world.chance("surroundings")

    def begin(self) -> None:
        """Let something change now and then."""
        places = self._world.draws.places
        if places is not None:
            self._world.scheduler.after(1 + int(self._chance.expovariate(1) * places.gap_ms), self._act)

    def _act(self) -> None:
        if self._world.is_healed:
            return
        device = self._chance.choice(self._devices)
        if self._chance.randrange(3):
            device.tells(draw_facts(self._chance))
        elif not device.can_all:
            self._world.sometimes(Sometimes.AGENT_RENEWED)
            device.renew_agent()
        if device.connection is not None and not self._chance.randrange(TOLD_SOON):
            device.connection.cut(notice_ms_max=self._chance.choice((100, NOTICE_MS_MAX)))
        self.begin()
