"""What a seed draws of silence: in some worlds stages mind who is offline after its success, and devices are cut off.

It is drawn from a chance of its own, so that all other worlds are the same with it and without.
"""

import random
from typing import Final

import msgspec

from controller.domain.pipeline import Pipeline, Stage
from protocol.units import MINUTE, SECOND
from simulator.virtual.builds import EASY, FLIGHTS

SILENCE_EVERY: Final = 6
CHAOS_MS: Final = 8 * MINUTE
"""How long such a world lasts at least: silence takes its time."""
SOAKS: Final = (40 * SECOND, 90 * SECOND)
SPANS: Final = (10 * SECOND, 20 * SECOND, 40 * SECOND)


class SilenceDraw(msgspec.Struct, frozen=True, kw_only=True):
    """How many of those who get `version` are cut off by it after their success, and after how long on average.

    Without one it is every version that does so.
    `outage_gap_ms` is the mean time between two outages in which nobody is reached, 0 for never, and `outage_ms` how
    long one lasts. Those who are cut off come back when the world heals.
    """

    version: str = ""
    cuts: float = 0.0
    cuts_ms: int = SECOND
    outage_gap_ms: int = 0
    outage_ms: int = SECOND


def draw_silence(chance: random.Random, version: str) -> SilenceDraw:
    """Return how *version* cuts devices off, and how often nobody is reached."""
    return SilenceDraw(
        version=version,
        cuts=chance.choice((0.0, 0.4, 0.4, 1.0)),
        cuts_ms=chance.choice((SECOND, 10 * SECOND)),
        outage_gap_ms=chance.choice((0, 0, 90 * SECOND)),
        outage_ms=chance.choice((20 * SECOND, 80 * SECOND)),
    )


def minded(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose stages soak, and mind who is offline meanwhile, but for some."""
    stages = tuple(_minded(chance, stage) if chance.randrange(4) else stage for stage in pipeline.stages)
    return msgspec.structs.replace(pipeline, stages=stages)


def _minded(chance: random.Random, stage: Stage) -> Stage:
    gate = msgspec.structs.replace(
        stage.gate,
        soak_ms=chance.choice(SOAKS),
        silent_after_ms=chance.choice(SPANS),
        success_percent=chance.choice((0.0, 50.0, stage.gate.success_percent)),
    )
    pace = msgspec.structs.replace(stage.pace, max_in_flight=chance.choice(FLIGHTS))
    return msgspec.structs.replace(stage, gate=gate, pace=pace, **EASY)
