"""Runs over what an earlier run left: trying again what did not succeed, and taking back what was reached."""

from collections import Counter
from typing import Final

from controller.app import audit, jobs, run_views, runs
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict
from controller.app.once import once
from controller.app.records import RunRecord
from controller.app.repositories import Transaction
from controller.app.rerun_plans import retry_plan, rollback_of
from controller.app.standstill import require_reason
from controller.app.views import RollbackView, RunView, VersionView
from controller.domain.events import RollbackAsked
from controller.domain.rerun import HOPELESS, RollbackOrder, said
from controller.domain.states import RunState

UNFINISHED: Final = frozenset({RunState.FAILED, RunState.TERMINATED, RunState.TIMED_OUT})
"""How a rollback ends that may leave devices where they are."""


async def retry(
    controller: Controller, actor: Actor, *, run: str, version: str | None = None, with_cancelled: bool = False
) -> RunView:
    """Start a run over the devices that failed or were missed in an ended run, by its plan, and return it.

    Each stage gets those of its devices that are neither blocked nor broken, and is skipped where none is left.
    Devices that were cancelled, by a terminate, a skip or the failure of a stage, it takes only where it is asked to.

    Args:
        controller: the controller.
        actor: who asks.
        run: the ended run.
        version: another version than that run's.
        with_cancelled: take the devices that were cancelled, too.

    Raises:
        NotFound: when there is no such run or version, or its job is archived.
        Conflict: when the run has not ended, its job has an active run, or no device is to be tried again.
    """
    actor.require(Permission.CONTROL_RUNS)

    def work(tx: Transaction, after: Consequences) -> RunView:
        advance = Advance(controller, tx, after)
        record = runs.find(tx, run)
        if not record.run.state.is_terminal:
            raise Conflict(f"run {run} has not ended: it is {record.run.state}")
        _require_free(tx, record)
        plan = retry_plan(tx, record, version=version, with_cancelled=with_cancelled, by=actor.name)
        begun = advance.begin(plan, job_id=record.job_id, job=record.job)
        audit.record(tx, actor, "run.retry", run, at=advance.at, reason=f"{begun.uid} {plan.operation.version}")
        advance.finish()
        return run_views.run_view(advance.record(begun.id))

    return await once(controller, actor, work, kind=RunView)


async def roll_back(
    controller: Controller, actor: Actor, *, run: str, reason: str, version: str | None = None
) -> RunView:
    """Take back the devices that a run has reached, each to what it had before, or to a version; return that run.

    A run that has not ended is terminated first; the one that takes its devices back begins when it has ended. Which
    one that is `rolled_back_by` says, as soon as it has begun.

    Raises:
        NotFound: when there is no such run or version, or its job is archived.
        Conflict: when the run is being rolled back, or was with success, no device can be taken back, or its job has
            another active run.
        InvalidRequest: when no reason is given.
    """
    actor.require(Permission.CONTROL_RUNS)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> RunView:
        advance = Advance(controller, tx, after)
        record = runs.find(tx, run)
        _require_not_rolled_back(tx, record)
        order = RollbackOrder(reason=reason, by=actor.name, version=version or "")
        audit.record(tx, actor, "run.rollback", run, at=advance.at, reason=reason)
        _order(advance, record, order)
        advance.finish()
        return run_views.run_view(advance.record(record.id))

    return await once(controller, actor, work, kind=RunView)


async def consequence(controller: Controller, actor: Actor, *, run: str, version: str | None = None) -> RollbackView:
    """Say what a rollback of a run would do now: how many devices go to which version, and why the others do not.

    Raises:
        NotFound: when there is no such run or version.
        Conflict: when the run is being rolled back, or was with success.
    """
    actor.require(Permission.READ)

    def work(tx: Transaction) -> RollbackView:
        record = runs.find(tx, run)
        _require_not_rolled_back(tx, record)
        order = RollbackOrder(reason="", version=version or "")
        _, found = rollback_of(tx, record, order, by=actor.name)
        versions = Counter(member.wanted or "" for member in found.members)
        return RollbackView(
            run=run,
            ended=record.run.state.is_terminal,
            devices=len(found.members),
            versions=tuple(VersionView(version=name, devices=count) for name, count in sorted(versions.items())),
            left_out=run_views.not_taken(found.left_out),
        )

    return await controller.read(work)


def _order(advance: Advance, record: RunRecord, order: RollbackOrder) -> None:
    """Begin the rollback of a run that has ended, or end one that has not and remember what it is to be followed by."""
    if record.run.state.is_terminal:
        _require_free(advance.tx, record)
        advance.roll_back(record.id, order)
        return
    _require_hope(advance.tx, record, order)
    asked = RollbackAsked(at=advance.at, reason=order.reason, by=order.by, version=order.version)
    advance.run(record.id, asked)


def _require_not_rolled_back(tx: Transaction, record: RunRecord) -> None:
    """Go on only with a run that no rollback is under way of, nor has succeeded; what one has left another may take."""
    earlier = record.run.rolled_back_by
    if earlier and runs.find(tx, earlier).run.state not in UNFINISHED:
        raise Conflict(f"run {record.uid} was rolled back by {earlier}")
    if record.run.rollback is not None and not record.run.state.is_terminal:
        raise Conflict(f"run {record.uid} is being rolled back: that begins when its devices at work have ended")


def _require_hope(tx: Transaction, record: RunRecord, order: RollbackOrder) -> None:
    """Go on only where ending the run lets somebody go back; devices at work may have to, once they have ended."""
    _, found = rollback_of(tx, record, order, by=order.by)
    if found.left_out and not found.members and {one.reason for one in found.left_out} <= HOPELESS:
        raise Conflict(f"run {record.uid} has no device to take back: {said(found.left_out)}; terminate it instead")


def _require_free(tx: Transaction, record: RunRecord) -> None:
    """Go on only where a run of the same job may begin: it is not archived, and has no active one."""
    runs.require_free(jobs.find(tx, record.job))
