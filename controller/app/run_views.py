"""Runs and their devices as people see them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from controller.app.controller import Controller
from controller.app.gate_views import gate_view
from controller.app.records import RunRecord, TargetRecord
from controller.app.views import (
    ApprovalView,
    CheckView,
    Counters,
    NotTakenView,
    RunView,
    StageView,
    StandingFreeze,
    SummaryView,
    TargetView,
)
from controller.domain import approval, pace, ramping
from controller.domain.admission import BlockReason
from controller.domain.counters import Tally
from controller.domain.freeze import Freeze
from controller.domain.gates import checks
from controller.domain.gates.checks import Check, Verdict
from controller.domain.outputs import Summary
from controller.domain.rerun import LeftOut
from controller.domain.states import StageState
from controller.domain.target import TargetState, is_unaccepted
from protocol.ids import split_name
from protocol.lifecycle import AttemptState

WAITS: Final = {
    "pause": "the run is paused",
    "freeze": "the run stands in a freeze",
    "offline": "the device is offline",
    "retry": "waiting to try again",
    "slot": "waiting for a free slot",
    "control": "held back until the stage has passed",
}


Blocks = Mapping[tuple[int, BlockReason], int]
"""Devices that may not begin, by position of the stage and reason."""


def run_view(record: RunRecord, blocks: Blocks = MappingProxyType({})) -> RunView:
    """Return a run as people see it."""
    plan, run = record.plan, record.run
    return RunView(
        id=record.uid,
        job=record.job,
        pipeline=plan.pipeline.name,
        revision=plan.revision,
        app=plan.operation.app,
        version=plan.operation.version,
        state=run.state.value,
        paused=run.is_paused,
        waiting=run.is_waiting,
        pause_reasons=run.pause_reasons,
        frozen=_frozen(run.freeze),
        reason=run.reason,
        epoch=run.epoch,
        salt=plan.salt,
        parameters=plan.parameters,
        started_by=plan.started_by,
        created_at=record.created_at,
        ended_at=record.ended_at,
        stages=tuple(_stage_view(record, index, _of_stage(index, blocks)) for index in range(len(run.stages))),
        source=plan.source.run if plan.source else "",
        purpose=plan.source.purpose.value if plan.source else "",
        rolling_back=run.rollback is not None and not run.state.is_terminal,
        rolled_back_by=run.rolled_back_by,
    )


def not_taken(left_out: Sequence[LeftOut]) -> tuple[NotTakenView, ...]:
    """Return as people see it who is left out of a run."""
    return tuple(NotTakenView(reason=one.reason.value, devices=one.devices, first=one.first) for one in left_out)


def _frozen(freeze: Freeze | None) -> StandingFreeze | None:
    return None if freeze is None else StandingFreeze(name=freeze.name, ends_at=freeze.ends_at, reason=freeze.reason)


def _of_stage(index: int, blocks: Blocks) -> dict[str, int]:
    return {reason.value: count for (stage, reason), count in sorted(blocks.items()) if stage == index}


def _stage_view(record: RunRecord, index: int, blocked: Mapping[str, int]) -> StageView:
    stage, at_work = record.plan.pipeline.stages[index], record.run.stages[index]
    tally = at_work.tally
    return StageView(
        name=stage.name,
        needs=stage.needs,
        trigger=stage.trigger.value,
        state=at_work.state.value,
        reason=at_work.reason,
        counters=_counters(tally),
        started=tally.started,
        failures=tally.blamed,
        gate=gate_view(record, index),
        bricked=tally.bricked,
        unwell=tally.unwell,
        outputs={name: _summary_view(summary) for name, summary in at_work.outputs.items()},
        max_in_flight=stage.pace.max_in_flight,
        per_minute=pace.per_minute(stage.pace, succeeded=tally.succeeded),
        ramp=ramping.said(stage, at_work),
        checks=tuple(check_view(record, index, check) for check in stage.gate.checks),
        paced_until=None if at_work.paced_until is None else record.run.clock.wall(at_work.paced_until),
        blocked=blocked,
        opened_at=record.wall(at_work.opened_at),
        ended_at=record.wall(at_work.ended_at),
        approvals=tuple(ApprovalView(by=one.by, at=one.at, reason=one.reason) for one in at_work.approvals),
        approvals_missing=approval.missing(record.plan, record.run, index),
        left_out=not_taken(at_work.left_out),
    )


def check_view(record: RunRecord, index: int, check: Check) -> CheckView:
    """Return a check of a stage as people see it."""
    at = record.run.stages[index].checks.get(check.name)
    told = Verdict.WAIT if at is None or at.told is None else at.told
    breach = None if at is None else at.breach
    return CheckView(
        name=check.name,
        kind=checks.kind_of(check),
        asked=at is not None,
        verdict=told.value,
        said=checks.said(check, at),
        oks=0 if at is None else at.oks,
        failures=0 if at is None else at.failures,
        last_at=None if at is None else record.wall(at.last_at),
        failed_at=None if breach is None else record.wall(breach.at),
        evidence="" if breach is None else breach.evidence,
        dry_run=check.dry_run,
    )


def _summary_view(summary: Summary) -> SummaryView:
    return SummaryView(count=summary.count, min=summary.least, max=summary.greatest, avg=summary.average)


def _counters(tally: Tally) -> Counters:
    return Counters(**{state.value: getattr(tally, state.value) for state in TargetState})


def target_view(controller: Controller, record: RunRecord, row: TargetRecord) -> TargetView:
    """Return one device of a run as people see it."""
    target = row.target
    is_at_work = target.state is TargetState.IN_PROGRESS
    done, total = controller.progress.of(row.name, run=record.uid, attempt=target.attempt) if is_at_work else (0, 0)
    return TargetView(
        device=split_name(row.name)[1],
        stage=record.plan.pipeline.stages[row.stage].name,
        state=target.state.value,
        attempt=target.attempt,
        attempt_state=target.attempt_state.value if target.attempt_state else "",
        reason=target.reason.value if target.reason else "",
        detail=target.detail,
        left=target.left.value if target.left else "",
        outputs=target.outputs,
        waits_for=_waits_for(controller, record, row),
        blocked="" if row.blocked is None else row.blocked.value,
        check_at=row.check_at,
        done=done,
        total=total,
        updated_at=row.updated_at,
        previous=row.previous or "",
        wanted=row.wanted or "",
        model=row.model or "",
        is_control=target.is_control,
        health=target.health.value if target.health else "",
        health_detail=target.health_detail,
        is_silent=target.is_silent,
        measures=target.measures,
        is_paired=target.is_paired,
    )


def _waits_for(controller: Controller, record: RunRecord, row: TargetRecord) -> str:
    if record.run.is_paused and _can_be_held(row):
        return WAITS["pause"]
    if record.run.freeze is not None and (row.target.state is TargetState.QUEUED or is_unaccepted(row.target)):
        return WAITS["freeze"]
    if row.target.state is not TargetState.QUEUED:
        return WAITS["control"] if _is_held_back(record, row) else ""
    if row.ready != controller.transport.instance:
        return WAITS["offline"]
    if row.blocked is not None:
        return row.block_text
    return WAITS["retry"] if row.target.due is not None else WAITS["slot"]


def _is_held_back(record: RunRecord, row: TargetRecord) -> bool:
    """Say whether a device that has watched what it has is to be updated once its stage has passed."""
    stage, target = record.run.stages[row.stage].state, row.target
    is_lost = record.run.state.is_terminal or (stage.is_verdict and stage is not StageState.PASSED)
    return target.is_control and target.state.is_terminal and not is_lost and target.state is not TargetState.REMOVED


def _can_be_held(row: TargetRecord) -> bool:
    """Say whether a pause keeps a device from its next step: it is queued, or before its irreversible step."""
    target = row.target
    if target.state is TargetState.QUEUED:
        return True
    is_reversible = target.attempt_state in {AttemptState.SENT, AttemptState.ACCEPTED, AttemptState.DOWNLOADING}
    return target.state is TargetState.IN_PROGRESS and is_reversible and not target.cancel_requested
