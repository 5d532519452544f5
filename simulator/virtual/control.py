"""What a seed draws of control groups: in some worlds stages hold devices back, and apps crash by themselves, too.

It is drawn from a chance of its own, so that all other worlds are the same with it and without. Each device of such a
world has something already, and whatever it has crashes at times; outages make all that are watched crash alike.
"""

import random
from typing import Final

import msgspec

from controller.domain.pipeline import Control, OnBreach, OnHealth, Pipeline, Stage, Targets, Trigger
from protocol.health import HEALTH, WATCH
from protocol.units import MINUTE, SECOND

CONTROL_EVERY: Final = 6
FLEET: Final = 24
SPARE: Final = 5
"""One stage in so many holds nobody back, and one device in so many cannot be watched."""
SHARES: Final = (5.0, 25.0, 50.0, 50.0)
SOAK_MS: Final = 2 * MINUTE


class ControlDraw(msgspec.Struct, frozen=True, kw_only=True):
    """How many of those who are watched crash whatever they have, and how many more with the bad version.

    Both are shares, `crash_ms` is the mean time. At `outages`, so long after the beginning, all do that are watched.
    `able` says of each device in turn whether its agent can watch what it has.
    """

    crashes: float = 0.0
    worse: float = 0.0
    crash_ms: int = SECOND
    outages: tuple[int, ...] = ()
    able: tuple[bool, ...] = (False,)

    def capabilities(self, number: int) -> tuple[str, ...]:
        """Return what the agent of a device can do besides."""
        return (HEALTH, WATCH) if self.able[number % len(self.able)] else ()


def draw_control(chance: random.Random) -> ControlDraw:
    """Return how often apps crash by themselves."""
    return ControlDraw(
        crashes=chance.choice((0.0, 0.1, 0.4)),
        worse=chance.choice((0.0, 0.5, 1.0, 1.0)),
        crash_ms=chance.choice((5 * SECOND, 20 * SECOND)),
        outages=tuple(chance.randrange(6 * MINUTE) for _ in range(chance.choice((0, 0, 1, 3)))),
        able=tuple(bool(chance.randrange(SPARE)) for _ in range(SPARE)),
    )


def held_back(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline most of whose stages hold devices back; alphas are large, since fleets are small."""
    stages = tuple(_held_back(chance, stage) for stage in pipeline.stages)
    return msgspec.structs.replace(pipeline, stages=stages, alpha_percent=50.0)


def _held_back(chance: random.Random, stage: Stage) -> Stage:
    rules = Control(share_percent=chance.choice(SHARES), tolerated=chance.choice((1.0, 1.0, 2.0)))
    gate = msgspec.structs.replace(
        stage.gate,
        soak_ms=chance.choice((SOAK_MS // 4, SOAK_MS)),
        health=OnHealth.COUNTED,
        control=rules if chance.randrange(SPARE) else None,
        on_breach=chance.choice((OnBreach.FAIL, OnBreach.PAUSE, OnBreach.ALERT)),
        success_percent=chance.choice((50.0, 90.0)),
    )
    wanted = stage.targets if chance.randrange(3) else Targets()
    return msgspec.structs.replace(
        stage, gate=gate, targets=wanted, trigger=Trigger.AUTOMATIC, approvals=0, allow_empty=True
    )
