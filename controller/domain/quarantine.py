"""The models of a stage: each has a test of its own, and is quarantined if it fails too often; the rest goes on.

The rules this module keeps:

1. Who is tested is fixed with the membership of a stage: the models that have most devices there, each by itself, and
   all others together, newcomers too. One model alone needs no test beside that of the stage.
2. The tests of the models share one half of the stage's alpha alike; the test of all devices together has the other.
3. A quarantine holds for the run: of that model nothing begins any more, in no stage. What is at work goes on.
4. The quarantine is kept until a person readmits the model. Evidence goes on, and it takes one failure more than was
   accepted to quarantine it again.
5. The test of all devices together counts those that are not quarantined, and so does the share of successes.

**Why rule 5 keeps the promise.** Call a model good if each device of it fails with a probability of at most what is
tolerated, whatever went before; models that are tested together are one. The model of a device is known before its
outcome, so the evidence against a good model reaches its threshold with a probability of at most the alpha of its test,
and some good model is quarantined with one of at most alpha / 2. Suppose that none is: then the devices left out are of
bad models. While a bad model is left in, a stop is no false one. Once only good ones are left, the numbers are those of
an ordinary test that had counted the devices of good models from the beginning, and that ever stops with a probability
of at most alpha / 2. Both together are alpha, however many models are bad; if none is, the second is the ordinary test
of all devices. What another stage quarantines falsely is paid for by the alpha of that stage.

>>> known = begun({"k1": 900, "k3": 30}, takes_new=False)
>>> {model: at_work.tally.targets for model, at_work in known.items()}
{'k1': 900, 'k3': 30}
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from controller.domain.counters import Tally, folded
from controller.domain.gates import judgement, odds
from controller.domain.gates.judgement import Excepted, Reading
from controller.domain.model import Breach, ModelRun, Plan, Run, StageRun, stage_changed
from controller.domain.pipeline import OnModel, Stage
from controller.domain.target import Delta, TargetState

MODELS_MAX: Final = 64
"""How many models of a stage have a test each; the others have one together."""
OTHERS: Final = ""
"""What the models that have no test of their own stand under; no device has a model of this name."""
POOLED: Final = 0.5
"""The share of alpha of the test of all devices together, where models have tests, too."""
TESTED_MIN: Final = 2

Models = Mapping[str, ModelRun]


class Barred(msgspec.Struct, frozen=True):
    """Which models a run keeps out: those quarantined in one of its `stages`, each the models of one stage.

    A model that has no test of its own in a stage shares the fate of all such, whether that stage has it or not.
    """

    stages: tuple[Models, ...] = ()

    def has(self, model: str | None) -> bool:
        """Say whether nothing of a model may begin; of one that is not known it may."""
        return self.breach(model) is not None

    def breach(self, model: str | None) -> Breach | None:
        """Return what a model is quarantined for, or None where it is not."""
        found = (None if model is None else _entry(models, model) for models in self.stages)
        return next((entry.breach for entry in found if entry is not None and entry.breach is not None), None)


def barred(run: Run) -> Barred:
    """Return which models a run keeps out."""
    stages = (stage.models for stage in run.stages)
    return Barred(tuple(models for models in stages if any(one.breach is not None for one in models.values())))


def begun(counts: Mapping[str, int], *, takes_new: bool) -> dict[str, ModelRun]:
    """Return the models of a stage when its membership is fixed, by the number of devices that each has."""
    ranked = sorted(counts, key=lambda model: (-counts[model], model))
    models = {model: _of(counts[model]) for model in ranked[:MODELS_MAX]}
    rest = sum(counts[model] for model in ranked[MODELS_MAX:])
    return models | {OTHERS: _of(rest)} if ranked[MODELS_MAX:] or takes_new else models


def joined(models: Models, counts: Mapping[str, int]) -> Models:
    """Return the models of a stage after newcomers, all queued; those of a model without a test are others."""
    now = dict(models)
    for model, count in counts.items():
        name = model if model in now else OTHERS
        if name in now:
            tally = now[name].tally
            now[name] = _changed(now[name], tally=msgspec.structs.replace(tally, queued=tally.queued + count))
    return now


def counted(models: Models, deltas: Iterable[Delta]) -> Models:
    """Return the models of a stage after the changes of any number of devices."""
    if not models:
        return models
    by_name: defaultdict[str, list[Delta]] = defaultdict(list)
    for delta in deltas:
        if delta.model is not None:
            by_name[delta.model if delta.model in models else OTHERS].append(delta)
    known = ((name, changes) for name, changes in by_name.items() if name in models)
    return {**models, **{name: _changed(models[name], tally=folded(models[name].tally, own)) for name, own in known}}


def covers(models: Models, name: str, model: str | None) -> bool:
    """Say whether devices of *model* count under *name* in a stage with these models."""
    return model is not None and (model == name or (name == OTHERS and model not in models))


def is_tested(stage: Stage, at_work: StageRun) -> bool:
    """Say whether the models of a stage have tests of their own."""
    gate, named = stage.gate, len(at_work.models) - (OTHERS in at_work.models)
    return gate.sequential is not None and gate.models is OnModel.QUARANTINE and named >= TESTED_MIN


def alpha_of(plan: Plan, run: Run, index: int) -> float:
    """Return how likely the test of one model of a stage may be wrong."""
    return judgement.alpha_of(plan.pipeline, index) * (1 - POOLED) / len(run.stages[index].models)


def excepted(stage: Stage, at_work: StageRun, out: Barred) -> Excepted:
    """Return what the gate of a stage leaves out of its test, and the part of alpha that this has."""
    entries = [entry for model, entry in at_work.models.items() if out.stages and out.has(model)]
    return Excepted(
        tallies=tuple(entry.tally for entry in entries),
        accepted=sum(entry.accepted for entry in entries),
        share=POOLED if is_tested(stage, at_work) else 1.0,
    )


def refuted(plan: Plan, run: Run, index: int) -> Iterator[str]:
    """Yield the models of a stage against which there is enough evidence now, and that are not quarantined there."""
    stage, models = plan.pipeline.stages[index], run.stages[index].models
    failing = [name for name, one in models.items() if one.breach is None and one.tally.blamed > one.accepted]
    if not failing or not is_tested(stage, run.stages[index]):
        return
    assert stage.gate.sequential is not None
    alpha = alpha_of(plan, run, index)
    yield from (
        name for name in failing if judgement.is_refuted(stage.gate.sequential, models[name].tally, alpha=alpha)
    )


def quarantined(plan: Plan, run: Run, index: int, *, model: str, now: int) -> Run:
    """Return a run that keeps a model out, by what a stage knows of it at run time *now*."""
    models = run.stages[index].models
    reading = read(plan, run, index, model)
    breach = Breach(at=now, failed=reading.failed, exposed=reading.exposed, evidence=str(reading))
    return stage_changed(run, index, models={**models, model: _changed(models[model], breach=breach)})


def waiting(at_work: StageRun, out: Barred) -> Iterator[str]:
    """Yield under which names devices of a stage are queued that may not begin any more."""
    yield from (name for name, one in at_work.models.items() if one.tally.queued and out.has(name))


def kept_out(at_work: StageRun, out: Barred, model: str) -> list[str]:
    """Return under which names devices of a stage may not begin now that *model* is quarantined; it may be no name."""
    names = [name for name in at_work.models if out.has(name)]
    is_among_others = OTHERS in at_work.models and model not in at_work.models
    return [*names, model] if is_among_others else names


def returned(models: Models, deltas: Iterable[Delta], out: Barred) -> set[str]:
    """Return the models of devices that came back to the queue, are not counted by name, and may not begin any more."""
    came = (delta for delta in deltas if delta.after is TargetState.QUEUED)
    uncounted = {delta.model for delta in came if delta.is_control or delta.model not in models}
    return {model for model in uncounted if model is not None and out.has(model)}


def accepted(run: Run, index: int) -> Run:
    """Return a run in which all failures of a stage that are counted so far are accepted, by all of its tests."""
    at_work = run.stages[index]
    models = {model: _changed(one, accepted=one.tally.blamed) for model, one in at_work.models.items()}
    return stage_changed(run, index, accepted=at_work.tally.blamed, models=models)


def readmitted(run: Run, model: str) -> Run:
    """Return a run that keeps a model out no more, and in which what has failed so far is accepted."""
    for index in range(len(run.stages)):
        run = accepted(run, index)
        stage = run.stages[index]
        entry = stage.models.get(model)
        if entry is not None and entry.breach is not None:
            run = stage_changed(run, index, models={**stage.models, model: _changed(entry, breach=None)})
    return run


def names(run: Run) -> tuple[str, ...]:
    """Return under which names models are quarantined in a run."""
    found = {name for stage in run.stages for name, one in stage.models.items() if one.breach is not None}
    return tuple(sorted(found))


def read(plan: Plan, run: Run, index: int, model: str) -> Reading:
    """Return the test of one model of a stage that tests them, as people see it."""
    test = plan.pipeline.stages[index].gate.sequential
    assert test is not None
    one = run.stages[index].models[model]
    return judgement.read_alone(test, one.tally, alpha=alpha_of(plan, run, index), accepted=one.accepted)


def stops_on(plan: Plan, run: Run, index: int, model: str) -> int:
    """Return the number of failures with which a model is quarantined, in a stage that tests its models."""
    test = plan.pipeline.stages[index].gate.sequential
    assert test is not None
    one = run.stages[index].models[model]
    stop = odds.stops_on(one.tally.exposed, above=test.above / 100, alpha=alpha_of(plan, run, index))
    return max(stop, one.accepted + 1)


def closest(plan: Plan, run: Run, index: int, out: Barred) -> str | None:
    """Return the model of a stage that is next to be quarantined; None while no one has failed, or none is tested."""
    stage, at_work = plan.pipeline.stages[index], run.stages[index]
    test = stage.gate.sequential
    if test is None or not is_tested(stage, at_work):
        return None
    tallies = {model: one.tally for model, one in at_work.models.items() if one.tally.blamed and not out.has(model)}
    weighed = {
        model: odds.log_evidence(tally.blamed, tally.exposed, above=test.above / 100)
        for model, tally in tallies.items()
    }
    return max(weighed, key=weighed.__getitem__, default=None)


def said(model: str) -> str:
    """Return a name in words.

    >>> said("kiosk-3"), said(OTHERS)
    ('model kiosk-3', 'each other model')
    """
    return f"model {model}" if model else "each other model"


def _entry(models: Models, model: str) -> ModelRun | None:
    return models.get(model) or models.get(OTHERS)


def _of(count: int) -> ModelRun:
    return ModelRun(tally=Tally(queued=count))


def _changed(entry: ModelRun, **changes: object) -> ModelRun:
    return msgspec.structs.replace(entry, **changes)
