"""What the apps of one simulated device tell of themselves: numbers, and at times text, or nothing."""

from collections.abc import Iterator
from random import Random
from typing import Final

from agent.core.model import NOTHING_TOLD, Durable, Told
from controller.domain.pipeline import Metric, Worse
from protocol.outputs import OutputValue
from protocol.units import MINUTE
from simulator.virtual.world import World

FAR: Final = 1_000
"""How many times as much an outlier is."""


class Gauges:
    """What is read from the apps of one device, by a chance of that device, the time and the metric alone."""

    def __init__(self, world: World, label: str) -> None:
        """Take the world and the device's label."""
        self._world = world
        self._label = label

    def read(self, durable: Durable) -> Told:
        """Return what the apps tell now."""
        outputs = dict(self._outputs(is_bad=self._is_bad(durable)))
        return Told(outputs=outputs) if outputs else NOTHING_TOLD

    def _outputs(self, *, is_bad: bool) -> Iterator[tuple[str, OutputValue]]:
        draw = self._world.draws.metrics
        for metric in draw.metrics:
            chance = self._world.chance(f"{self._label}/{metric.name}/{self._world.now}")
            if chance.random() >= draw.gaps:
                is_text = chance.random() < draw.texts
                yield metric.name, "n/a" if is_text else self._number(metric, chance, is_bad=is_bad)

    def _number(self, metric: Metric, chance: Random, *, is_bad: bool) -> float:
        draw = self._world.draws.metrics
        if chance.random() < draw.outliers:
            return draw.base * FAR
        turn = 1 if metric.worse is Worse.HIGHER else -1
        drift = draw.drift * (self._world.elapsed_ms // MINUTE)
        return draw.base + drift + chance.randint(0, draw.spread) + (turn * draw.shift if is_bad else 0)

    def _is_bad(self, durable: Durable) -> bool:
        return any(release.version == self._world.draws.builds.version for release in durable.installed)
