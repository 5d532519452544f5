"""Why a device is not updated: what `controller.domain.why` needs, by index, and its answer as people see it."""

from collections.abc import Iterator
from typing import Final

from controller.app import devices, runs
from controller.app.access import Actor, Permission
from controller.app.admitting import Admitting
from controller.app.controller import Controller
from controller.app.errors import NotFound
from controller.app.records import DeviceRecord, RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.app.views import DeviceWhyView, FactView, WhyView
from controller.domain.admission import Blocked, BlockReason
from controller.domain.query import Described
from controller.domain.target import TargetState
from controller.domain.why import Case, Code, Fact, Rival, Subject, why
from protocol.ids import AppName
from protocol.units import Instant

ENDED_RUNS_MAX: Final = 20
"""How many of the newest runs that have ended are looked through for one that had the device."""


async def of_run(controller: Controller, actor: Actor, *, run: str, device: str) -> WhyView:
    """Return why a device is not updated by a run, the most decisive fact first; there is always one.

    Raises:
        NotFound: when there is no such run.
        InvalidRequest: when no device can have that name.
    """
    actor.require(Permission.READ)

    def work(tx: Transaction) -> WhyView:
        record = runs.find(tx, run)
        found = _find(controller, tx, device)
        if found is None:
            return _answer(record, "", (_unknown(device),))
        return _of_run(controller, tx, record, found)

    return await controller.read(work)


async def of_device(controller: Controller, actor: Actor, *, device: str, app: str | None = None) -> DeviceWhyView:
    """Return the same over all active runs, of one app or all; with none, over the newest that has ended and had it.

    Raises:
        InvalidRequest: when no device can have that name.
    """
    actor.require(Permission.READ)

    def work(tx: Transaction) -> DeviceWhyView:
        found = _find(controller, tx, device)
        if found is None:
            return DeviceWhyView(device=device, installed=(), facts=(_fact(_unknown(device)),), runs=())
        records = [tx.runs.get(run_id) for run_id in tx.runs.active_ids()]
        wanted = [record for record in records if _is_of(record, app)] or list(_last(tx, found, app))
        answers = tuple(_of_run(controller, tx, record, found) for record in wanted)
        facts = () if answers else (_fact(_no_run(app)),)
        view = devices.view_of(controller, tx, found)
        return DeviceWhyView(device=device, installed=view.installed, facts=facts, runs=answers)

    return await controller.read(work)


def _find(controller: Controller, tx: Transaction, device: str) -> DeviceRecord | None:
    try:
        return devices.find(controller, tx, device)
    except NotFound:
        return None


def _is_of(record: RunRecord, app: str | None) -> bool:
    return app is None or record.plan.operation.app == AppName(app)


def _last(tx: Transaction, device: DeviceRecord, app: str | None) -> Iterator[RunRecord]:
    """Yield the newest run that has ended and had the device, or else the newest of all, if there is one."""
    ended = [
        record
        for record in tx.runs.page(job=None, active=False, before=None, limit=ENDED_RUNS_MAX)
        if _is_of(record, app)
    ]
    had = (record for record in ended if tx.targets.find(record.id, device.id) is not None)
    newest = next(had, ended[0] if ended else None)
    if newest is not None:
        yield newest


def _of_run(controller: Controller, tx: Transaction, record: RunRecord, device: DeviceRecord) -> WhyView:
    row = tx.targets.find(record.id, device.id)
    case = Case(
        at=controller.clock.now(),
        device=_subject(controller, tx, device),
        plan=record.plan,
        run=record.run,
        part=None if row is None else row.target,
        stage=0 if row is None else row.stage,
        model=None if row is None else row.model,
        refusal=None if row is None else _refusal(controller, tx, record, row),
        rival=_rival(tx, record, row),
        last_heard_at=_last_heard_at(controller, record, row),
    )
    stage = "" if row is None else record.plan.pipeline.stages[row.stage].name
    return _answer(record, stage, why(case))


def _refusal(controller: Controller, tx: Transaction, record: RunRecord, row: TargetRecord) -> Blocked | None:
    """Return why a queued device would not be admitted now; how full its site is was judged when it could have gone."""
    if row.target.state is not TargetState.QUEUED:
        return None
    refused = Admitting(tx, controller.clock.now()).refused(record, [row]).get(row.id)
    if refused is not None or row.blocked is not BlockReason.SITE_FULL:
        return refused
    return Blocked(reason=row.blocked, text=row.block_text, check_at=row.check_at)


def _subject(controller: Controller, tx: Transaction, device: DeviceRecord) -> Subject:
    described = Described(
        device=device.device,
        model=device.model,
        agent=device.agent,
        labels=device.labels,
        facts=device.facts,
        apps=tuple((one.app, one.version) for one in device.installed),
        groups=frozenset(tx.groups.groups_of(device.id)),
    )
    return Subject(
        described=described,
        is_online=device.instance == controller.transport.instance,
        is_blocked=device.is_blocked,
        is_broken=device.is_broken,
        is_removed=device.removed_at is not None,
        last_seen_at=device.last_seen_at,
    )


def _rival(tx: Transaction, record: RunRecord, row: TargetRecord | None) -> Rival | None:
    """Return the other run that has the device at work, or else the first that it goes to sooner than to this one."""
    if row is None or row.target.state is not TargetState.QUEUED:
        return None
    rows = [other for other in tx.targets.of_device(row.device_id) if other.run_id != record.id]
    others = {tx.runs.get(other.run_id).uid: other for other in rows if not other.target.state.is_terminal}
    for uid, other in others.items():
        if other.target.state is TargetState.IN_PROGRESS:
            return Rival(run=uid, is_at_work=True)
    ahead = [tx.runs.get(other.run_id) for other in others.values()]
    first = min((one for one in ahead if not one.run.is_paused), key=_turn, default=None)
    return Rival(run=first.uid, is_at_work=False) if first is not None and _turn(first) < _turn(record) else None


def _turn(record: RunRecord) -> tuple[int, int]:
    """Return where a run stands among those that wait for one device: by priority, then the oldest."""
    return -record.plan.priority, record.id


def _last_heard_at(controller: Controller, record: RunRecord, row: TargetRecord | None) -> Instant | None:
    if row is None or row.target.state is not TargetState.IN_PROGRESS:
        return None
    ticked_at = controller.progress.heard_at(row.name, run=record.uid, attempt=row.target.attempt)
    return max(row.updated_at, ticked_at or row.updated_at)


def _unknown(device: str) -> Fact:
    return Fact(code=Code.UNKNOWN, text=f"no device is enrolled as {device}", change="check the name, or enrol it")


def _no_run(app: str | None) -> Fact:
    of = "" if app is None else f" of {app}"
    return Fact(code=Code.NO_RUN, text=f"there is no run{of}, and was none lately", change="start one that has it")


def _fact(fact: Fact) -> FactView:
    return FactView(code=fact.code.value, text=fact.text, change=fact.change, until=fact.until)


def _answer(record: RunRecord, stage: str, facts: tuple[Fact, ...]) -> WhyView:
    operation = record.plan.operation
    return WhyView(
        run=record.uid,
        job=record.job,
        app=operation.app,
        version=operation.version,
        state=record.run.state.value,
        stage=stage,
        facts=tuple(map(_fact, facts)),
    )
