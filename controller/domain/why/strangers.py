"""Why no stage has a device: what the first that would take it waits for, else why none would."""

from collections.abc import Iterator

from controller.domain import approval, graph, query
from controller.domain.model import StageRun
from controller.domain.pipeline import Targets
from controller.domain.quarantine import barred
from controller.domain.query.explain import explain
from controller.domain.rerun import Source
from controller.domain.selector import Exclusion, exclusion
from controller.domain.states import StageState
from controller.domain.why.case import Case, wall
from controller.domain.why.circumstances import frozen, held
from controller.domain.why.fact import Code, Fact


def stranger(case: Case) -> Iterator[Fact]:
    """Yield why no stage has the device: of the first that would take it what it waits for, else why none would."""
    if case.run.state.is_terminal:
        text = f"the run has ended, and the device was in none of its stages: {case.run.state}"
        yield Fact(code=Code.RUN_ENDED, text=text, change="start another run that has it")
    elif barred(case.run).has(case.device.described.model):
        yield _kept_out(case)
        return
    if case.plan.source is not None:
        yield from _not_taken(case, case.plan.source)
        return
    stages = {stage.name: index for index, stage in enumerate(case.plan.pipeline.stages)}
    order = [stages[name] for name in graph.in_order({s.name: s.needs for s in case.plan.pipeline.stages})]
    wanting = [index for index in order if _exclusion(case, index) is None]
    to_come = [
        index for index in wanting if not case.run.stages[index].state.is_verdict and not _is_frozen(case, index)
    ]
    for index in to_come[:1]:
        yield from _unopened(case, index)
        yield from held(case)
        yield from frozen(case)
    for index in order:
        if index not in to_come[:1]:
            yield _missed(case, index)


def _kept_out(case: Case) -> Fact:
    """Return that no stage takes the device any more, for its model."""
    model = case.device.described.model
    breach = barred(case.run).breach(model)
    assert breach is not None
    text = f"its model {model} is quarantined in this run, and no stage takes it: {breach.evidence}"
    return Fact(code=Code.QUARANTINED, text=text, change="readmit the model before the stage opens")


def _not_taken(case: Case, source: Source) -> Iterator[Fact]:
    """Yield why a run over an earlier one does not have the device, or that this is not decided yet."""
    closed = [at_work.is_frozen or at_work.state.is_verdict for at_work in case.run.stages]
    if all(closed):
        text = f"the run takes devices of run {source.run} alone, and this one it does not have"
        yield Fact(code=Code.NO_MEMBER, text=text, change="start a run that has it")
        return
    name = case.plan.pipeline.stages[closed.index(False)].name
    text = f"the run takes devices of run {source.run}, whether this one is decided when stage {name} opens"
    yield Fact(code=Code.NOT_OPEN, text=text, change=f"stage {name} opens")
    yield from held(case)
    yield from frozen(case)


def _is_frozen(case: Case, index: int) -> bool:
    return case.run.stages[index].is_frozen


def _unopened(case: Case, index: int) -> Iterator[Fact]:
    """Yield what a stage that would take the device still waits for."""
    stage, at_work = case.plan.pipeline.stages[index], case.run.stages[index]
    if at_work.state is StageState.AWAITING_PROMOTION:
        yield _promotion(case, index)
        return
    if at_work.met_at is not None:
        yield _delay(case, index, at_work.met_at)
        return
    needed = [_progress(case, name) for name in stage.needs]
    waits = f": it needs {', '.join(needed)}" if needed else ""
    yield Fact(code=Code.NOT_OPEN, text=f"its stage {stage.name} has not opened{waits}", change="what it needs passes")


def _delay(case: Case, index: int, met_at: int) -> Fact:
    stage = case.plan.pipeline.stages[index]
    if case.run.clock.run_time(case.at) >= met_at + stage.delay_ms:
        return Fact(code=Code.NOT_OPEN, text=f"its stage {stage.name} opens when the run may go on")
    until = wall(case.run.clock, met_at, stage.delay_ms)
    return Fact(code=Code.DELAY, text=f"its stage {stage.name} opens after a delay", change="wait", until=until)


