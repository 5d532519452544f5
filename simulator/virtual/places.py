"""What a seed draws of devices themselves: what they tell, where their clocks are, and what their agents can do.

It is drawn from a chance of its own, in some worlds; in the others devices tell nothing, and every agent will do.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from controller.domain.pipeline import Pipeline, Stage, Targets
from protocol.ids import DeviceId
from protocol.units import SECOND
from simulator.virtual.gates import windows

PLACED_EVERY: Final = 6
CAPABILITY: Final = "containers"
"""What an operation may require, and what only newer agents can do."""
TIMEZONE: Final = "timezone"
"""The label, or else the fact, that names a device's time zone."""
ZONES: Final = ("", "Asia/Kathmandu", "America/New_York", "Europe/Narnia")
"""One of them is nowhere: on such clocks no window ever opens."""
POWER: Final = "power"
SUPPLIES: Final = ("mains", "battery")
ON_MAINS: Final = f'facts.{POWER} == "mains"'


class PlacesDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Of each device in turn: its facts, the zone that its label names, and whether its agent is a new one.

    `requires` says whether operations require what new agents can do; `gap_ms` is the mean time between two changes in
    milliseconds.
    """

    facts: tuple[Mapping[str, str], ...]
    zones: tuple[str, ...]
    are_new: tuple[bool, ...]
    requires: bool
    gap_ms: int


def draw_places(chance: random.Random, devices: Sequence[DeviceId]) -> PlacesDraw | None:
    """Return what devices are like, None where they tell nothing."""
    if chance.randrange(PLACED_EVERY):
        return None
    requires = not chance.randrange(2)
    return PlacesDraw(
        facts=tuple(draw_facts(chance) for _ in devices),
        zones=tuple(chance.choice(ZONES) for _ in devices),
        are_new=tuple(not requires or bool(chance.randrange(2)) for _ in devices),
        requires=requires,
        gap_ms=chance.choice((5 * SECOND, 20 * SECOND)),
    )


def draw_facts(chance: random.Random) -> dict[str, str]:
    """Return what a device tells of itself."""
    zone = chance.choice(ZONES)
    return {POWER: chance.choice(SUPPLIES)} | ({TIMEZONE: zone} if zone else {})


def placed(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose stages go by what devices tell of themselves."""
    stages = tuple(_stage(chance, stage) for stage in pipeline.stages)
    return msgspec.structs.replace(pipeline, stages=stages, timezone=chance.choice(ZONES[:3]))


def _stage(chance: random.Random, stage: Stage) -> Stage:
    """Ask for the hour, or for what a device tells when it begins, or when it joins."""
    match chance.randrange(4):
        case 0:
            return msgspec.structs.replace(stage, windows=windows(chance))
        case 1:
            return msgspec.structs.replace(stage, preconditions=ON_MAINS)
        case 2:
            return msgspec.structs.replace(stage, targets=Targets(query=ON_MAINS, include_new=True))
        case _:
            return stage
