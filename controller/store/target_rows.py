"""A device in a run as a row of its table, and the way back."""

from typing import Any, Final

import msgspec

from controller.app.records import TargetRecord
from controller.domain.admission import BlockReason
from controller.domain.target import Target, TargetState
from protocol.health import Mark
from protocol.lifecycle import AttemptState, Left
from protocol.outputs import Outputs
from protocol.reasons import Reason

SAVED: Final = (
    "attempt",
    "attempt_state",
    "command",
    "due",
    "reason",
    "detail",
    "left_with",
    "outputs",
    "is_started",
    "is_blamed",
    "cancel_requested",
    "is_idle",
    "accepted_at",
    "returns",
    "recalls",
    "late_success_at",
    "health",
    "health_detail",
    "wave",
    "watched_until",
    "is_silent",
    "is_control",
    "is_compared",
    "watches",
    "measures",
    "measured_at",
    "is_paired",
    "site",
    "updated_at",
)
"""The columns that a report changes, in the table's order but for the last two."""

_outputs: Final[msgspec.json.Decoder[Outputs]] = msgspec.json.Decoder(Outputs)
"""Few devices have any: a column type of its own would look at every row."""
_measures: Final[msgspec.json.Decoder[dict[str, float]]] = msgspec.json.Decoder(dict[str, float])


def to_row(record: TargetRecord) -> tuple[object, ...]:
    """Return a record as a row: the values of all columns, in the table's order."""
    *saved, site, updated_at = to_saved(record)
    row = (record.id, record.run_id, record.stage, record.device_id, record.name, record.ready)
    return (
        *row,
        *to_block(record),
        site,
        updated_at,
        record.target.state.value,
        *saved,
        record.previous,
        record.wanted,
        record.model,
    )


def to_block(record: TargetRecord) -> tuple[object, ...]:
    """Return what keeps a device out, as the columns `blocked`, `block_text` and `check_at` have it."""
    return record.blocked and record.blocked.value, record.block_text, record.check_at


def to_saved(record: TargetRecord) -> tuple[object, ...]:
    """Return the values of the columns `SAVED`, which are in the table's order but for the last two."""
    target = record.target
    return (
        target.attempt,
        target.attempt_state and target.attempt_state.value,
        target.command,
        target.due,
        target.reason and target.reason.value,
        target.detail,
        target.left and target.left.value,
        msgspec.json.encode(target.outputs).decode() if target.outputs else None,
        target.is_started,
        target.is_blamed,
        target.cancel_requested,
        target.is_idle,
        target.accepted_at,
        target.returns,
        target.recalls,
        target.late_success_at,
        target.health and target.health.value,
        target.health_detail,
        target.wave,
        target.watched_until,
        target.is_silent,
        target.is_control,
        target.is_compared,
        target.watches,
        msgspec.json.encode(target.measures).decode() if target.measures else None,
        target.measured_at,
        target.is_paired,
        record.site,
        record.updated_at,
    )


def to_record(  # noqa: PLR0917 - one argument for each column, in the table's order
    id_: int,
    run_id: int,
    stage: int,
    device_id: int,
    name: Any,
    ready: int,
    blocked: str | None,
    block_text: str,
    check_at: Any,
    site: str,
    updated_at: Any,
    state: str,
    attempt: int,
    attempt_state: str | None,
    command: Any,
    due: int | None,
    reason: str | None,
    detail: str,
    left: str | None,
    outputs: str | None,
    is_started: bool,  # noqa: FBT001
    is_blamed: bool,  # noqa: FBT001
    cancel_requested: bool,  # noqa: FBT001
    is_idle: bool,  # noqa: FBT001
    accepted_at: int | None,
    returns: bool,  # noqa: FBT001
    recalls: int,
    late_success_at: int | None,
    health: str | None,
    health_detail: str,
    wave: int | None,
    watched_until: int | None,
    is_silent: bool,  # noqa: FBT001
    is_control: bool,  # noqa: FBT001
    is_compared: bool,  # noqa: FBT001
    watches: int,
    measures: str | None,
    measured_at: Any,
    is_paired: bool,  # noqa: FBT001
    previous: str | None,
    wanted: str | None,
    model: str | None,
) -> TargetRecord:
    """Return a row as a record."""
    target = Target(
        state=TargetState(state),
        attempt=attempt,
        attempt_state=None if attempt_state is None else AttemptState(attempt_state),
        command=command,
        due=due,
        reason=None if reason is None else Reason(reason),
        detail=detail,
        left=None if left is None else Left(left),
        outputs={} if outputs is None else _outputs.decode(outputs),
        is_started=is_started,
        is_blamed=is_blamed,
        cancel_requested=cancel_requested,
        is_idle=is_idle,
        accepted_at=accepted_at,
        returns=returns,
        recalls=recalls,
        late_success_at=late_success_at,
        health=None if health is None else Mark(health),
        health_detail=health_detail,
        wave=wave,
        watched_until=watched_until,
        is_silent=is_silent,
        is_control=is_control,
        is_compared=is_compared,
        watches=watches,
        measures={} if measures is None else _measures.decode(measures),
        measured_at=measured_at,
        is_paired=is_paired,
    )
    return TargetRecord(
        id=id_,
        run_id=run_id,
        stage=stage,
        device_id=device_id,
        name=name,
        target=target,
        ready=ready,
        blocked=None if blocked is None else BlockReason(blocked),
        block_text=block_text,
        check_at=check_at,
        site=site,
        updated_at=updated_at,
        previous=previous,
        wanted=wanted,
        model=model,
    )
