"""Making commands: the exact bytes that are stored, and later signed and sent."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from controller.app.held_back import is_matched
from controller.app.records import CommandRecord, RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.domain.freeze import next_start
from controller.domain.pipeline import Timeouts
from protocol.codec import encode
from protocol.health import HEALTH, MEASURE
from protocol.ids import Name, TenantId, digest_of, split_name
from protocol.messages import Command, Mode, Op, StepLimits
from protocol.units import HOUR, Instant, Millis, later

CONTROL_MS: Final = HOUR
"""How long a control command may be accepted."""

Kind = tuple[int, str | None, bool]
"""What tells the commands of one run apart: the stage, the version where that is the device's own, and whether the
device is held back."""


class Maker:
    """Makes the commands of one transaction for one tenant; sequence numbers come from the database."""

    def __init__(self, *, tenant: TenantId, tx: Transaction, at: Instant, base_url: str) -> None:
        self._tenant = tenant
        self._tx = tx
        self.at = at
        self._base_url = base_url

    def begin(self, record: RunRecord, targets: Sequence[TargetRecord], *, delay_ms: int = 0) -> list[CommandRecord]:
        """Return unsaved commands for the given attempt of each target, by its `target.attempt`; seqs are taken.

        They ask for an installation, or, of a device that is held back, to watch what it has.
        """
        drafts = {kind: self._begin(record, kind) for kind in {_kind(target) for target in targets}}
        return self._made(record, targets, drafts, send_at=later(self.at, delay_ms))

    def control(self, record: RunRecord, targets: Sequence[TargetRecord], mode: Mode) -> list[CommandRecord]:
        """Return unsaved control commands for devices at work; a ``go`` renews what the device may do."""
        drafts = {kind: self._control(record, kind[0], mode) for kind in {_kind(target) for target in targets}}
        return self._made(record, targets, drafts, send_at=self.at)

    def _begin(self, record: RunRecord, kind: Kind) -> Command:
        """Return what is the same in all commands of one kind that begin an attempt."""
        stage_index, wanted, is_control = kind
        watch = self._watch(record, stage_index)
        return watch if is_control else self._install(watch, record, stage_index, wanted)

    def _watch(self, record: RunRecord, stage_index: int) -> Command:
        """Return what asks devices of a stage to watch what they have, for as long as it may take; not in a freeze.

        What is compared they tell again and again, so that there is something as new as what an updated device tells.
        """
        plan = record.plan
        stage, at_work = plan.pipeline.stages[stage_index], record.run.stages[stage_index]
        last = later(self.at, stage.timeouts.accept_ms)
        frozen_at = next_start(record.run.freezes, self.at)
        return Command(
            tenant=self._tenant,
            device="",
            seq=0,
            op=Op.WATCH.value,
            run=record.uid,
            stage=stage.name,
            epoch=record.run.epoch,
            iat=self.at,
            exp=last if frozen_at is None else min(last, frozen_at),
            not_after=later(last, stage.timeouts.lease_ms),
            apps=(plan.operation.app,),
            watch_ms=Millis(stage.timeouts.stage_ms + stage.gate.soak_ms),
            measure_ms=stage.gate.remeasure_ms if at_work.is_comparing else Millis(0),
        )

    def _install(self, begun: Command, record: RunRecord, stage_index: int, wanted: str | None) -> Command:
        """Return what asks devices of a stage to install one version, and to watch that for the soak."""
        plan = record.plan
        release = plan.release if wanted is None else plan.releases[wanted]
        stage = plan.pipeline.stages[stage_index]
        return msgspec.structs.replace(
            begun,
            op=Op.INSTALL.value,
            releases=(release,),
            urls=(f"{self._base_url}/v1/artifacts/{release.sha256}",),
            apps=(),
            params=plan.operation.params,
            env=plan.operation.env,
            steps=_steps(stage.timeouts),
            watch_ms=stage.gate.watch_ms,
            measure_ms=stage.gate.measure_ms if begun.measure_ms else Millis(0),
        )

    def _control(self, record: RunRecord, stage_index: int, mode: Mode) -> Command:
        """Return what is the same in all control commands for one stage."""
        lease_ms = record.plan.pipeline.stages[stage_index].timeouts.lease_ms
        return Command(
            tenant=self._tenant,
            device="",
            seq=0,
            op=Op(mode.value).value,
            run=record.uid,
            epoch=record.run.epoch,
            iat=self.at,
            exp=later(self.at, CONTROL_MS),
            not_after=later(self.at, lease_ms),
        )

    def _made(
        self, record: RunRecord, targets: Sequence[TargetRecord], drafts: Mapping[Kind, Command], *, send_at: Instant
    ) -> list[CommandRecord]:
        seqs = self._tx.devices.allocate_seqs([target.device_id for target in targets], at=self.at)
        known = self._capabilities(targets) if any(draft.watch_ms for draft in drafts.values()) else {}
        return [
            _addressed(
                drafts[_kind(target)],
                record,
                target,
                seq=seqs[target.device_id],
                send_at=send_at,
                capabilities=known.get(target.name, ()),
            )
            for target in targets
        ]

    def _capabilities(self, targets: Sequence[TargetRecord]) -> dict[Name, Collection[str]]:
        """Return what the agents of devices can do, by name."""
        devices = self._tx.devices.by_names({target.name for target in targets})
        return {name: device.capabilities for name, device in devices.items()}


def _kind(target: TargetRecord) -> Kind:
    return target.stage, target.wanted, target.target.is_control


def _addressed(
    draft: Command,
    record: RunRecord,
    target: TargetRecord,
    *,
    seq: int,
    send_at: Instant,
    capabilities: Collection[str],
) -> CommandRecord:
    """Return one device's command: the draft with what is the device's own, and nothing that its agent cannot do.

    Of those that are updated it asks only who is compared for numbers.
    """
    op = Op(draft.op)
    attempt = 0 if op.is_control else target.target.attempt
    watch_ms = draft.watch_ms if HEALTH in capabilities else Millis(0)
    tells = MEASURE in capabilities and (target.target.is_control or is_matched(record, target))
    own = {
        "device": split_name(target.name)[1],
        "seq": seq,
        "attempt": attempt,
        "watch_ms": watch_ms,
        "measure_ms": draft.measure_ms if watch_ms and tells else Millis(0),
    }
    payload = encode(msgspec.structs.replace(draft, **own))
    return CommandRecord(
        run_id=record.id,
        target_id=None if op.is_control else target.id,
        device_id=target.device_id,
        name=target.name,
        op=op,
        attempt=attempt,
        epoch=draft.epoch,
        seq=seq,
        digest=digest_of(payload),
        payload=payload,
        send_at=send_at,
        expires_at=draft.exp,
        created_at=draft.iat,
    )


def _steps(timeouts: Timeouts) -> StepLimits:
    """Return step limits that end before the controller gives up, so that the device speaks first.

    A download may take longer than the lease, since it tells its progress; other steps are silent.
    """
    most = Millis(timeouts.lease_ms * 9 // 10)
    defaults = StepLimits()
    return StepLimits(
        download_ms=Millis(timeouts.attempt_ms * 9 // 10),
        install_ms=min(most, defaults.install_ms),
        verify_ms=min(most, defaults.verify_ms),
    )


def outdated(tx: Transaction, controls: Sequence[CommandRecord], at: Instant) -> set[int]:
    """Return the ids of control commands that do not say what holds any more.

    They expired, their epoch is over, or their run has ended.
    """
    of_run = {run_id: tx.runs.get(run_id).run for run_id in {c.run_id for c in controls}}
    over = {run_id for run_id, run in of_run.items() if run.state.is_terminal}
    return {c.id for c in controls if c.expires_at <= at or c.run_id in over or c.epoch < of_run[c.run_id].epoch}
