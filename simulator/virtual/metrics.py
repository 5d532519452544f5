"""What a seed draws of metrics: in half of the worlds that hold devices back, stages compare what devices tell, too.

It is drawn from a chance of its own, so that all other worlds are the same with it and without. The bad version is
slower or hungrier in some of them, in others better, and in others only seems to be either.
"""

import random
from typing import Final

import msgspec

from controller.domain.pipeline import Control, Metric, OnBreach, Pace, Pipeline, Stage, Targets, Worse
from protocol.health import MEASURE
from protocol.units import SECOND
from simulator.virtual.pipelines import DEVICES_MAX

METRICS_EVERY: Final = 2
"""Of so many worlds that hold devices back one compares metrics."""
SPARE: Final = 8
"""One device in so many tells nothing at all, and one stage in so many compares no metric."""
CRASHING_EVERY: Final = 3
"""Of so many of them one is as it was; in the others metrics tell what the bad version is, and crashes do not."""
SOAK_MS: Final = 60 * SECOND
"""Long enough for numbers to be fresh, and short enough for many to be told."""
NAMES: Final = ("scan_ms", "free_mb")
ALPHA_PERCENT: Final = 40.0
"""What the metrics of a stage have of the alpha of their run, where that is named: much, since fleets are small."""


class MetricsDraw(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of each metric, and by whom.

    A device tells `base`, by `drift` more each minute, and up to `spread` more. `outliers`, `texts` and `gaps` are the
    shares of what is told that is far off, no number, or missing. The bad version is worse by `shift`. `able` says of
    each device in turn whether its agent can measure.
    """

    metrics: tuple[Metric, ...] = ()
    base: int = 100
    spread: int = 0
    drift: float = 0.0
    outliers: float = 0.0
    texts: float = 0.0
    gaps: float = 0.0
    shift: int = 0
    able: tuple[bool, ...] = (False,)

    def capabilities(self, number: int) -> tuple[str, ...]:
        """Return what the agent of a device can do besides, where it can watch."""
        return (MEASURE,) if self.able[number % len(self.able)] else ()


def draw_metrics(chance: random.Random) -> MetricsDraw:
    """Return what devices tell; with a spread of none or one many tell the same."""
    names = chance.sample(NAMES, chance.choice((1, 2)))
    return MetricsDraw(
        metrics=tuple(Metric(name=name, worse=chance.choice(tuple(Worse))) for name in names),
        spread=chance.choice((0, 1, 1, 20)),
        drift=chance.choice((0.0, 0.0, 7.5)),
        outliers=chance.choice((0.0, 0.1)),
        texts=chance.choice((0.0, 0.1)),
        gaps=chance.choice((0.0, 0.1)),
        shift=chance.choice((0, 10, 10, 10, -10)),
        able=tuple(bool(chance.randrange(SPARE)) for _ in range(SPARE)),
    )


def compared(chance: random.Random, pipeline: Pipeline, metrics: tuple[Metric, ...]) -> Pipeline:
    """Return a pipeline whose stages compare metrics, most that hold devices back."""
    stages = tuple(_compared(chance, stage, metrics) for stage in pipeline.stages)
    return msgspec.structs.replace(pipeline, stages=stages)


def _compared(chance: random.Random, stage: Stage, metrics: tuple[Metric, ...]) -> Stage:
    group: Control | None = stage.gate.control
    wanted = metrics if chance.randrange(2) else metrics[:1]
    return stage if group is None or not chance.randrange(SPARE) else _with(stage, group, wanted)


def decided(chance: random.Random, pipeline: Pipeline, metrics: tuple[Metric, ...]) -> Pipeline:
    """Return a pipeline whose first stage has as many pairs as there can be, and little else that stops it.

    In it the alpha of each metric is named, and large.
    """
    first, *others = pipeline.stages
    named = tuple(msgspec.structs.replace(metric, alpha_percent=ALPHA_PERCENT / len(metrics)) for metric in metrics)
    known = _with(first, msgspec.structs.replace(first.gate.control or Control(), share_percent=50.0), named)
    rules = {"sequential": None, "failures": None, "soak_ms": SOAK_MS}
    gate = msgspec.structs.replace(known.gate, on_breach=chance.choice((OnBreach.PAUSE, known.gate.on_breach)), **rules)
    first = msgspec.structs.replace(known, gate=gate, pace=Pace(max_in_flight=DEVICES_MAX), targets=Targets())
    return msgspec.structs.replace(pipeline, stages=(first, *(_unnamed(stage) for stage in others)))


def _unnamed(stage: Stage) -> Stage:
    """Return a stage whose test of failures names no alpha."""
    if stage.gate.sequential is None:
        return stage
    test = msgspec.structs.replace(stage.gate.sequential, alpha_percent=None)
    return msgspec.structs.replace(stage, gate=msgspec.structs.replace(stage.gate, sequential=test))


def _with(stage: Stage, group: Control, metrics: tuple[Metric, ...]) -> Stage:
    control = msgspec.structs.replace(group, metrics=metrics)
    return msgspec.structs.replace(stage, gate=msgspec.structs.replace(stage.gate, control=control))
