"""What laws know of models: under which name a stage tests a device, and whom a quarantine keeps out of a run.

Nothing of it is asked of the code that it judges.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from controller.app.records import RunRecord, TargetRecord
from controller.domain.model import ModelRun

OTHERS: Final = ""
"""What all models that have no test of their own stand under."""
_TESTED_MIN: Final = 2
_PART_OF_ALL: Final = 0.5
"""What the test of all devices has of alpha where models have tests, too; the models share the rest alike."""


def name_of(models: Mapping[str, ModelRun], model: str | None) -> str:
    """Return under which name a stage counts devices of a model."""
    return model if model is not None and model in models else OTHERS


def is_kept_out(run: RunRecord, model: str) -> bool:
    """Say whether a model is quarantined in any stage of a run, by itself or among others."""
    found = (stage.models.get(name_of(stage.models, model)) for stage in run.run.stages)
    return any(one is not None and one.breach is not None for one in found)


def is_tested(run: RunRecord, index: int) -> bool:
    """Say whether each model of a stage has a test of its own."""
    gate, named = run.plan.pipeline.stages[index].gate, run.run.stages[index].models.keys() - {OTHERS}
    return gate.sequential is not None and gate.models == "quarantine" and len(named) >= _TESTED_MIN


def part_of_all(run: RunRecord, index: int) -> float:
    """Return the part of a stage's alpha that the test of all its devices has."""
    return _PART_OF_ALL if is_tested(run, index) else 1.0


def part_of_one(run: RunRecord, index: int) -> float:
    """Return the part of a stage's alpha that the test of one of its models has."""
    return (1 - _PART_OF_ALL) / len(run.run.stages[index].models)


def rest(run: RunRecord, index: int, rows: Sequence[TargetRecord]) -> Sequence[TargetRecord]:
    """Return the rows of a stage that the test of all devices counts: those of models that are not kept out."""
    out = _out(run, index)
    models = run.run.stages[index].models
    return [row for row in rows if name_of(models, row.model) not in out] if out else rows


def accepted_of_rest(run: RunRecord, index: int, accepted: int) -> int:
    """Return how many failures of these a person has accepted, of so many of all."""
    models = run.run.stages[index].models
    return accepted - sum(models[name].accepted for name in _out(run, index))


def any_left(run: RunRecord, index: int, rows: Sequence[TargetRecord]) -> bool:
    """Say whether a stage has devices left, or has lost none to a quarantine."""
    is_any_out = any(one.breach is not None for stage in run.run.stages for one in stage.models.values())
    return bool(rest(run, index, rows)) or not is_any_out


def _out(run: RunRecord, index: int) -> frozenset[str]:
    return frozenset(name for name in run.run.stages[index].models if is_kept_out(run, name))
