"""What some worlds have besides: stages in any graph, conditions, parameters, and what starts runs by itself.

All of it is drawn from a chance of its own, so that every other world stays as it is.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from controller.documents.load import Kind, load_one
from controller.documents.render import to_document
from controller.domain.pipeline import OnFailure, Pipeline, Stage, Targets
from controller.domain.trigger import JobTrigger, OnRelease, OnSchedule
from protocol.ids import DeviceId, StageName
from protocol.units import SECOND

STAGES_MAX: Final = 7
NEEDS_MAX: Final = 3
EDITS: Final = 3
CHANNEL: Final = "stable"
OUTPUT: Final = "boot_ms"
OUTPUT_MAX: Final = 1_000
FLIGHT: Final = "flight"
"""The parameter for the pace of all stages."""
DELIVERY: Final = "DELIVERY"
"""The variable by which a run says which delivery has started it."""
FLIGHT_MAX: Final = 4

DrawStage = Callable[[random.Random, StageName, tuple[StageName, ...]], Stage]


class ShapeDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Of each job in turn: what its pipeline may be edited to, what starts its runs, and the id of its hook, if any.

    `tells` is the share of verifications that tell outputs, `gap_ms` the mean time between two acts.
    """

    edits: tuple[tuple[Pipeline, ...], ...]
    triggers: tuple[tuple[JobTrigger, ...], ...]
    hooks: tuple[str | None, ...]
    tells: float
    gap_ms: int


def draw_shape(
    chance: random.Random, pipelines: Sequence[Pipeline], stage: DrawStage, devices: Sequence[DeviceId]
) -> ShapeDraw:
    """Return the shape of a world; the last edit of each pipeline is the one to begin with."""
    return ShapeDraw(
        edits=tuple(tuple(_pipeline(chance, one, stage, devices) for _ in range(EDITS)) for one in pipelines),
        triggers=tuple(_triggers(chance) for _ in pipelines),
        hooks=tuple(chance.choice((None, f"hook-{one.name}")) for one in pipelines),
        tells=chance.choice((0.5, 0.9, 1.0)),
        gap_ms=int(chance.choice((5, 15, 40)) * SECOND),
    )


def _triggers(chance: random.Random) -> tuple[JobTrigger, ...]:
    triggers: list[JobTrigger] = []
    if chance.randrange(2):
        triggers.append(OnSchedule(cron=f"*/{chance.choice((1, 2, 3))} * * * *"))
    if chance.randrange(2):
        triggers.append(OnRelease(channel=CHANNEL))
    return tuple(triggers)


def _pipeline(chance: random.Random, base: Pipeline, draw_stage: DrawStage, devices: Sequence[DeviceId]) -> Pipeline:
    """Draw stages of which each needs up to three of those before it: chains, fans and diamonds.

    Mostly the devices are dealt out: the first stages would take all of so few, and leave nothing to be decided.
    """
    stages: list[Stage] = []
    count, dealt = chance.randint(2, STAGES_MAX), chance.sample(devices, len(devices))
    is_dealt = bool(chance.randrange(4))
    for number in range(1, count + 1):
        earlier = [stage.name for stage in stages]
        needs = tuple(chance.sample(earlier, min(len(earlier), chance.choice((0, 1, 1, 2, NEEDS_MAX)))))
        stage = draw_stage(chance, StageName(f"s{number}"), needs)
        when = _condition(chance, needs) if needs and chance.randrange(3) else ""
        own = tuple(dealt[number - 1 :: count]) if is_dealt else ()
        stages.append(
            msgspec.structs.replace(
                stage,
                when=when,
                targets=Targets(devices=own) if own else stage.targets,
                on_failure=chance.choice((OnFailure.CONTINUE, stage.on_failure)),
                allow_empty=bool(chance.randrange(8)),
            )
        )
    pipeline = msgspec.structs.replace(base, stages=tuple(stages))
    return left_open(pipeline) if chance.randrange(2) else pipeline


def _condition(chance: random.Random, needs: Sequence[StageName]) -> str:
    asked = chance.sample(needs, min(len(needs), chance.choice((1, 1, 2))))
    return chance.choice((" && ", " || ")).join(_term(chance, stage) for stage in asked)


def _term(chance: random.Random, stage: StageName) -> str:
    figure = f'{chance.choice(("min", "max", "avg"))}("{stage}", "{OUTPUT}")'
    compare = chance.choice(("<", "<=", ">", ">="))
    text = chance.choice(
        (
            f'count("{stage}", state == "failed") <= {chance.choice((0, 1))}',
            f'count("{stage}") > {chance.choice((0, 1))}',
            f'share("{stage}", state == "succeeded") >= {chance.choice((50, 100))}%',
            *[f"{figure} {compare} {chance.randint(1, OUTPUT_MAX)}"] * 3,
        )
    )
    return f"!({text})" if not chance.randrange(4) else text


def left_open(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline in which the pace of all stages is left to whoever starts a run."""
    document: dict[str, Any] = to_document(pipeline)
    for stage in document["stages"]:
        stage["pace"] = {"max_in_flight": f"${{{FLIGHT}}}"}
    document["parameters"] = {FLIGHT: {"type": "int", "default": 2, "min": 1, "max": FLIGHT_MAX}}
    loaded = load_one(json.dumps(document), Kind.PIPELINE)
    assert isinstance(loaded, Pipeline)
    return loaded
