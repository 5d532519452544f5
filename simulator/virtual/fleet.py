"""All devices of a world; some are replaced by other hardware of the same name."""

from collections.abc import Iterator
from typing import Final

from protocol.ids import DeviceId
from simulator.virtual.beginning import identity, kept, profile_of, trusts
from simulator.virtual.device import INCARNATION, Device
from simulator.virtual.keys import Keys, Pair
from simulator.virtual.oracle import Oracle
from simulator.virtual.server import Server
from simulator.virtual.sometimes import Sometimes
from simulator.virtual.world import World


class Fleet:
    """The devices; `devices` is one list for all who act on them, in which a new one takes the place of an old one."""

    def __init__(self, world: World, server: Server, oracle: Oracle, keys: Keys) -> None:
        self._world = world
        self._server = server
        self._oracle = oracle
        self._keys = keys
        self._trusts = trusts(keys, world.draws.floors)
        self._spare_count = 0
        self._models = dict(self._begun_with())
        self.devices: Final = list(self._begun())

    def spare(self) -> tuple[str, Pair]:
        """Return the label and the key of hardware that nobody has seen yet."""
        self._spare_count += 1
        label = f"spare{self._spare_count}"
        self._models[label] = self._world.chance(f"{label}/model").choice(self._world.draws.models.names)
        return label, self._keys.pair(label)

    def hardware(self, name: DeviceId) -> tuple[str, Pair]:
        """Return the label and the key of the hardware that bears a name."""
        found = self._first(name)
        return found.label, found.key

    def model(self, label: str) -> str:
        """Return the model of hardware by its label."""
        return self._models[label]

    def restart(self, name: DeviceId) -> None:
        """Let the agent begin anew, which has new papers."""
        self._first(name).crash()

    def replace(self, name: DeviceId, label: str, key: Pair) -> None:
        """Scrap the hardware that bears a name, and let other hardware begin in its place, with nothing on it."""
        old = self._first(name)
        old.scrap()
        incarnation = f"{self._spare_count + 1:x}".rjust(len(INCARNATION), "0")
        new = self._device(name, label, key, incarnation=incarnation)
        self.devices[self.devices.index(old)] = new
        new.power_on()

    def _first(self, name: DeviceId) -> Device:
        return next(device for device in self.devices if device.name == identity(name))

    def _begun_with(self) -> Iterator[tuple[str, str]]:
        """Yield the labels of the hardware of the beginning, clones too, and its models."""
        for number, name in enumerate(self._world.draws.devices):
            model = self._world.draws.models.of(number)
            yield from ((name, model), (f"{name}'", model))

    def _begun(self) -> Iterator[Device]:
        for number, name in enumerate(self._world.draws.devices):
            key = self._keys.pair(name)
            yield self._device(name, name, key, number=number)
            if number == 0 and self._world.draws.device.clones:
                self._world.sometimes(Sometimes.CLONED)
                yield self._device(name, f"{name}'", key, number=number)

    def _device(
        self, name: DeviceId, label: str, key: Pair, *, number: int | None = None, incarnation: str = INCARNATION
    ) -> Device:
        """Make a device: one of those that were there at the beginning, by its number, or one that is new."""
        draws = self._world.draws
        return Device(
            self._world,
            self._server,
            self._oracle,
            name=identity(name),
            label=label,
            key=key,
            trusts=self._trusts,
            kept=None if number is None else kept(identity(name), draws),
            profile=profile_of(draws, number or 0, model=self._models[label]),
            incarnation=incarnation,
        )
