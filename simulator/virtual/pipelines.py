"""What pipelines a seed draws: stages of all kinds, their targets, gates and clocks."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from controller.domain.pipeline import (
    FailureLimit,
    Gate,
    Growth,
    OnBreach,
    OnFailure,
    Pace,
    Pipeline,
    Retry,
    Rollback,
    Stage,
    Targets,
    Timeouts,
    Trigger,
)
from protocol.ids import DeviceId, StageName
from protocol.units import MINUTE, SECOND, Millis
from simulator.virtual.shapes import left_open

GROUPS: Final = ("eu", "eu/berlin", "europe", "us")
NEWER: Final = 'app("shop").version >= "2"'
QUERIES: Final = (
    'app("shop").version < "9"',
    NEWER,
    '!(app("shop").version in ["10", "1.0"])',
    '!has(app("shop")) || app("shop").version == "1"',
    'group("eu") || labels.ring == "canary"',
    'labels.ring != "canary" && model in ["k1", "k2"]',
    '!group("eu")',
)
DEVICES_MAX: Final = 8
RATES: Final = (1, 2, 7, 90, Growth(start=2, factor=3.0, every=1, max=20))
"""Devices in a minute."""


def draw_pipeline(chance: random.Random, name: str, devices: tuple[DeviceId, ...]) -> Pipeline:
    """Return a pipeline of up to three stages."""
    count = chance.choice((1, 1, 2, 2, 3))
    stages: list[Stage] = []
    for number in range(count):
        is_last = number == count - 1
        earlier = [stage.name for stage in stages]
        needs = tuple(chance.sample(earlier, 1)) if earlier and chance.randrange(5) else ()
        stages.append(draw_stage(chance, StageName(f"s{number + 1}"), needs, devices, is_last=is_last))
    return Pipeline(name=name, stages=tuple(stages), timeout_ms=Millis(int(chance.uniform(10, 40) * MINUTE)))


def changed(pipeline: Pipeline, change: Callable[[Stage], Stage]) -> Pipeline:
    """Return a pipeline with another stage in place of each."""
    return msgspec.structs.replace(pipeline, stages=tuple(change(stage) for stage in pipeline.stages))


def timed(pipeline: Pipeline, limits: Mapping[str, int]) -> Pipeline:
    """Return a pipeline whose stages have other limits, in milliseconds by the names of their fields."""

    def limited(stage: Stage) -> Stage:
        return msgspec.structs.replace(stage, timeouts=msgspec.structs.replace(stage.timeouts, **limits))

    return changed(pipeline, limited)


def paced(chance: random.Random, pipelines: Sequence[Pipeline]) -> tuple[Pipeline, ...]:
    """Give the stages of a quarter of all worlds rates, from a chance of its own."""
    if chance.randrange(4):
        return tuple(pipelines)
    return tuple(changed(pipeline, partial(_with_rate, chance)) for pipeline in pipelines)


def _with_rate(chance: random.Random, stage: Stage) -> Stage:
    rate = chance.choice((None, *RATES))
    return msgspec.structs.replace(stage, pace=msgspec.structs.replace(stage.pace, per_minute=rate))


def with_rollback(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Let some stages take back what was reached when they fail, by rules that are drawn, too; and let more fail."""
    failing = changed(pipeline, partial(_failing, chance))
    rules = Rollback(
        pace=chance.choice((None, Pace(max_in_flight=1), Pace(max_in_flight=3))),
        gate=_gate(chance),
        timeouts=_timeouts(chance),
        retry=Retry(attempts_max=chance.choice((1, 3)), backoff_ms=Millis(SECOND)),
    )
    ruled = msgspec.structs.replace(failing, rollback=rules, parameters={}, template=())
    return left_open(ruled) if pipeline.parameters else ruled


def _failing(chance: random.Random, stage: Stage) -> Stage:
    return msgspec.structs.replace(
        stage,
        on_failure=chance.choice((stage.on_failure, OnFailure.ROLLBACK, OnFailure.ROLLBACK)),
        gate=chance.choice((stage.gate, Gate(sequential=None, failures=FailureLimit(count=0)))),
    )


def failing_late(stage: Stage) -> Stage:
    """Return a stage that fails, and asks nobody, when a device has failed; mostly others have succeeded by then."""
    limit = FailureLimit(count=1)
    gate = Gate(success_percent=100.0, sequential=None, failures=limit, on_breach=OnBreach.FAIL)
    return msgspec.structs.replace(stage, gate=gate, retry=Retry(attempts_max=1))


