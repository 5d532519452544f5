"""What a seed draws of proofs: in some worlds stages pass as soon as it is evident that few enough fail.

It is drawn from a chance of its own, so that all other worlds are the same with it and without.
"""

import random
from typing import Final

import msgspec

from controller.domain.pipeline import Pipeline, Proof, Stage

PROOFS_EVERY: Final = 6


def proved(chance: random.Random, pipeline: Pipeline) -> Pipeline:
    """Return a pipeline of which some stages pass by proof; fleets are small, so that little proves much."""
    stages = tuple(_proved(chance, stage) if chance.randrange(3) else stage for stage in pipeline.stages)
    return msgspec.structs.replace(pipeline, stages=stages)


def _proved(chance: random.Random, stage: Stage) -> Stage:
    proof = Proof(below=chance.choice((30.0, 50.0)), beta_percent=chance.choice((10.0, 30.0, 50.0)))
    gate = msgspec.structs.replace(stage.gate, proof=proof, straggler_after_ms=None)
    return msgspec.structs.replace(stage, gate=gate)
