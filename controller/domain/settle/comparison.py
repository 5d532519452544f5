"""What a stage makes of its control group: updated devices that fare worse stop it, and who was held back is released.

They fare worse where they crash more (`controller.domain.control`), or where a metric is worse
(`controller.domain.metrics`). A comparison ends as its stage passes: then nobody is left to compare with.
"""

from collections.abc import Collection, Iterator
from typing import assert_never

import msgspec

from controller.domain import control, metrics
from controller.domain.control import ControlBreach, ControlRun
from controller.domain.events import Discharge, Note
from controller.domain.gates import judgement
from controller.domain.metrics import MetricBreach
from controller.domain.model import Plan
from controller.domain.pipeline import Metric, OnBreach, Stage
from controller.domain.settle.decision import Decision
from controller.domain.settle.reasons import crashes_of, metric_of
from controller.domain.states import StageState
from controller.domain.wording import counted


def judge(decision: Decision, index: int) -> None:
    """Do what the gate of an open stage says if its updated devices fare worse than those that are held back."""
    stage, at_work = decision.stage(index)
    if at_work.control is None:
        return
    _crashes(decision, index, at_work.control)
    for metric in stage.gate.metrics:
        if metric.name in at_work.control.metrics:
            _metric(decision, index, metric)


def _crashes(decision: Decision, index: int, group: ControlRun) -> None:
    stage, alpha = decision.plan.pipeline.stages[index], judgement.control_alpha_of(decision.plan.pipeline, index)
    reason = crashes_of(stage.name)
    if _is_settled(decision, index, reason, group.breach) or not control.is_breached(group, alpha=alpha):
        return
    decision.change(index, control=control.breached(group, alpha=alpha, now=decision.now))
    told = Note(kind="crashes", stage=stage.name, evidence=control.said(group, alpha=alpha))
    _stop(decision, index, reason, told)


def _metric(decision: Decision, index: int, metric: Metric) -> None:
    stage, at_work = decision.stage(index)
    group, alpha = at_work.control, judgement.metric_alpha_of(decision.plan.pipeline, index, metric.name)
    assert group is not None, "metrics are compared with devices that are held back"
    known, reason = group.metrics[metric.name], metric_of(stage.name, metric.name)
    if _is_settled(decision, index, reason, known.breach) or not metrics.is_breached(known, alpha=alpha):
        return
    after = metrics.breached(known, alpha=alpha, now=decision.now)
    decision.change(index, control=with_metric(group, metric.name, after))
    told = Note(kind="metric", stage=stage.name, text=metric.name, evidence=metrics.said(known, alpha=alpha))
    _stop(decision, index, reason, told)


def _is_settled(decision: Decision, index: int, reason: str, breach: ControlBreach | MetricBreach | None) -> bool:
    """Say whether nothing more comes of a comparison: a verdict is there, or it holds the run, or has told."""
    stage, at_work = decision.stage(index)
    is_told = stage.gate.on_breach is OnBreach.ALERT and breach is not None
    return at_work.state.is_verdict or is_told or reason in decision.run.pause_reasons


def _stop(decision: Decision, index: int, reason: str, told: Note) -> None:
    on_breach = decision.plan.pipeline.stages[index].gate.on_breach
    match on_breach:
        case OnBreach.ALERT:
            decision.effects.append(told)
        case OnBreach.PAUSE:
            decision.pause(reason, evidence=told.evidence)
        case OnBreach.FAIL:
            found = f"{told.text}: {told.evidence}" if told.text else told.evidence
            decision.verdict(index, StageState.FAILED, found)
        case _:
            assert_never(on_breach)


def shortfalls(plan: Plan, index: int, held: int) -> Iterator[Note]:
    """Yield which metrics of a stage can never stop it, since only *held* devices are held back."""
    stage = plan.pipeline.stages[index]
    for metric in stage.gate.metrics:
        least = metrics.pairs_min(judgement.metric_alpha_of(plan.pipeline, index, metric.name))
        if held < least:
            are = f"{counted(held, 'device')} {'is' if held == 1 else 'are'}"
            text = f"{metric.name}: it takes {least} pairs at least to stop, and {are} held back"
            yield Note(kind="few_held_back", stage=stage.name, text=text)


def with_metric(group: ControlRun, name: str, known: metrics.MetricRun) -> ControlRun:
    """Return a control group in which that is known of a metric."""
    return msgspec.structs.replace(group, metrics={**group.metrics, name: known})


def holds_of(stage: Stage) -> tuple[str, ...]:
    """Return the reasons for which a comparison of a stage may hold its run."""
    of_metrics = (metric_of(stage.name, metric.name) for metric in stage.gate.metrics)
    return (crashes_of(stage.name), *of_metrics)


def accepted(stage: Stage, group: ControlRun | None, reasons: Collection[str]) -> ControlRun | None:
    """Return a control group over which a person goes on, as far as its run is held for what it has shown."""
    if group is None:
        return None
    if crashes_of(stage.name) in reasons:
        group = control.accepted(group)
    for name, known in group.metrics.items():
        if metric_of(stage.name, name) in reasons:
            group = with_metric(group, name, metrics.accepted(known))
    return group


def discharge(decision: Decision, index: int) -> bool:
    """Let the control devices of a stage that has passed join its tail, those at work once that has ended.

    Say whether any does: then nothing else is said of the tail before it has them.
    """
    if decision.run.is_stopped or not decision.run.stages[index].may_discharge:
        return False
    decision.effects.append(Discharge(stage=index))
    return True
