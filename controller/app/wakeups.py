"""What happens by itself: deadlines, resends, the heartbeat. One loop that sleeps until the earliest of them.

After a start nothing is judged until the messages that waited have been folded and a grace has passed, and the time
in which nobody looked is taken out of every run's clock.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog

from controller.app import checking, heartbeat, once, presence, silence, triggers
from controller.app.advance import Advance, let_happen, may_admit
from controller.app.commands import outdated
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.dispatch import RESEND_FIRST_MS
from controller.app.errors import StorageUnavailable
from controller.app.heartbeat import BEAT_MS, GAP_MS_MIN
from controller.app.ports import Priority
from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.app.releasing import policy_of
from controller.app.repositories import Transaction
from controller.domain import target as targets
from controller.domain.events import Event, Folded, Woken
from controller.domain.target import Delta, DueReached, Target, TargetState, Ticked
from protocol.messages import Mode
from protocol.units import HOUR, SECOND, Instant, later

log = structlog.get_logger()

BATCH_MAX: Final = 500
GRACE_MS: Final = 5 * SECOND
UNREACHABLE_MS: Final = HOUR


async def recover(controller: Controller) -> int:
    """Raise the fences of active runs, and take the time in which the controller was down out of their clocks.

    Fences live in memory: without this, commands of before a pause could be sent again after a restart. So do questions
    that nobody has answered: they are put again.

    Returns:
        The time in which nobody looked, in milliseconds.
    """

    def work(tx: Transaction, after: Consequences) -> int:
        now = controller.clock.now()
        last = tx.log.heartbeat()
        gap = now - last if last is not None else 0
        tx.log.beat(now)
        for run_id in tx.runs.active_ids():
            record = tx.runs.get(run_id)
            after.epochs[run_id] = record.run.epoch
            after.questions += checking.outstanding(record)
        advance = Advance(controller, tx, after, gap_ms=gap if gap < 0 or gap >= GAP_MS_MIN else 0)
        silence.begun(advance)
        advance.finish()
        return gap

    return await controller.write(work, priority=Priority.HOUSEKEEPING)


async def run_for_ever(controller: Controller) -> None:
    """Look after everything that is due, until cancelled; `recover` comes before."""
    start = later(controller.clock.now(), GRACE_MS)
    while controller.clock.now() < start:
        await controller.clock.sleep_until(start)
    while True:
        try:
            next_at = await look(controller)
        except StorageUnavailable as error:
            log.warning("wakeup_postponed", reason=str(error))
            next_at = later(controller.clock.now(), SECOND)
        await controller.clock.sleep_until(next_at)


async def look(controller: Controller) -> Instant:
    """Do what is due now, and return when to look again."""
    now = controller.clock.now()
    start_at, wake_at, resend_at, beat = await controller.read(
        lambda tx: (tx.catalog.next_start(), tx.runs.next_wake(), tx.commands.next_due(), tx.log.heartbeat())
    )
    if beat is None or heartbeat.is_due(beat, now):
        await controller.write(lambda tx, after: _beat(controller, tx, after), priority=Priority.HOUSEKEEPING)
        beat = now
    if start_at is not None and start_at <= now:
        await controller.write(lambda tx, after: triggers.start_due(controller, tx, after))
        return later(now, 1)
    if (wake_at is not None and wake_at <= now) or (resend_at is not None and resend_at <= now):
        await controller.write(lambda tx, after: _work(controller, tx, after), priority=Priority.DISPATCH)
        return later(now, 1)
    return min(at for at in (start_at, wake_at, resend_at, later(beat, BEAT_MS)) if at is not None)


def _beat(controller: Controller, tx: Transaction, after: Consequences) -> None:
    advance = Advance(controller, tx, after)
    advance.finish()
    tx.log.forget_answers(before=Instant(advance.at - once.KEPT_MS))
    tx.log.beat(advance.at)


def _work(controller: Controller, tx: Transaction, after: Consequences) -> None:
    advance = Advance(controller, tx, after)
    events: dict[int, Event] = {}
    for run_id in tx.runs.waking(advance.at):
        events |= _due(advance, run_id, events)
    let_happen(advance, events)
    advance.finish()
    _resend(controller, tx, after, advance.at)


def _due(advance: Advance, run_id: int, known: Mapping[int, Event]) -> dict[int, Event]:
    """Judge what is due in a run; return what happens to it, and to runs not *known* that wait for what it frees.

    Who is given more time is told so, since what it may do would end sooner.
    """
    record = advance.record(run_id)
    now = record.run.clock.run_time(advance.at)
    deltas: dict[int, list[Delta]] = defaultdict(list)
    changed: list[TargetRecord] = []
    ended: list[TargetRecord] = []
    longer: list[TargetRecord] = []
    due = advance.tx.targets.due(run_id, now, limit=BATCH_MAX)
    excused, lost = silence.judge(advance, record, [row for row in due if row.target.state is TargetState.SUCCEEDED])
    for row in due:
        end = excused[row.id].target if row.id in excused else _judged(advance, record, row, now)
        changed.append(msgspec.structs.replace(row, target=end, updated_at=advance.at))
        deltas[row.stage].append(row.delta(end))
        if row.target.state is TargetState.IN_PROGRESS:
            (longer if end.state is TargetState.IN_PROGRESS else ended).append(row)
    if may_admit(record):
        advance.tx.targets.unblock_checked(run_id, advance.at, limit=BATCH_MAX)
    advance.tx.targets.save(changed)
    advance.tx.commands.close([row.id for row in changed])
    advance.control(record, longer, Mode.GO)
    for event in lost:
        advance.run(run_id, event)
    waiting = presence.freed(advance.controller, advance.tx, ended) if ended else []
    events: dict[int, Event] = {other: Woken(at=advance.at) for other in waiting if other not in known}
    folded = {stage: tuple(changes) for stage, changes in deltas.items()}
    events[run_id] = Folded(at=advance.at, deltas=folded) if folded else Woken(at=advance.at)
    return events


def _judged(advance: Advance, record: RunRecord, row: TargetRecord, now: int) -> Target:
    """Return what becomes of a device whose time is over, unless its progress has given it more."""
    policy, target = policy_of(record, row), row.target
    heard_at = advance.controller.progress.heard_at(row.name, run=record.uid, attempt=target.attempt)
    if heard_at is not None:
        target, _ = targets.step(target, Ticked(at=min(now, record.run.clock.run_time(heard_at))), policy)
    return targets.step(target, DueReached(at=now), policy)[0]


def _resend(controller: Controller, tx: Transaction, after: Consequences, at: Instant) -> None:
    """Send again what nobody has accepted; what cannot reach its device waits for the device's hello."""
    due = _still_wanted(tx, tx.commands.due(at, limit=BATCH_MAX), at)
    reachable = [c for c in due if c.expires_at > at and controller.transport.session(c.name)]
    after.commands += reachable
    tx.commands.postpone([c.id for c in reachable], until=later(at, RESEND_FIRST_MS))
    wanted = {c.id for c in reachable}
    tx.commands.postpone([c.id for c in due if c.id not in wanted], until=later(at, UNREACHABLE_MS))


def _still_wanted(tx: Transaction, due: Sequence[CommandRecord], at: Instant) -> list[CommandRecord]:
    """Drop control commands that are outdated, and return the rest: no target owns them, so nobody else would."""
    over = outdated(tx, [c for c in due if c.op.is_control], at)
    tx.commands.drop(over)
    return [c for c in due if c.id not in over]
