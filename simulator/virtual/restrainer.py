"""The operators who hold and pin devices while faults are in force, and lift all of it once the world heals."""

from functools import partial
from typing import Any, Protocol

from controller.app import restraining
from protocol.units import SECOND, Instant
from simulator.virtual.beginning import APP
from simulator.virtual.draws import VERSIONS
from simulator.virtual.picture import Picture
from simulator.virtual.world import World

REASON = "drawn"
HOLD_MS_MAX = 60 * SECOND


class Ask(Protocol):
    """Asks the controller for an act, by its name and subject."""

    def __call__(self, act: str, subject: str, use: Any) -> None:
        """Ask."""


class Restrainer:
    """Orders about devices, drawn from a chance of its own."""

    def __init__(self, world: World, picture: Picture, ask: Ask) -> None:
        self._world = world
        self._picture = picture
        self._ask = ask
        self._chance = world.chance("restraints")

    def begin(self) -> None:
        """Order something now and then, where that is drawn."""
        draw = self._world.draws.admission
        if draw is not None and draw.gap_ms:
            self._world.scheduler.after(1 + int(self._chance.expovariate(1) * draw.gap_ms), self._act)

    def settle(self) -> None:
        """Lift every hold and every pin that there is."""
        for device_id in sorted(self._picture.holds):
            device = self._picture.devices[device_id].device
            self._ask("unhold", device, partial(restraining.unhold, device=device, reason=REASON))
        for device_id in sorted(self._picture.pins):
            device = self._picture.devices[device_id].device
            self._ask("unpin", device, partial(restraining.unpin, device=device, app=APP, reason=REASON))

    def _act(self) -> None:
        if self._world.is_healed:
            return
        device = self._chance.choice(self._world.draws.devices)
        match self._chance.randrange(5):
            case 0:
                self._ask("hold", device, partial(restraining.hold, device=device, reason=REASON))
            case 1:
                self._ask("hold", device, partial(restraining.hold, device=device, reason=REASON, until=self._end()))
            case 2:
                versions = self._chance.choice(VERSIONS)
                use = partial(restraining.pin, device=device, app=APP, versions=versions, reason=REASON)
                self._ask("pin", device, use)
            case 3:
                self._ask("unpin", device, partial(restraining.unpin, device=device, app=APP, reason=REASON))
            case _:
                self._ask("unhold", device, partial(restraining.unhold, device=device, reason=REASON))
        self.begin()

    def _end(self) -> Instant:
        return Instant(self._picture.wall_now() + 1 + self._chance.randrange(HOLD_MS_MAX))
