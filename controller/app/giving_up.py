"""Giving a device up in a run: it counts as failed at once, and the run waits for it no longer."""

import msgspec

from controller.app import audit, presence, run_views
from controller.app.access import Actor, Permission
from controller.app.advance import Advance, wake_runs
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, NotFound
from controller.app.once import once
from controller.app.records import RunRecord, TargetRecord
from controller.app.releasing import policy_of
from controller.app.repositories import Transaction
from controller.app.standstill import require_reason
from controller.app.views import TargetView
from controller.domain import target as targets
from controller.domain.events import Folded
from controller.domain.target import GivenUp, Removed, TargetState
from protocol.errors import InvalidName
from protocol.ids import device_id, name_of
from protocol.messages import Mode
from protocol.reasons import Reason


async def give_up(controller: Controller, actor: Actor, *, run: str, device: str, reason: str) -> TargetView:
    """Count a device as failed that has not ended, for a reason that no gate counts; twice is once.

    A device at work is called back, and free for other runs at once. What it still reports is noted as late.

    Raises:
        NotFound: when there is no such run, or the device is no member of it.
        Conflict: when the device has ended otherwise.
        InvalidRequest: when no reason is given.
    """
    actor.require(Permission.CONTROL_RUNS)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> TargetView:
        advance = Advance(controller, tx, after)
        record, row = _member(controller, tx, run, device)
        if row.target.state.is_terminal and row.target.reason is not Reason.GIVEN_UP:
            raise Conflict(f"device {device!r} has ended in run {run}: it {row.target.state}")
        if not row.target.state.is_terminal:
            row = _give_up(advance, advance.record(record.id), row, reason)
        audit.record(tx, actor, "run.give_up", f"{run}/{device}", at=advance.at, reason=reason)
        advance.finish()
        return run_views.target_view(controller, advance.record(record.id), row)

    return await once(controller, actor, work, kind=TargetView)


def _member(controller: Controller, tx: Transaction, run: str, device: str) -> tuple[RunRecord, TargetRecord]:
    record = tx.runs.by_uid(run)
    if record is None:
        raise NotFound(f"there is no run {run!r}")
    try:
        name = name_of(controller.tenant, device_id(device))
    except InvalidName as error:
        raise NotFound(str(error)) from error
    found = tx.devices.senders([name]).get(name)
    row = None if found is None else tx.targets.find(record.id, found.id)
    if row is None:
        raise NotFound(f"device {device!r} is no member of run {run}")
    return record, row


def _give_up(advance: Advance, record: RunRecord, row: TargetRecord, reason: str) -> TargetRecord:
    return end_at_once(advance, record, row, GivenUp(at=record.run.clock.run_time(advance.at), detail=reason))


def end_at_once(advance: Advance, record: RunRecord, row: TargetRecord, event: GivenUp | Removed) -> TargetRecord:
    """End a device's part in a run; one that is at work is called back, and other runs may have it."""
    is_at_work = row.target.state is TargetState.IN_PROGRESS
    end, _ = targets.step(row.target, event, policy_of(record, row))
    ended = msgspec.structs.replace(row, target=end, updated_at=advance.at)
    advance.tx.commands.close([row.id])
    advance.tx.targets.save([ended])
    waiting = presence.freed(advance.controller, advance.tx, [row]) if is_at_work else []
    advance.run(record.id, Folded(at=advance.at, deltas={row.stage: (row.delta(end),)}))
    if is_at_work:  # Only now: where the run ends by this its epoch is another, and what was said before is fenced off.
        advance.control(advance.record(record.id), [row], Mode.CANCEL)
    wake_runs(advance, waiting)
    return ended
