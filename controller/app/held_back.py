"""The control group of a stage: who is held back, who tells beside them, and how they come to be updated in the end."""

from collections import Counter
from collections.abc import Sequence

from controller.app.membership import Member
from controller.app.records import RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.domain import control
from controller.domain import target as targets
from controller.domain.events import Discharged
from controller.domain.target import Policy, TargetState
from protocol.ids import DeviceId, split_name
from protocol.units import Instant


def first(record: RunRecord, stage: int, members: Sequence[Member]) -> tuple[Sequence[Member], Sequence[Member]]:
    """Return those of a stage that are held back, who come first in its order, and all others."""
    rules = record.plan.pipeline.stages[stage].gate.control
    if rules is None:
        return (), members
    names = [DeviceId(split_name(member.name)[1]) for member in members]
    held = control.chosen(names, share_percent=rules.share_percent, salt=record.plan.salt)
    is_held = dict(zip((member.id for member in members), (name in held for name in names), strict=True))
    return [one for one in members if is_held[one.id]], [one for one in members if not is_held[one.id]]


def counts(held: Sequence[Member], others: Sequence[Member]) -> Counter[str]:
    """Return how many of the others are of each model; one that is only held back has none, and is named."""
    return Counter({member.model: 0 for member in held} | Counter(member.model for member in others))


def is_matched(record: RunRecord, row: TargetRecord) -> bool:
    """Say whether an updated device is one of those whose numbers are compared."""
    group, first_id = record.run.stages[row.stage].control, record.stage_ids[row.stage] << 32
    return group is not None and control.is_matched(group, row.id - first_id)


def discharge(tx: Transaction, record: RunRecord, stage: int, *, at: Instant) -> Discharged:
    """Put the control devices of a stage that are not at work into its queue; whoever left the fleet stays out."""
    group = record.run.stages[stage].control
    rows = [] if group is None else _held(tx, record, stage, count=group.held)
    ends = [targets.step(row.target, targets.Discharged(), Policy())[0] for row in rows]
    tx.commands.close([row.id for row in rows])
    tx.targets.save([row.became(end, at) for row, end in zip(rows, ends, strict=True)])
    _ask_anew(tx, rows)
    deltas = tuple(row.delta(end) for row, end in zip(rows, ends, strict=True))
    models = Counter(row.model for row in rows if row.model is not None)
    return Discharged(at=at, stage=stage, deltas=deltas, models=models)


def _held(tx: Transaction, record: RunRecord, stage: int, *, count: int) -> list[TargetRecord]:
    before = (record.stage_ids[stage] << 32) - 1
    rows = tx.targets.page(record.id, stage=stage, state=None, after=before, limit=count)
    is_out = {TargetState.IN_PROGRESS, TargetState.REMOVED}
    return [row for row in rows if row.target.is_control and row.target.state not in is_out]


def _ask_anew(tx: Transaction, rows: Sequence[TargetRecord]) -> None:
    """Forget what kept devices from being watched, and note where those are that were not queued until now."""
    tx.targets.unblock_rows({row.id for row in rows if row.blocked is not None})
    devices = tx.devices.by_names({row.name for row in rows})
    for instance in sorted({device.instance for device in devices.values()}):
        tx.targets.set_ready([one.id for one in devices.values() if one.instance == instance], instance)
