"""What a seed draws of hardware: in some worlds devices are of several models, and a build is bad on some of them.

It is drawn from a chance of its own, so that all other worlds are the same with it and without.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from controller.domain.pipeline import OnModel, Pipeline, Sequential, Stage, Targets
from protocol.ids import DeviceId
from protocol.units import MINUTE, SECOND
from simulator.virtual.builds import BuildsDraw
from simulator.virtual.faults import SOUND_CONTROLLER

MODELS: Final = ("k1", "k2", "k3", "k4")
FIRST: Final = 2
"""Of so many models there are canaries from the beginning; devices of all others come to be some, if at all."""
TESTED: Final = 0.6
"""The share of worlds with several models, of those whose gates test builds."""
UNTESTED: Final = 0.15
"""Their share of all other worlds."""
FLEET: Final = 16
"""Devices: what is told of each model by itself needs more than a few."""
ALPHAS: Final = (20.0, 50.0)
"""In percent; so much that a few failures quarantine a model."""
WILD_EVERY: Final = 3
"""Of so many of them one has all its faults; in the others little strikes but the build, so that much is tried."""
IGNORED_EVERY: Final = 6
RELABEL_GAP_MS: Final = 3 * SECOND
CHAOS_MS: Final = 10 * MINUTE
CALM_NETWORK: Final[Mapping[str, Any]] = {
    "loss": 0.01,
    "delay_ms": 20,
    "late_share": 0.0,
    "cut_gap_ms": 0,
    "window": 16,
}
CALM_CONTROLLER: Final = msgspec.structs.replace(SOUND_CONTROLLER, kill_at_commit=0.003, down_ms=20 * SECOND)
CALM_DEVICE: Final[Mapping[str, Any]] = {
    "kill_at_commit": 0.002,
    "disk_full": 0.0,
    "power_gap_ms": 0,
    "step_ms": 500,
    "download_fails": 0.02,
    "verify_fails": 0.0,
    "breaks": 0.0,
}
NEWCOMERS: Final = (
    Targets(labels={"ring": "canary"}, include_new=True),
    Targets(groups=("eu/berlin",), include_new=True),
)


class ModelsDraw(msgspec.Struct, frozen=True, kw_only=True):
    """The models that there are, that of each device in turn, and the mean time between two readmissions.

    There is no list of devices where all are of the first model. The time is in milliseconds, 0 for never.
    """

    names: tuple[str, ...] = MODELS[:1]
    of_devices: tuple[str, ...] = ()
    readmit_gap_ms: int = 0

    def of(self, number: int) -> str:
        """Return the model of a device by its number."""
        return self.of_devices[number % len(self.of_devices)] if self.of_devices else self.names[0]


def draw_models(chance: random.Random, devices: Sequence[DeviceId]) -> ModelsDraw:
    """Return the models of *devices*."""
    names = MODELS[: chance.choice((1, 2, 2, 3, 4))]
    return ModelsDraw(
        names=names,
        of_devices=tuple(chance.choice(names) for _ in devices),
        readmit_gap_ms=chance.choice((0, 20 * SECOND, MINUTE)),
    )


def bad_on_some(chance: random.Random, builds: BuildsDraw, names: Sequence[str]) -> BuildsDraw:
    """Return a build that is bad on one or two models, at times on rare ones, and so bad that it shows."""
    count = min(len(names), chance.choice((1, 1, 2)))
    bad = tuple(names[-count:]) if not chance.randrange(3) else tuple(sorted(chance.sample(names, count)))
    return msgspec.structs.replace(builds, models=bad, fails=chance.choice((0.5, 1.0, 1.0)))


def told_apart(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline most of whose gates test each model by itself; the last of several stages has who is left."""
    last = len(pipeline.stages) - 1
    stages = tuple(_told_apart(chance, one, is_rest=0 < index == last) for index, one in enumerate(pipeline.stages))
    alpha = max(chance.choice(ALPHAS), pipeline.alpha_percent)
    return msgspec.structs.replace(pipeline, stages=stages, alpha_percent=alpha)


def _told_apart(chance: random.Random, stage: Stage, *, is_rest: bool) -> Stage:
    test = stage.gate.sequential or Sequential()
    gate = msgspec.structs.replace(
        stage.gate,
        models=OnModel.QUARANTINE if chance.randrange(IGNORED_EVERY) else OnModel.IGNORED,
        sequential=msgspec.structs.replace(test, above=chance.choice((1.0, 5.0, 10.0))),
        failures=chance.choice((None, None, None, stage.gate.failures)),
    )
    targets = Targets() if is_rest else chance.choice((stage.targets, Targets(percent=50.0), *NEWCOMERS))
    return msgspec.structs.replace(stage, gate=gate, targets=targets)