def of_whoever_comes(stage: Stage) -> Stage:
    """Return a stage that takes in, one after the other, who comes to have a newer version while it rolls out."""
    wanted = Targets(query=NEWER, include_new=True)
    gate = msgspec.structs.replace(stage.gate, success_percent=100.0)
    return msgspec.structs.replace(stage, targets=wanted, gate=gate, pace=Pace(max_in_flight=1))


def tried_often(stage: Stage) -> Stage:
    """Return a stage that takes all devices at once, has each of them try again at once, and stops for nothing."""
    return msgspec.structs.replace(
        of_everybody(stage),
        approvals=0,
        delay_ms=0,
        pace=Pace(max_in_flight=DEVICES_MAX),
        gate=Gate(success_percent=0.0, failures=FailureLimit(count=DEVICES_MAX)),
        retry=Retry(attempts_max=5, backoff_ms=Millis(SECOND)),
        timeouts=Timeouts(accept_ms=Millis(2 * MINUTE), lease_ms=Millis(10 * MINUTE), stage_ms=Millis(20 * MINUTE)),
        on_failure=OnFailure.CONTINUE,
        windows=(),
        preconditions="",
    )


def of_everybody(stage: Stage) -> Stage:
    """Return a stage that takes all devices, at once."""
    return msgspec.structs.replace(stage, targets=Targets(), trigger=Trigger.AUTOMATIC)


def draw_stage(
    chance: random.Random,
    name: StageName,
    needs: tuple[StageName, ...],
    devices: tuple[DeviceId, ...],
    *,
    is_last: bool,
) -> Stage:
    """Return a stage; the last one takes all devices that are left."""
    return Stage(
        name=name,
        needs=needs,
        targets=Targets() if is_last else _targets(chance, devices),
        trigger=chance.choice((Trigger.AUTOMATIC, Trigger.AUTOMATIC, Trigger.MANUAL)),
        delay_ms=chance.choice((0, 0, 5_000)),
        pace=Pace(max_in_flight=chance.choice((1, 1, 2, 3, DEVICES_MAX))),
        gate=_gate(chance),
        timeouts=_timeouts(chance),
        retry=Retry(attempts_max=chance.choice((1, 2, 3, 5)), backoff_ms=chance.choice((1_000, 10_000))),
        on_failure=chance.choice((OnFailure.STOP_RUN, OnFailure.STOP_BRANCH, OnFailure.CONTINUE)),
        allow_empty=bool(chance.randrange(3)),
    )


def _targets(chance: random.Random, devices: tuple[DeviceId, ...]) -> Targets:
    match chance.randrange(7):
        case 4 | 5:
            return Targets(query=chance.choice(QUERIES))
        case 6:
            return Targets(groups=tuple(chance.sample(GROUPS, chance.choice((1, 2)))))
        case 0:
            return Targets(labels={"ring": "canary"})
        case 1:
            return Targets(percent=chance.choice((20.0, 50.0)))
        case 2:
            return Targets(exclude=(chance.choice(devices),))
        case _:
            excluded = chance.choice(devices)
            listed = chance.sample(devices, chance.randint(1, len(devices)))
            return Targets(devices=tuple(d for d in listed if d != excluded), exclude=(excluded,))


def _gate(chance: random.Random) -> Gate:
    return Gate(
        sequential=None,
        success_percent=chance.choice((0.0, 50.0, 90.0, 100.0)),
        straggler_after_ms=chance.choice((None, None, 60_000)),
        soak_ms=chance.choice((0, 0, 10_000)),
        failures=chance.choice(
            (
                FailureLimit(count=chance.choice((0, 1, 3))),
                FailureLimit(percent=chance.choice((10.0, 50.0)), min_sample=chance.choice((1, 3))),
            )
        ),
        on_breach=chance.choice((OnBreach.PAUSE, OnBreach.FAIL)),
    )


def _timeouts(chance: random.Random) -> Timeouts:
    return Timeouts(
        accept_ms=Millis(int(chance.uniform(15, 120) * SECOND)),
        lease_ms=Millis(int(chance.uniform(20, 180) * SECOND)),
        stage_ms=Millis(int(chance.uniform(2, 15) * MINUTE)),
    )
