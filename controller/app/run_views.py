"""Runs and their devices as people see them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from controller.app.controller import Controller
from controller.app.records import RunRecord, TargetRecord
from controller.app.views import (
    ApprovalView,
    BreachView,
    Counters,
    DryRunView,
    EvidenceView,
    GateView,
    NotTakenView,
    RunView,
    StageView,
    StandingFreeze,
    SummaryView,
    TargetView,
)
from controller.domain import approval, dry_runs, pace, ramping
from controller.domain.admission import BlockReason
from controller.domain.clock import RunClock
from controller.domain.counters import Tally
from controller.domain.freeze import Freeze
from controller.domain.gates import judgement
from controller.domain.model import Breach
from controller.domain.outputs import Summary
from controller.domain.rerun import LeftOut
from controller.domain.target import TargetState, is_unaccepted
from protocol.ids import split_name
from protocol.lifecycle import AttemptState
from protocol.units import Instant

WAITS: Final = {
    "pause": "the run is paused",
    "freeze": "the run stands in a freeze",
    "offline": "the device is offline",
    "retry": "waiting to try again",
    "slot": "waiting for a free slot",
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
    """Return as people see it who of an earlier run is left out."""
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
        gate=_gate_view(record, index),
        bricked=tally.bricked,
        outputs={name: _summary_view(summary) for name, summary in at_work.outputs.items()},
        max_in_flight=stage.pace.max_in_flight,
        per_minute=pace.per_minute(stage.pace, succeeded=tally.succeeded),
        ramp=ramping.said(stage, at_work),
        paced_until=None if at_work.paced_until is None else record.run.clock.wall(at_work.paced_until),
        blocked=blocked,
        opened_at=_wall(record, at_work.opened_at),
        ended_at=_wall(record, at_work.ended_at),
        approvals=tuple(ApprovalView(by=one.by, at=one.at, reason=one.reason) for one in at_work.approvals),
        approvals_missing=approval.missing(record.plan, record.run, index),
        left_out=not_taken(at_work.left_out),
    )


def _gate_view(record: RunRecord, index: int) -> GateView:
    stage, at_work = record.plan.pipeline.stages[index], record.run.stages[index]
    reading = judgement.read(record.plan.pipeline, index, at_work.tally)
    return GateView(
        said=str(reading),
        exposed=reading.exposed,
        failed=reading.failed,
        stops_on=reading.stops_on,
        is_breached=judgement.is_breached(record.plan.pipeline, index, at_work.tally, accepted=at_work.accepted),
        on_breach=stage.gate.on_breach.value,
        accepted=at_work.accepted,
        evidence=None if reading.evidence is None else EvidenceView(**msgspec.structs.asdict(reading.evidence)),
        breach=_breach_view(record, at_work.breach),
        dry_runs=tuple(
            DryRunView(
                name=rule.name,
                said=dry_runs.said(rule, at_work),
                breach=_breach_view(record, at_work.dry_runs.get(rule.name)),
            )
            for rule in stage.gate.dry_run
        ),
    )


def _breach_view(record: RunRecord, breach: Breach | None) -> BreachView | None:
    if breach is None:
        return None
    at = _wall(record, breach.at)
    assert at is not None
    return BreachView(at=at, failed=breach.failed, exposed=breach.exposed, said=breach.evidence)


def _summary_view(summary: Summary) -> SummaryView:
    return SummaryView(count=summary.count, min=summary.least, max=summary.greatest, avg=summary.average)


def _counters(tally: Tally) -> Counters:
    return Counters(**{state.value: getattr(tally, state.value) for state in TargetState})


def _wall(record: RunRecord, run_time: int | None) -> Instant | None:
    """Return a moment of a run's own time as wall time; pauses since then shift it by their length.

    While the run is paused, pauses before that one do.
    """
    if run_time is None:
        return None
    clock: RunClock = record.run.clock
    began_at = record.created_at if clock.since is None else clock.since - clock.base
    return Instant(began_at + run_time)


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
    )


def _waits_for(controller: Controller, record: RunRecord, row: TargetRecord) -> str:
    if record.run.is_paused and _can_be_held(row):
        return WAITS["pause"]
    if record.run.freeze is not None and (row.target.state is TargetState.QUEUED or is_unaccepted(row.target)):
        return WAITS["freeze"]
    if row.target.state is not TargetState.QUEUED:
        return ""
    if row.ready != controller.transport.instance:
        return WAITS["offline"]
    if row.blocked is not None:
        return row.block_text
    return WAITS["retry"] if row.target.due is not None else WAITS["slot"]


def _can_be_held(row: TargetRecord) -> bool:
    """Say whether a pause keeps a device from its next step: it is queued, or before its irreversible step."""
    target = row.target
    if target.state is TargetState.QUEUED:
        return True
    is_reversible = target.attempt_state in {AttemptState.SENT, AttemptState.ACCEPTED, AttemptState.DOWNLOADING}
    return target.state is TargetState.IN_PROGRESS and is_reversible and not target.cancel_requested
