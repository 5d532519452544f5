"""Approving a stage of a run: consent that its promotion needs, from people who had no part in it.

It may be given as soon as the run runs, before the stage waits: who is asked need not stay awake until then. Who had
the permission at that moment has approved; a token that is revoked later takes nothing back.
"""

from controller.app import audit, run_views, runs
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, InvalidRequest, OwnWork
from controller.app.once import once
from controller.app.records import RunRecord
from controller.app.repositories import Transaction
from controller.app.standstill import REASON_LENGTH_MAX
from controller.app.views import RunView
from controller.domain import approval
from controller.domain.events import Approved
from controller.domain.states import StageState


async def approve(controller: Controller, actor: Actor, *, run: str, stage: str, reason: str = "") -> RunView:
    """Consent to the promotion of a stage that has not begun. One person's second approval changes nothing.

    Raises:
        NotFound: when there is no such run or stage.
        OwnWork: when the actor wrote the revision or started the run.
        Conflict: when the run is not running, or the stage asks for no approvals or has begun.
        InvalidRequest: when the reason is too long.
    """
    actor.require(Permission.APPROVE)
    if len(reason) > REASON_LENGTH_MAX:
        raise InvalidRequest(f"expected a reason of at most {REASON_LENGTH_MAX} characters")

    def work(tx: Transaction, after: Consequences) -> RunView:
        advance = Advance(controller, tx, after)
        record = runs.find(tx, run)
        index = runs.stage_index(record, stage)
        if actor.name not in {one.by for one in record.run.stages[index].approvals}:
            _require_asked(record, index, actor)
            advance.run(record.id, Approved(at=advance.at, stage=index, by=actor.name, reason=reason))
        said = f"{stage}: {reason}" if reason else stage
        audit.record(tx, actor, "run.approve", run, at=advance.at, reason=said)
        advance.finish()
        return run_views.run_view(advance.record(record.id))

    return await once(controller, actor, work, kind=RunView)


def _require_asked(record: RunRecord, index: int, actor: Actor) -> None:
    """Go on only where this actor's approval is asked for."""
    runs.require_running(record)
    wanted, at_work = record.plan.pipeline.stages[index], record.run.stages[index]
    if not wanted.approvals:
        raise Conflict(f"stage {wanted.name!r} asks for no approvals")
    if at_work.state not in {StageState.BLOCKED, StageState.AWAITING_PROMOTION}:
        raise Conflict(f"stage {wanted.name!r} does not await approvals any more: it is {at_work.state}")
    if approval.is_barred(record.plan, actor.name):
        did = "wrote the pipeline's revision" if actor.name == record.plan.author else "started the run"
        raise OwnWork(f"{actor.name} {did}: somebody else must approve")
