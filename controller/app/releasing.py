"""Letting devices start: those that are ready and admitted get their commands, as many as one transaction may release.

Who is refused leaves the index of those that may go, so that nobody is judged twice for the same reason.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from controller.app.admitting import Admitting
from controller.app.commands import Maker
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.dispatch import RESEND_FIRST_MS
from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.domain import control, waves
from controller.domain import target as targets
from controller.domain.admission import BlockReason
from controller.domain.events import Issued, Release
from controller.domain.freeze import in_force
from controller.domain.target import Delta, Policy, Reissued, Released, Returned, Target
from protocol.codec import decode
from protocol.messages import Command, Mode
from protocol.units import Instant, later

REFUSED_MAX: Final = 1_000
"""The devices that one transaction may refuse; the run goes on in the next."""
REFUSED_PAGE: Final = 100
"""How many are looked at together at least once somebody was refused: others like it may follow."""


def policy_of(record: RunRecord, target: TargetRecord) -> Policy:
    """Return what of the plan governs one device."""
    stage, at_work = record.plan.pipeline.stages[target.stage], record.run.stages[target.stage]
    return Policy(
        timeouts=stage.timeouts,
        retry=stage.retry,
        watch_ms=stage.gate.watch_ms,
        jitter_key=f"{record.uid}\0{target.name}",
        wave=None if stage.gate.proof is None or target.target.is_control else waves.current(at_work.waves),
        silent_after_ms=None if target.target.is_control else stage.gate.silent_after_ms,
        soak_ms=stage.gate.soak_ms,
        metrics=tuple(metric.name for metric in stage.gate.metrics),
    )


def _is_compared(record: RunRecord, command: CommandRecord, row: TargetRecord) -> bool:
    """Say whether what a device tells is to be compared, and whether a command asks it to watch at all."""
    group = record.run.stages[row.stage].control
    is_meant = control.is_compared(group, row.model, is_control=row.target.is_control)
    return is_meant and decode(command.payload, Command).watch_ms > 0


def _is_new_here(target: Target) -> bool:
    """Say whether a device begins for the first time since it was held back; it may have been called back then."""
    return 0 < target.watches == target.attempt


class Releasing:
    """One transaction's commands for attempts: new ones, and new commands for attempts under way."""

    def __init__(self, controller: Controller, tx: Transaction, after: Consequences, *, maker: Maker) -> None:
        self._controller = controller
        self._tx = tx
        self._after = after
        self._maker = maker
        self._at: Instant = maker.at
        self._admitting = Admitting(tx, maker.at)
        self._left = controller.release_batch_max
        self._refusals_left = REFUSED_MAX

    def release(self, record: RunRecord, releases: Sequence[Release]) -> Issued:
        """Carry out all releases of a decision, as far as one transaction may; the run goes on in the next."""
        now = record.run.clock.run_time(self._at)
        deltas: dict[int, tuple[Delta, ...]] = {}
        cut: set[int] = set()
        for release in releases:
            limit = min(release.count, self._left)
            issued, is_all = self._release(record, release, now, limit)
            self._left -= len(issued)
            deltas[release.stage] = (*deltas.get(release.stage, ()), *issued)
            if not is_all and len(issued) < release.count:
                cut.add(release.stage)
        return Issued(at=self._at, deltas=deltas, cut=frozenset(cut))

    def reissue(self, record: RunRecord, rows: Sequence[TargetRecord], *, delay_ms: int = 0) -> None:
        """Make a new command for the current attempt of each device; the old one is never sent again.

        A device that was shut out since gets none: its attempt ends with its lease, or goes on when it is let in. One
        that would not be admitted any more goes back to the queue. In a freeze nobody gets one.
        """
        if in_force(record.run.freezes, self._at) is not None:
            return
        refused = self._admitting.refused(record, rows)
        if refused:
            self.recall(record, [row for row in rows if row.id in refused])
        self._tx.commands.close([row.id for row in rows])
        devices = self._tx.devices.by_names({row.name for row in rows})
        wanted = [row for row in rows if row.id not in refused]
        fit = [row for row in wanted if not (devices[row.name].is_blocked or devices[row.name].is_broken)]
        commands = self._maker.begin(record, fit, delay_ms=delay_ms)
        changed: list[TargetRecord] = []
        for row, command in zip(fit, commands, strict=True):
            after, _ = targets.step(row.target, Reissued(command=command.digest), policy_of(record, row))
            changed.append(row.became(after, self._at))
        self._tx.targets.save(changed)
        self.send(commands)

    def refusal(self, record: RunRecord, row: TargetRecord) -> BlockReason | None:
        """Return why a device at work would not be admitted any more, or None where it would."""
        blocked = self._admitting.refused(record, [row]).get(row.id)
        return None if blocked is None else blocked.reason

    def recall(self, record: RunRecord, rows: Sequence[TargetRecord]) -> None:
        """Call back what devices have not accepted; each goes back to the queue once it has heard of that."""
        event = Returned(at=record.run.clock.run_time(self._at))
        ends = [targets.step(row.target, event, policy_of(record, row))[0] for row in rows]
        changed = [row.became(end, self._at) for row, end in zip(rows, ends, strict=True) if end is not row.target]
        self._tx.commands.close([row.id for row in changed])
        self._tx.targets.save(changed)
        reachable = [row for row in changed if self._controller.transport.session(row.name)]
        self.send(self._maker.control(record, reachable, Mode.CANCEL))

    def send(self, commands: Sequence[CommandRecord]) -> None:
        """Store commands; those that are due follow the commit, and are looked at again when that should be marked."""
        again_at = later(self._at, RESEND_FIRST_MS)
        due = [msgspec.structs.replace(one, send_at=again_at) for one in commands if one.send_at <= self._at]
        self._after.commands += self._tx.commands.add(due)
        self._tx.commands.add([command for command in commands if command.send_at > self._at])

    def send_again(self, commands: Sequence[CommandRecord]) -> None:
        """Send stored commands, and look at them again when that should be marked, which a full disk may forbid."""
        if not commands:
            return
        self._after.commands += commands
        self._tx.commands.postpone([one.id for one in commands], until=later(self._at, RESEND_FIRST_MS))

    def _release(self, record: RunRecord, release: Release, now: int, limit: int) -> tuple[tuple[Delta, ...], bool]:
        """Release up to *limit* devices of a stage; say also whether all that are ready were looked at."""
        issued: list[Delta] = []
        page = limit
        while len(issued) < limit and self._refusals_left > 0:
            rows = self._ready(record, release, now, page)
            if not rows:
                return tuple(issued), True
            judged = self._admitting.judge(record, rows, room=limit - len(issued))
            issued += self._issue(record, judged.admitted, now)
            self._refuse(judged.refused)
            if len(judged.admitted) + len(judged.refused) == len(rows) < page:
                return tuple(issued), True
            page = max(limit - len(issued), REFUSED_PAGE)
        return tuple(issued), False

    def _ready(self, record: RunRecord, release: Release, now: int, limit: int) -> Sequence[TargetRecord]:
        instance = self._controller.transport.instance
        places = control.places(record.run.stages[release.stage].control, is_control=release.is_control)
        stage_id = record.stage_ids[release.stage]
        return self._tx.targets.ready(stage_id, instance=instance, now=now, limit=limit, places=places)

    def _refuse(self, refused: Sequence[TargetRecord]) -> None:
        self._refusals_left -= len(refused)
        self._tx.targets.block(refused)

    def _issue(self, record: RunRecord, ready: Sequence[TargetRecord], now: int) -> list[Delta]:
        self._lift_recalls(record, ready)
        next_attempts = [
            row.became(msgspec.structs.replace(row.target, attempt=row.target.attempt + 1), self._at) for row in ready
        ]
        first = [row.id for row in ready if row.previous is None and not row.target.is_control]
        self._tx.targets.note_previous(first, app=record.plan.operation.app)
        commands = self._maker.begin(record, next_attempts)
        deltas: list[Delta] = []
        changed: list[TargetRecord] = []
        for row, command in zip(ready, commands, strict=True):
            event = Released(at=now, command=command.digest, is_compared=_is_compared(record, command, row))
            after, _ = targets.step(row.target, event, policy_of(record, row))
            deltas.append(row.delta(after))
            changed.append(row.became(after, self._at))
        self._tx.targets.save(changed)
        self.send(commands)
        return deltas

    def _lift_recalls(self, record: RunRecord, rows: Sequence[TargetRecord]) -> None:
        """Tell devices that were called back for the queue that the run goes on: they hold to what they heard last."""
        recalled = [row for row in rows if row.target.recalls or _is_new_here(row.target)]
        if recalled:
            self.send(self._maker.control(record, recalled, Mode.GO))
