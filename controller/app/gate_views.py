"""The gate of a stage as people see it: what it knows, what it has breached, and how its models fare."""

import math
from collections.abc import Iterator

import msgspec

from controller.app.records import RunRecord
from controller.app.views import (
    ArmView,
    BreachView,
    ControlView,
    DryRunView,
    EvidenceView,
    GateView,
    MetricView,
    ModelView,
    ProofView,
)
from controller.domain import control, dry_runs, metrics, quarantine, waves
from controller.domain.control import Arm, ControlRun
from controller.domain.gates import judgement
from controller.domain.metrics import NOTHING_KNOWN
from controller.domain.model import Breach, StageRun
from controller.domain.pipeline import Metric, Stage
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
        proof=_proof(pipeline.stages[index], at_work, excepted),
        control=_control(record, index),
    )


def _control(record: RunRecord, index: int) -> ControlView | None:
    group, rules = record.run.stages[index].control, record.plan.pipeline.stages[index].gate.control
    if group is None or rules is None:
        return None
    alpha, breach = judgement.control_alpha_of(record.plan.pipeline, index), group.breach
    return ControlView(
        said=control.said(group, alpha=alpha),
        held=group.held,
        left=group.tally.targets - group.tally.removed,
        updated=_arm(group.updated),
        control=_arm(group.control),
        value=control.value(group),
        threshold=1 / alpha,
        tolerated=rules.tolerated,
        alpha_percent=alpha * 100,
        is_breached=control.is_breached(group, alpha=alpha),
        accepted=group.accepted,
        breached_at=None if breach is None else record.wall(breach.at),
        evidence="" if breach is None else breach.evidence,
        metrics=tuple(_metric(record, index, group, metric) for metric in rules.metrics),
    )


def _arm(arm: Arm) -> ArmView:
    return ArmView(watched=arm.watched, crashed=arm.crashed, measured=arm.measured)


def _metric(record: RunRecord, index: int, group: ControlRun, metric: Metric) -> MetricView:
    known = group.metrics.get(metric.name, NOTHING_KNOWN)
    alpha, breach = judgement.metric_alpha_of(record.plan.pipeline, index, metric.name), known.breach
    return MetricView(
        name=metric.name,
        said=metrics.said(known, alpha=alpha),
        worse=metric.worse.value,
        pairs=known.pairs,
        worse_pairs=known.worse,
        equal_pairs=known.equal,
        unpaired=group.updated.measured - known.pairs,
        pairs_min=metrics.pairs_min(alpha),
        value=metrics.value(known),
        threshold=1 / alpha,
        alpha_percent=alpha * 100,
        is_breached=metrics.is_breached(known, alpha=alpha),
        accepted=known.accepted,
        breached_at=None if breach is None else record.wall(breach.at),
        evidence="" if breach is None else breach.evidence,
    )


def _proof(stage: Stage, at_work: StageRun, excepted: judgement.Excepted) -> ProofView | None:
    proof = stage.gate.proof
    if proof is None:
        return None
    prefix = waves.shown(proof, at_work.waves, excepted.rest(at_work.tally))
    return ProofView(
        said=waves.said(prefix, proof),
        counted=prefix.counted,
        failed=prefix.failed,
        value=math.exp(min(prefix.log, judgement.LOG_SHOWN_MAX)),
        threshold=100 / proof.beta_percent,
        below_percent=proof.below,
        beta_percent=proof.beta_percent,
        is_proved=waves.is_proved(prefix, proof),
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