def _promotion(case: Case, index: int) -> Fact:
    name, missing = case.plan.pipeline.stages[index].name, approval.missing(case.plan, case.run, index)
    text = f"its stage {name} awaits promotion"
    if case.run.stages[index].is_promoted:
        return Fact(code=Code.PROMOTION, text=f"its stage {name} is promoted, and opens when the run may go on")
    if missing:
        text = f"{text}, and {missing} more to approve it"
        return Fact(code=Code.PROMOTION, text=text, change=f"approve stage {name}, then promote it")
    return Fact(code=Code.PROMOTION, text=text, change=f"promote stage {name}")


def _progress(case: Case, name: str) -> str:
    """Return how far a stage is, in words."""
    index = next(i for i, stage in enumerate(case.plan.pipeline.stages) if stage.name == name)
    at_work: StageRun = case.run.stages[index]
    tally = at_work.tally
    shown = f" ({tally.succeeded} of {tally.counted})" if at_work.is_frozen else ""
    return f"{name}, which is {at_work.state.value.replace('_', ' ')}{shown}"


def _missed(case: Case, index: int) -> Fact:
    """Return why a stage does not have the device."""
    stage, at_work = case.plan.pipeline.stages[index], case.run.stages[index]
    mismatch = _exclusion(case, index)
    if mismatch is not None:
        text = f"not in stage {stage.name}: {_mismatch(stage.targets, mismatch, case.device.described)}"
        return Fact(code=Code.NO_MEMBER, text=text, change=_CHANGES[mismatch])
    if stage.targets.include_new and at_work.state is StageState.ROLLING_OUT:
        return Fact(code=Code.NEXT, text=f"stage {stage.name} takes newcomers in, and this one before long")
    if at_work.opened_at is not None:
        text = f"stage {stage.name} opened without it, which fits only since then or was shut out"
        return Fact(code=Code.TOO_LATE, text=text, change="start another run")
    if at_work.state.is_verdict:
        text = f"stage {stage.name} would have it, and never opened: it was {at_work.state}"
        return Fact(code=Code.CLOSED, text=f"{text} ({at_work.reason})" if at_work.reason else text)
    return Fact(code=Code.NOT_OPEN, text=f"stage {stage.name} would have it, too, and has not opened")


def _exclusion(case: Case, index: int) -> Exclusion | None:
    targets = case.plan.pipeline.stages[index].targets
    return exclusion(targets, case.device.described, salt=case.plan.salt)


_CHANGES = {
    Exclusion.EXCLUDED: "take it off the stage's exclusions",
    Exclusion.NOT_LISTED: "list it in the stage's targets",
    Exclusion.LABELS: "label it as the stage wants",
    Exclusion.GROUPS: "add it to one of the groups",
    Exclusion.QUERY: "make it match the query",
    Exclusion.PERCENT: "a greater share, or a run with another salt",
}


def _mismatch(targets: Targets, reason: Exclusion, device: query.Described) -> str:
    match reason:
        case Exclusion.LABELS:
            key, wanted = next((k, v) for k, v in sorted(targets.labels.items()) if device.labels.get(k) != v)
            has = f"is {device.labels[key]}" if key in device.labels else "is not set"
            return f"label {key} {has}, and the stage wants {wanted}"
        case Exclusion.QUERY:
            return explain(query.parse(targets.query), device)
        case Exclusion.GROUPS:
            return f"it is in none of the groups {', '.join(targets.groups)}"
        case Exclusion.PERCENT:
            return f"it is outside the share of {targets.percent:g} %"
        case Exclusion.EXCLUDED:
            return "it is excluded by name"
        case _:
            return "it is not among the devices that the stage lists"
