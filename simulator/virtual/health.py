"""What a seed draws of health: in half of the worlds with a bad version, that version crashes later on some devices.

It is drawn from a chance of its own, so that all other worlds are the same with it and without. Most devices of such
worlds can watch what they install, and most stages soak.
"""

import random
from typing import Final

import msgspec

from controller.domain.pipeline import Gate, OnHealth, Pipeline, Stage
from protocol.health import HEALTH, WATCH
from protocol.units import SECOND
from simulator.virtual.builds import BuildsDraw

ABLE: Final = (HEALTH, WATCH)
BLIND_EVERY: Final = 5
SOAKS: Final = (0, 20 * SECOND, 60 * SECOND, 60 * SECOND)


class HealthDraw(msgspec.Struct, frozen=True, kw_only=True):
    """How many of those who have a bad version suffer from it later, after how long, and which devices watch.

    `ails` is a share, `ails_ms` the mean time, `able` says of each device in turn whether its agent can watch.
    """

    ails: float = 0.0
    ails_ms: int = SECOND
    able: tuple[bool, ...] = (False,)

    def capabilities(self, number: int) -> tuple[str, ...]:
        """Return what the agent of a device can do besides."""
        return ABLE if self.able[number % len(self.able)] else ()


def draw_health(chance: random.Random) -> HealthDraw | None:
    """Return how a bad version does later, or None where that is as it was."""
    if chance.randrange(2):
        return None
    return HealthDraw(
        ails=chance.choice((0.3, 0.7, 1.0)),
        ails_ms=chance.choice((SECOND, 5 * SECOND, 30 * SECOND)),
        able=tuple(bool(chance.randrange(BLIND_EVERY)) for _ in range(BLIND_EVERY)),
    )


def soaked(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose stages soak, but for some, and mind how devices do meanwhile, but for fewer."""
    stages = tuple(msgspec.structs.replace(stage, gate=_gate(chance, stage)) for stage in pipeline.stages)
    return msgspec.structs.replace(pipeline, stages=stages)


def later(chance: random.Random, build: BuildsDraw) -> BuildsDraw:
    """Return a version that at first seems to be good, in most worlds: then crashes alone tell what it is."""
    return msgspec.structs.replace(build, fails=0.0, silences=0.0) if chance.randrange(3) else build


def _gate(chance: random.Random, stage: Stage) -> Gate:
    """Return a gate that soaks; some stop for no failures, and go by their share of successes alone."""
    health = OnHealth.COUNTED if chance.randrange(BLIND_EVERY) else OnHealth.IGNORED
    gate = msgspec.structs.replace(stage.gate, soak_ms=chance.choice(SOAKS), health=health)
    share = chance.choice((50.0, 90.0))
    if stage.pace.ramp is not None or chance.randrange(3):
        return gate
    return msgspec.structs.replace(gate, sequential=None, failures=None, success_percent=share)
