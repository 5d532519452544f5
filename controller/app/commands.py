"""Making commands: the exact bytes that are stored, and later signed and sent."""

from collections.abc import Sequence
from typing import Final

import msgspec

from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.app.repositories import Transaction
from protocol.codec import encode
from protocol.ids import TenantId, digest_of, split_name
from protocol.messages import Command, Mode, Op, StepLimits
from protocol.units import HOUR, Instant, Millis, later

CONTROL_MS: Final = HOUR
"""How long a control command may be accepted."""


class Maker:
    """Makes the commands of one transaction for one tenant; sequence numbers come from the database."""

    def __init__(self, *, tenant: TenantId, tx: Transaction, at: Instant, base_url: str) -> None:
        self._tenant = tenant
        self._tx = tx
        self._at = at
        self._base_url = base_url

    def install(self, record: RunRecord, targets: Sequence[TargetRecord], *, delay_ms: int = 0) -> list[CommandRecord]:
        """Return unsaved commands for the given attempt of each target, by its `target.attempt`; seqs are taken."""
        seqs = self._tx.devices.allocate_seqs([t.device_id for t in targets], at=self._at)
        return [self._install(record, target, seqs[target.device_id], delay_ms) for target in targets]

    def _install(self, record: RunRecord, target: TargetRecord, seq: int, delay_ms: int) -> CommandRecord:
        plan = record.plan
        stage = plan.pipeline.stages[target.stage]
        expires = later(self._at, stage.timeouts.accept_ms)
        command = self._blank(target, record, seq, Op.INSTALL)
        payload = msgspec.structs.replace(
            command,
            stage=stage.name,
            attempt=target.target.attempt,
            exp=expires,
            not_after=later(expires, stage.timeouts.lease_ms),
            releases=(plan.release,),
            urls=(f"{self._base_url}/v1/artifacts/{plan.release.sha256}",),
            params=plan.operation.params,
            env=plan.operation.env,
            steps=_steps(stage.timeouts.lease_ms),
        )
        return self._record(payload, record, target, Op.INSTALL, send_at=later(self._at, delay_ms))

    def control(self, record: RunRecord, targets: Sequence[TargetRecord], mode: Mode) -> list[CommandRecord]:
        """Return unsaved control commands for devices at work; a ``go`` renews what the device may do."""
        seqs = self._tx.devices.allocate_seqs([t.device_id for t in targets], at=self._at)
        op = Op(mode.value)
        commands: list[CommandRecord] = []
        for target in targets:
            lease = record.plan.pipeline.stages[target.stage].timeouts.lease_ms
            command = self._blank(target, record, seqs[target.device_id], op)
            renewed = msgspec.structs.replace(command, not_after=later(self._at, lease))
            commands.append(self._record(renewed, record, target, op, send_at=self._at))
        return commands

    def _blank(self, target: TargetRecord, record: RunRecord, seq: int, op: Op) -> Command:
        return Command(
            tenant=self._tenant,
            device=split_name(target.name)[1],
            seq=seq,
            op=op.value,
            run=record.uid,
            epoch=record.run.epoch,
            iat=self._at,
            exp=later(self._at, CONTROL_MS),
            not_after=later(self._at, CONTROL_MS),
        )

    def _record(
        self, command: Command, record: RunRecord, target: TargetRecord, op: Op, *, send_at: Instant
    ) -> CommandRecord:
        payload = encode(command)
        return CommandRecord(
            run_id=record.id,
            target_id=None if op.is_control else target.id,
            device_id=target.device_id,
            name=target.name,
            op=op,
            attempt=command.attempt,
            epoch=command.epoch,
            seq=command.seq,
            digest=digest_of(payload),
            payload=payload,
            send_at=send_at,
            expires_at=command.exp,
            created_at=self._at,
        )


def _steps(lease_ms: int) -> StepLimits:
    """Return step limits that end before the lease does, so that the device speaks before the controller gives up."""
    most = Millis(lease_ms * 9 // 10)
    defaults = StepLimits()
    return StepLimits(
        download_ms=min(most, defaults.download_ms),
        install_ms=min(most, defaults.install_ms),
        verify_ms=min(most, defaults.verify_ms),
    )
