"""The gate of a stage as people see it: what it knows, what it has breached, and how its models fare."""

from collections.abc import Iterator

import msgspec

from controller.app.records import RunRecord
from controller.app.views import BreachView, DryRunView, EvidenceView, GateView, ModelView
from controller.domain import dry_runs, quarantine
from controller.domain.gates import judgement
from controller.domain.model import Breach
from controller.domain.quarantine import Barred


def gate_view(record: RunRecord, index: int) -> GateView:
    """Return the gate of a stage as people see it."""
    pipeline, at_work, out = record.plan.pipeline, record.run.stages[index], quarantine.barred(record.run)
    excepted = quarantine.excepted(pipeline.stages[index], at_work, out)
    reading = judgement.read(pipeline, index, at_work.tally, excepted, accepted=at_work.accepted)
    return GateView(
        said=str(reading),
        exposed=reading.exposed,
        failed=reading.failed,
        stops_on=reading.stops_on,
        is_breached=judgement.is_breached(pipeline, index, at_work.tally, accepted=at_work.accepted, excepted=excepted),
        on_breach=pipeline.stages[index].gate.on_breach.value,
        accepted=at_work.accepted,
        evidence=None if reading.evidence is None else EvidenceView(**msgspec.structs.asdict(reading.evidence)),
        breach=None if at_work.breach is None else _breach_view(record, at_work.breach),
        models=tuple(_models(record, index, out)),
        closest=quarantine.closest(record.plan, record.run, index, out),
        dry_runs=tuple(_dry_runs(record, index)),
    )


def _models(record: RunRecord, index: int, out: Barred) -> Iterator[ModelView]:
    """Yield the models of a stage, the largest first."""
    stage, at_work = record.plan.pipeline.stages[index], record.run.stages[index]
    is_tested = quarantine.is_tested(stage, at_work)
    for model, one in at_work.models.items():
        breach = out.breach(model)
        yield ModelView(
            model=model,
            targets=one.tally.targets,
            exposed=one.tally.exposed,
            failed=one.tally.blamed,
            stops_on=quarantine.stops_on(record.plan, record.run, index, model) if is_tested else None,
            is_quarantined=breach is not None,
            breach=None if breach is None else _breach_view(record, breach),
        )


def _dry_runs(record: RunRecord, index: int) -> Iterator[DryRunView]:
    at_work = record.run.stages[index]
    for rule in record.plan.pipeline.stages[index].gate.dry_run:
        breach = at_work.dry_runs.get(rule.name)
        shown = None if breach is None else _breach_view(record, breach)
        yield DryRunView(name=rule.name, said=dry_runs.said(rule, at_work), breach=shown)


def _breach_view(record: RunRecord, breach: Breach) -> BreachView:
    at = record.wall(breach.at)
    assert at is not None
    return BreachView(at=at, failed=breach.failed, exposed=breach.exposed, said=breach.evidence)
