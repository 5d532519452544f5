"""A pipeline of 40 stages: a pilot, nine diamonds one behind the other, and a last fan-out.

>>> stages = pipeline_stages()
>>> len(stages), depth(stages), max(len(stage.needs) for stage in stages)
(40, 20, 3)
"""

from collections.abc import Iterator, Sequence
from typing import Final

from controller.domain.pipeline import FailureLimit, Gate, Pace, Retry, Stage, Targets, Trigger
from protocol.ids import StageName

DIAMONDS: Final = 9
WIDTH: Final = 3
STAGE_COUNT: Final = 1 + DIAMONDS * (WIDTH + 1) + WIDTH
IN_FLIGHT_MAX: Final = 500

_GATE: Final = Gate(success_percent=50, sequential=None, failures=FailureLimit(percent=20, min_sample=50))
BY_HAND: Final = StageName("join4")
"""The stage that somebody has to promote."""


def pipeline_stages() -> tuple[Stage, ...]:
    """Return the stages; the last takes every device that no other has taken.

    Between them they ask for devices in every way that there is: by label, fact, version, group, list and query.
    """
    return tuple(_stage(index, name, needs) for index, (name, needs) in enumerate(_shape()))


def depth(stages: Sequence[Stage]) -> int:
    """Return how many stages the longest way through has; each stage stands after what it needs."""
    depths: dict[str, int] = {}
    for stage in stages:
        depths[stage.name] = 1 + max((depths[need] for need in stage.needs), default=0)
    return max(depths.values())


def _shape() -> Iterator[tuple[StageName, tuple[StageName, ...]]]:
    """Yield each stage with what it needs."""
    yield StageName("pilot"), ()
    top = StageName("pilot")
    for number in range(1, DIAMONDS + 1):
        sides = tuple(StageName(f"side{number}-{side}") for side in range(WIDTH))
        yield from ((side, (top,)) for side in sides)
        top = StageName(f"join{number}")
        yield top, sides
    yield from ((StageName(f"last-{side}"), (top,)) for side in range(WIDTH))


def _stage(index: int, name: StageName, needs: tuple[StageName, ...]) -> Stage:
    return Stage(
        name=name,
        needs=needs,
        targets=_targets(index),
        trigger=Trigger.MANUAL if name == BY_HAND else Trigger.AUTOMATIC,
        pace=Pace(max_in_flight=IN_FLIGHT_MAX),
        gate=_GATE,
        retry=Retry(attempts_max=3),
    )


def _targets(index: int) -> Targets:
    """Return a hundredth of the fleet, found in one of five ways; for the last stage, everybody."""
    if index == STAGE_COUNT - 1:
        return Targets()
    wave = f"w{index}"
    return (
        Targets(labels={"wave": wave}),
        Targets(query=f'facts.wave == "{wave}"'),
        Targets(groups=(f"fleet/{wave}",)),
        Targets(query=f'labels.wave in ["{wave}", "none"] && app("shop").version < "1.0.0"'),
        Targets(query=f'labels.wave.startsWith("{wave}-")', labels={"region": "eu"}),
    )[index % 5]
