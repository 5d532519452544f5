"""Who takes devices out of the fleet, and brings some of them back: the same hardware, or another of the same name."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from controller.app import devices, removing
from controller.app.errors import ControllerError
from protocol.ids import DeviceId
from protocol.units import SECOND
from simulator.virtual.beginning import CLAIM, identity
from simulator.virtual.fleet import Fleet
from simulator.virtual.keys import Pair
from simulator.virtual.laws.law import Asked
from simulator.virtual.oracle import Oracle
from simulator.virtual.server import Server
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World

REASON: Final = "drawn"
AWAY_MS_MAX: Final = 120 * SECOND
TRY_AGAIN_MS: Final = 5 * SECOND
ANSWER_MS: Final = 30 * SECOND
"""How long somebody who enrols a device waits for an answer."""

Ask = Callable[[str, str, Any], None]


class Remover:
    """Draws from a chance of its own, where a world removes devices."""

    def __init__(self, world: World, server: Server, oracle: Oracle, fleet: Fleet, *, ask: Ask) -> None:
        self._world = world
        self._server = server
        self._oracle = oracle
        self._fleet = fleet
        self._ask = ask
        self._chance = world.chance("removals")
        self._coming: set[DeviceId] = set()
        """Devices that somebody is enrolling."""
        self._waiting: set[int] = set()
        """Requests that may yet be answered. A controller that dies says so to nobody who waits for its answer."""

    def begin(self) -> None:
        """Remove a device now and then."""
        gap_ms = self._world.draws.removals.gap_ms
        if gap_ms:
            self._world.scheduler.after(1 + int(self._chance.expovariate(1) * gap_ms), self._act)

    def _act(self) -> None:
        if self._world.is_healed:
            return
        device = self._chance.choice(self._world.draws.devices)
        self._ask("remove", device, partial(removing.remove, device=device, reason=REASON))
        if self._chance.random() < self._world.draws.removals.returns:
            self._world.scheduler.after(self._chance.randint(1, AWAY_MS_MAX), partial(self._bring_back, device))
        self.begin()

    def _bring_back(self, device: DeviceId) -> None:
        """Enrol a device that is gone, unless it was broken: nobody has mended it."""
        if self._world.is_healed:
            return
        picture = self._oracle.picture
        is_gone = picture.names[identity(device)].id in picture.removed - picture.broken
        if is_gone and device not in self._coming:
            self._coming.add(device)
            is_replaced = self._chance.random() < self._world.draws.removals.replaced
            self._enrol(device, *(self._fleet.spare() if is_replaced else self._fleet.hardware(device)))

    def _enrol(self, device: DeviceId, label: str, key: Pair) -> None:
        """Enrol a device, by the label of its hardware or of what takes its place; try until that is answered."""
        self._world.say(label, f"asks to be enrolled as {device}")
        asked = self._oracle.asked("enrol", device, by=label)
        self._waiting.add(asked.number)
        self._world.scheduler.after(ANSWER_MS, lambda: self._not_enrolled(asked, label, key, None))
        self._server.request(
            lambda controller: devices.enrol(
                controller,
                claim=CLAIM,
                device=device,
                model=self._fleet.model(label),
                hardware_id=label,
                csr_pem="",
                signing_key=key.public,
                sealing_key=bytes(32),
            ),
            answered=lambda _: self._enrolled(asked, label, key),
            failed=lambda error: self._not_enrolled(asked, label, key, error),
        )

    def _enrolled(self, asked: Asked, label: str, key: Pair) -> None:
        if asked.number not in self._waiting:
            return
        self._waiting.discard(asked.number)
        device = DeviceId(asked.subject)
        self._oracle.answered(asked, is_done=True)
        is_replaced = label != self._fleet.hardware(device)[0]
        self._coming.discard(device)
        self._world.sometimes(Sometimes.REPLACED if is_replaced else Sometimes.BROUGHT_BACK)
        self._world.say(label, f"is enrolled as {device}")
        if is_replaced:
            self._fleet.replace(device, label, key)
        else:
            self._fleet.restart(device)

    def _not_enrolled(self, asked: Asked, label: str, key: Pair, error: ControllerError | None) -> None:
        if asked.number not in self._waiting:
            return
        self._waiting.discard(asked.number)
        device = DeviceId(asked.subject)
        self._oracle.answered(asked, is_done=False)
        self._world.say(label, f"is not told that it is enrolled: {error or 'no answer'}")
        self._world.scheduler.after(TRY_AGAIN_MS, lambda: self._enrol(device, label, key))
