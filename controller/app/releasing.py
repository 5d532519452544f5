"""Letting devices start: those that are ready get their commands, as many as one transaction may release."""

from collections.abc import Sequence

import msgspec

from controller.app.commands import Maker
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.dispatch import RESEND_FIRST_MS
from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.domain import target as targets
from controller.domain.events import Issued, Release
from controller.domain.freeze import in_force
from controller.domain.target import Delta, Policy, Reissued, Released
from protocol.units import Instant, later


def policy_of(record: RunRecord, target: TargetRecord) -> Policy:
    """Return what of the plan governs one device."""
    stage = record.plan.pipeline.stages[target.stage]
    return Policy(timeouts=stage.timeouts, retry=stage.retry, jitter_key=f"{record.uid}\0{target.name}")


class Releasing:
    """One transaction's commands for attempts: new ones, and new commands for attempts under way."""

    def __init__(self, controller: Controller, tx: Transaction, after: Consequences, *, maker: Maker) -> None:
        self._controller = controller
        self._tx = tx
        self._after = after
        self._maker = maker
        self._at: Instant = maker.at
        self._left = controller.release_batch_max

    def release(self, record: RunRecord, releases: Sequence[Release]) -> Issued:
        """Carry out all releases of a decision, as far as one transaction may; the run goes on in the next."""
        now = record.run.clock.run_time(self._at)
        deltas: dict[int, tuple[Delta, ...]] = {}
        cut: set[int] = set()
        for release in releases:
            limit = min(release.count, self._left)
            ready = self._ready(record, release.stage, now, limit) if limit else ()
            self._left -= len(ready)
            deltas[release.stage] = self._issue(record, ready, now) if ready else ()
            if len(ready) == limit < release.count:
                cut.add(release.stage)
        return Issued(at=self._at, deltas=deltas, cut=frozenset(cut))

    def reissue(self, record: RunRecord, rows: Sequence[TargetRecord], *, delay_ms: int = 0) -> None:
        """Make a new command for the current attempt of each device; the old one is never sent again.

        A device that was shut out since gets none: its attempt ends with its lease, or goes on when it is let in.
        In a freeze nobody gets one.
        """
        if in_force(record.run.freezes, self._at) is not None:
            return
        self._tx.commands.close([row.id for row in rows])
        devices = self._tx.devices.by_names({row.name for row in rows})
        fit = [row for row in rows if not (devices[row.name].is_blocked or devices[row.name].is_broken)]
        commands = self._maker.install(record, fit, delay_ms=delay_ms)
        changed: list[TargetRecord] = []
        for row, command in zip(fit, commands, strict=True):
            after, _ = targets.step(row.target, Reissued(command=command.digest), policy_of(record, row))
            changed.append(row.became(after, self._at))
        self._tx.targets.save(changed)
        self.send(commands)

    def send(self, commands: Sequence[CommandRecord]) -> None:
        """Store commands; those that are due follow the commit, and are looked at again when that should be marked."""
        again_at = later(self._at, RESEND_FIRST_MS)
        due = [msgspec.structs.replace(one, send_at=again_at) for one in commands if one.send_at <= self._at]
        self._after.commands += self._tx.commands.add(due)
        self._tx.commands.add([command for command in commands if command.send_at > self._at])

    def _ready(self, record: RunRecord, stage: int, now: int, limit: int) -> Sequence[TargetRecord]:
        instance = self._controller.transport.instance
        return self._tx.targets.ready(record.stage_ids[stage], instance=instance, now=now, limit=limit)

    def _issue(self, record: RunRecord, ready: Sequence[TargetRecord], now: int) -> tuple[Delta, ...]:
        next_attempts = [
            row.became(msgspec.structs.replace(row.target, attempt=row.target.attempt + 1), self._at) for row in ready
        ]
        first = [row.id for row in ready if row.previous is None]
        self._tx.targets.note_previous(first, app=record.plan.operation.app)
        commands = self._maker.install(record, next_attempts)
        deltas: list[Delta] = []
        changed: list[TargetRecord] = []
        for row, command in zip(ready, commands, strict=True):
            event = Released(at=now, command=command.digest)
            after, _ = targets.step(row.target, event, policy_of(record, row))
            deltas.append(targets.delta(row.target, after))
            changed.append(row.became(after, self._at))
        self._tx.targets.save(changed)
        self.send(commands)
        return tuple(deltas)
