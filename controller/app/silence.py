"""Who is offline after its success: noted as devices come and go, and judged when it lasts.

The rules this module keeps:

1. A watched device that goes has a deadline, and none once it says hello; presence is all that counts, so that agents
   of any age are judged alike.
2. A controller that has just begun knows of nobody: whoever is watched is given time anew to say hello, and more of it.
   So is whoever the transport loses sight of. That somebody goes who has not come since says nothing new.
3. Nobody is blamed while nobody would have been heard; the run is held, and whoever is away in that stage is given as
   much time again, however late in its soak it went. It stands still until a person has looked.
4. Whom an operator has shut out is watched no more, and where a run or a stage is stopped nobody is judged any more.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import msgspec

from controller.app.advance import Advance
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.records import DeviceRecord, EventRecord, RunRecord, TargetRecord
from controller.app.releasing import policy_of
from controller.app.repositories import Transaction
from controller.domain import silence
from controller.domain import target as targets
from controller.domain.events import TelemetryLost
from controller.domain.model import Run
from controller.domain.settle.decision import CALLED_BACK
from controller.domain.silence import Facts
from controller.domain.states import RunState
from controller.domain.target import CameOnline, Excused, Seeing, ShutOut, Unseen, WentOffline
from protocol.units import MINUTE, Instant

PAGE: Final = 500
BYSTANDERS_MAX: Final = 1_000
"""The devices of a fleet that are looked at before anybody is blamed; they tell a share to some three percent."""
HELLO_MS: Final = 20 * MINUTE
"""Within that a device that is connected has said hello again, unasked; so long ago its last sign of life may be."""


def went(controller: Controller, tx: Transaction, after: Consequences, device_ids: Collection[int]) -> None:
    """Note that devices which were connected are so no more."""
    _away(controller, tx, after, device_ids, WentOffline)


def lost(controller: Controller, tx: Transaction, after: Consequences, device_ids: Collection[int]) -> None:
    """Note that nothing is known any more of devices which were connected."""
    _away(controller, tx, after, device_ids, Unseen)


def _away(
    controller: Controller,
    tx: Transaction,
    after: Consequences,
    device_ids: Collection[int],
    event: type[WentOffline | Unseen],
) -> None:
    rows = tx.watches.of_devices(device_ids) if device_ids else []
    if rows:
        advance = Advance(controller, tx, after)
        _see(advance, rows, event)
        advance.finish()


def came(advance: Advance, device_ids: Collection[int]) -> None:
    """Note that devices are connected again."""
    if device_ids:
        _see(advance, advance.tx.watches.of_devices(device_ids), CameOnline)


def shut_out(advance: Advance, device_id: int) -> None:
    """Watch a device no more, which people shut out or set up anew."""
    _see(advance, advance.tx.watches.of_devices([device_id]), ShutOut)


def begun(advance: Advance) -> None:
    """Note of all whom runs watch, at the start of a controller, that nothing is known of them."""
    for run_id in advance.tx.runs.active_ids():
        record = advance.record(run_id)
        for stage, stage_id in zip(record.plan.pipeline.stages, record.stage_ids, strict=True):
            if stage.gate.silent_after_ms is not None:
                _see_away(advance, stage_id, Unseen)


def of_success(advance: Advance, rows: Sequence[TargetRecord]) -> list[TargetRecord]:
    """Return devices that have just succeeded as they are then: those that are not connected are away since now."""
    instance = advance.controller.transport.instance
    known = advance.tx.devices.senders({row.name for row in rows}) if rows else {}
    return [_seen(advance, row, WentOffline) for row in rows if known[row.name].instance != instance]


def judge(
    advance: Advance, record: RunRecord, due: Sequence[TargetRecord]
) -> tuple[dict[int, TargetRecord], list[TelemetryLost]]:
    """Return those of the devices *due* for their silence which are not to blame, as they are then, and why, if a hold.

    What holds the run is to happen to it once the devices are stored.
    """
    devices = advance.tx.devices.by_names({row.name for row in due}) if due else {}
    free: dict[int, TargetRecord] = {}
    stages: dict[int, list[TargetRecord]] = defaultdict(list)
    for row in due:
        if not _is_judged(record.run, row.stage):
            free[row.id] = _seen(advance, row, CameOnline)
        else:
            stages[row.stage].append(row)
    lost: list[TelemetryLost] = []
    for stage, rows in stages.items():
        facts = _facts(advance, record, rows, [devices[row.name] for row in rows])
        if silence.is_blind(facts):
            free |= {row.id: _seen(advance, row, Excused) for row in rows}
            _see_away(advance, record.stage_ids[stage], Excused)
            lost.append(TelemetryLost(at=advance.at, stage=stage, evidence=silence.said(facts)))
        else:
            _tell(advance, record, stage, count=len(rows))
    return free, lost


def _tell(advance: Advance, record: RunRecord, stage: int, *, count: int) -> None:
    """Tell the timeline of a run who counts as failed."""
    text = silence.counted(count, _silent_after(record, stage))
    data = {"stage": record.plan.pipeline.stages[stage].name, "text": text}
    advance.tx.log.add_events([EventRecord(run_id=record.id, at=advance.at, kind="silent", data=data)])


def _is_judged(run: Run, stage: int) -> bool:
    is_going = run.state is RunState.RUNNING and not run.is_stopped
    return is_going and run.stages[stage].state not in CALLED_BACK


def _facts(advance: Advance, record: RunRecord, rows: Sequence[TargetRecord], devices: Iterable[DeviceRecord]) -> Facts:
    """Return what is known beside devices of one stage that fall silent, with what is known of them."""
    seen = [device.last_seen_at for device in devices if device.last_seen_at is not None]
    # What lies ahead was seen before our clock was set back: nobody knows how long ago that is.
    first = min((at if at <= advance.at else 0 for at in seen), default=advance.at)
    bystanders = advance.tx.watches.bystanders(
        record.id, instance=advance.controller.transport.instance, limit=BYSTANDERS_MAX
    )
    heard_since = Instant(advance.at - max(_silent_after(record, rows[0].stage), HELLO_MS))
    return silence.weighed(bystanders, silent=len(rows), since=Instant(first - HELLO_MS), heard_since=heard_since)


def _silent_after(record: RunRecord, stage: int) -> int:
    silent_after = record.plan.pipeline.stages[stage].gate.silent_after_ms
    assert silent_after is not None
    return silent_after


def _see_away(advance: Advance, stage_id: int, event: type[Seeing]) -> None:
    after, instance = 0, advance.controller.transport.instance
    while rows := advance.tx.watches.away(stage_id, instance=instance, after=after, limit=PAGE):
        _see(advance, rows, event)
        after = rows[-1].id


def _see(advance: Advance, rows: Iterable[TargetRecord], event: Callable[..., Seeing]) -> None:
    seen = [(row, _seen(advance, row, event)) for row in rows]
    advance.tx.targets.save([now for row, now in seen if now.target != row.target])


def _seen(advance: Advance, row: TargetRecord, event: Callable[..., Seeing]) -> TargetRecord:
    record = advance.record(row.run_id)
    at = record.run.clock.run_time(advance.at)
    now, _ = targets.step(row.target, event(at=at), policy_of(record, row))
    return msgspec.structs.replace(row, target=now, updated_at=advance.at) if now != row.target else row
