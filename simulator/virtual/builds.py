"""What a seed draws of builds: in a third of the worlds one is bad, and gates and ramps go by how devices fare with it.

It is drawn from a chance of its own, so that all other worlds are the same with it and without.
"""

import random
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from controller.domain.pipeline import FailureLimit, Gate, OnBreach, Pipeline, Ramp, Sequential, Stage, Targets, Trigger
from protocol.units import MINUTE, SECOND

BUILDS_EVERY: Final = 3
CHAOS_MS: Final = 6 * MINUTE
"""How long such a world lasts at least: failures take their time."""
START: Final = 6
"""How likely people start runs, beside their other acts."""
GAP_MS_MAX: Final = 10 * SECOND
FLEETS: Final = (10, 16, 24)
"""Numbers of devices: what is told by shares needs more than a few."""
EASY: Final[Mapping[str, Any]] = {"trigger": Trigger.AUTOMATIC, "approvals": 0, "delay_ms": 0, "allow_empty": True}
"""What lets a stage begin."""
FLIGHTS: Final = (1, 3, 8)
ALPHAS: Final = (1.0, 20.0, 50.0)
"""In percent; with the largest, one failure among the first devices is evidence enough."""
ALPHAS_NAMED: Final = (None, None, 5.0, 20.0)
NAMED_MAX: Final = 2
"""How many stages may name an alpha of their own, so that something is left for the others."""


class BuildsDraw(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one version, and with the way of all to the devices.

    Shares of verifications that fail, and of installations in which a device falls silent until the world heals; the
    mean time between two outages in which no download succeeds, 0 for never, and how long one lasts, in milliseconds.
    It is wrong on some hardware `models` alone, or on all where none is named.
    """

    version: str = ""
    fails: float = 0.0
    silences: float = 0.0
    outage_gap_ms: int = 0
    outage_ms: int = 0
    models: tuple[str, ...] = ()


def draw_builds(chance: random.Random, version: str) -> BuildsDraw:
    """Return how bad *version* is."""
    return BuildsDraw(
        version=version,
        fails=chance.choice((0.0, 0.15, 0.5, 1.0)),
        silences=chance.choice((0.0, 0.0, 0.4)),
        outage_gap_ms=chance.choice((0, MINUTE)),
        outage_ms=chance.choice((15 * SECOND, 45 * SECOND)),
    )


def tested(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose gates test builds, limit failures, do both or neither; some of its stages ramp.

    They open by themselves and have many devices, so that there is something to tell by.
    """
    stages = tuple(_tested(chance, stage, number) for number, stage in enumerate(pipeline.stages))
    is_named = any(stage.gate.sequential is not None and stage.gate.sequential.alpha_percent for stage in stages)
    back = _gate(chance, pipeline.rollback.gate, None) if chance.randrange(2) else pipeline.rollback.gate
    return msgspec.structs.replace(
        pipeline,
        stages=stages,
        alpha_percent=ALPHAS[-1] if is_named else chance.choice(ALPHAS),
        rollback=msgspec.structs.replace(pipeline.rollback, gate=back),
    )


def _tested(chance: random.Random, stage: Stage, number: int) -> Stage:
    alpha = chance.choice(ALPHAS_NAMED) if number < NAMED_MAX else None
    gate = _gate(chance, stage.gate, alpha)
    ramp = None if gate.sequential is None or chance.randrange(2) else _ramp(chance)
    pace = msgspec.structs.replace(stage.pace, max_in_flight=chance.choice(FLIGHTS), ramp=ramp)
    targets = chance.choice((stage.targets, Targets(percent=50.0), Targets()))
    return msgspec.structs.replace(stage, targets=targets, gate=gate, pace=pace, **EASY)


def _gate(chance: random.Random, gate: Gate, alpha: float | None) -> Gate:
    test = Sequential(above=chance.choice((1.0, 5.0, 30.0)), alpha_percent=alpha)
    limit = gate.failures or FailureLimit(count=1)
    sequential, failures = chance.choice(((test, None), (test, None), (test, limit), (None, None)))
    return msgspec.structs.replace(
        gate,
        success_percent=chance.choice((0.0, 50.0, gate.success_percent)),
        sequential=sequential,
        failures=failures,
        on_breach=chance.choice(tuple(OnBreach)),
    )


def _ramp(chance: random.Random) -> Ramp:
    return Ramp(
        risk=chance.choice((1, 2)),
        delta_percent=chance.choice((1.0, 20.0, 50.0)),
        rounds=chance.choice((2, 15)),
        soak_ms=chance.choice((0, 0, 10 * SECOND)),
    )
