"""What a seed draws of admission: in a quarter of the worlds stages ask something of devices, and people hold and pin.

It is drawn from a chance of its own, so that all else in a world is the same with it and without.
"""

import random
from typing import Final

import msgspec

from controller.domain.pipeline import Pace, PerSite, Pipeline, Stage
from controller.domain.window import Window
from protocol.units import SECOND
from simulator.virtual.pipelines import RATES

SITE: Final = "ring"
"""The label that stands for a place: all devices have it, and people change it."""
ZONES: Final = ("", "Asia/Kathmandu", "America/New_York")
PERIOD: Final = 7
"""In minutes; one by which no zone's distance can be divided, so that a wrong clock shows."""
OPEN: Final = 3
PRECONDITIONS: Final = ('labels.ring == "canary"', '!group("eu")', 'app("shop").version >= "2" || !has(app("shop"))')


class AdmissionDraw(msgspec.Struct, frozen=True, kw_only=True):
    """The mean time between two orders about a device in milliseconds, 0 for none."""

    gap_ms: int


def draw_admission(chance: random.Random) -> AdmissionDraw | None:
    """Return what people order in a world, or None where nothing is asked of devices."""
    if chance.randrange(4):
        return None
    return AdmissionDraw(gap_ms=chance.choice((0, 10 * SECOND, 30 * SECOND)))


def asking(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose stages ask something of devices."""
    stages = tuple(_stage(chance, stage) for stage in pipeline.stages)
    return msgspec.structs.replace(pipeline, stages=stages, timezone=chance.choice(ZONES))


def _stage(chance: random.Random, stage: Stage) -> Stage:
    site = PerSite(label=SITE, max=1) if not chance.randrange(3) else None
    return msgspec.structs.replace(
        stage,
        pace=Pace(max_in_flight=stage.pace.max_in_flight, per_site=site),
        windows=windows(chance) if not chance.randrange(3) else (),
        preconditions=chance.choice(PRECONDITIONS) if not chance.randrange(4) else "",
    )


def crowded(chance: random.Random, stage: Stage) -> Stage:
    """Return a stage that has a rate and a limit for each site at once, whatever else it asks."""
    site = PerSite(label=SITE, max=chance.choice((1, 1, 2)))
    return msgspec.structs.replace(
        stage,
        pace=msgspec.structs.replace(stage.pace, per_minute=chance.choice(RATES), per_site=site),
        preconditions=stage.preconditions if chance.randrange(2) else "",
    )


def windows(chance: random.Random) -> tuple[Window, ...]:
    """Return three minutes of each seven."""
    first = chance.randrange(PERIOD)
    minutes = [first + PERIOD * number for number in range(24 * 60 // PERIOD)]
    return tuple(Window(begin=minute, end=min(minute + OPEN, 24 * 60)) for minute in minutes)
