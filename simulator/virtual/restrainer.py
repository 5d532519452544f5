"""The operators who hold and pin devices and order upgrade paths; they lift all of it once the world heals."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from controller.app import paths, restraining
from protocol.units import SECOND, Instant
from simulator.virtual.beginning import APP
from simulator.virtual.draws import VERSIONS
from simulator.virtual.picture import Picture
from simulator.virtual.world import World

REASON = "drawn"
HOLD_MS_MAX = 60 * SECOND
PATHS: tuple[Mapping[str, Any], ...] = (
    {},
    {"forbidden": VERSIONS[0]},
    {"allowed": f">={VERSIONS[1]}"},
    {"through": (VERSIONS[1],)},
    {"forbidden": VERSIONS[0], "through": (VERSIONS[1],)},
)
"""Ways to a release: from all versions, not from the first, only from the second on, or not past the second."""


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
        self._paths = world.chance("paths")

    def begin(self) -> None:
        """Order something now and then, where that is drawn."""
        draw = self._world.draws.admission
        if draw is not None and draw.gap_ms:
            self._world.scheduler.after(1 + int(self._chance.expovariate(1) * draw.gap_ms), self._act)

    def begin_paths(self) -> None:
        """Say now and then from which versions a release may be installed, where that is drawn."""
        gap_ms = self._world.draws.paths.gap_ms
        if gap_ms:
            self._world.scheduler.after(1 + int(self._paths.expovariate(1) * gap_ms), self._order_path)

    def settle(self) -> None:
        """Lift every hold and every pin that there is."""
        for device_id in sorted(self._picture.holds.keys() - self._picture.removed):
            device = self._picture.devices[device_id].device
            self._ask("unhold", device, partial(restraining.unhold, device=device, reason=REASON))
        for device_id in sorted(self._picture.pins.keys() - self._picture.removed):
            device = self._picture.devices[device_id].device
            self._ask("unpin", device, partial(restraining.unpin, device=device, app=APP, reason=REASON))
        for version in sorted(self._picture.paths):
            self._ask("order the path to", version, partial(paths.order, app=APP, version=version, reason=REASON))

    def _order_path(self) -> None:
        if self._world.is_healed:
            return
        version = self._paths.choice(VERSIONS[1:])
        order = self._paths.choice(PATHS)
        self._ask("order the path to", version, partial(paths.order, app=APP, version=version, **order, reason=REASON))
        self.begin_paths()

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
