"""Who joins a stage: the devices that its targets mean, or those that an earlier run left.

Devices of a model that is quarantined in the run are left out.
"""

from collections.abc import Sequence

import msgspec

from controller.app.records import Candidate, PastTarget, RunRecord
from controller.app.repositories import Transaction
from controller.domain.model import Plan
from controller.domain.quarantine import Barred, barred
from controller.domain.rerun import LeftOut, Purpose, Source, Unfit, grouped, unfit
from controller.domain.selector import is_left_out, position
from protocol.ids import DeviceId, Name, split_name


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One device that joins; `previous` and `wanted` are those of its row."""

    id: int
    name: Name
    instance: int
    model: str
    previous: str | None = None
    wanted: str | None = None


class Joining(msgspec.Struct, frozen=True, kw_only=True):
    """Who joins, in dispatch order, and who of an earlier run is left out."""

    members: Sequence[Member]
    left_out: tuple[LeftOut, ...] = ()


def joining(tx: Transaction, record: RunRecord, stage: int) -> Joining:
    """Return who joins a stage of a run now."""
    return _admissible(_called(tx, record, stage), barred(record.run))


def _admissible(found: Joining, out: Barred) -> Joining:
    """Return who joins, without those whose model is quarantined."""
    if not out.stages:
        return found
    members = [member for member in found.members if not out.has(member.model)]
    rest = [member for member in found.members if out.has(member.model)]
    left_out = grouped((Unfit.QUARANTINED, DeviceId(split_name(member.name)[1])) for member in rest)
    return Joining(members=members, left_out=(*found.left_out, *left_out))


def _called(tx: Transaction, record: RunRecord, stage: int) -> Joining:
    """Return who would join a stage if no model were quarantined."""
    source = record.plan.source
    if source is None:
        return Joining(members=_meant(tx, record, stage))
    past = tx.runs.get(source.run_id)
    if source.purpose is Purpose.RETRY:
        stage_ids = past.stage_ids[stage : stage + 1]
        return chosen(record.plan, source, tx.targets.unsuccessful(stage_ids, with_cancelled=source.with_cancelled))
    return chosen(record.plan, source, tx.targets.reached(past.stage_ids))


def chosen(plan: Plan, source: Source, past: Sequence[PastTarget]) -> Joining:
    """Return which devices of an earlier run a run over it takes, and why not the others."""
    members: list[Member] = []
    left_out: list[tuple[Unfit, DeviceId]] = []
    for one in past:
        wanted = _wanted(plan, source, one)
        reason = _unfit(plan, one, wanted)
        if reason is None:
            members.append(_member(source, one, wanted))
        else:
            left_out.append((reason, DeviceId(split_name(one.name)[1])))
    if source.purpose is Purpose.ROLLBACK:
        members.sort(key=lambda member: position(split_name(member.name)[1], salt=plan.salt))
    return Joining(members=members, left_out=grouped(left_out))


def _wanted(plan: Plan, source: Source, one: PastTarget) -> str | None:
    """Return the version that a device goes to, None where that is the run's."""
    if not plan.releases:
        return None
    return source.version or (one.previous if source.purpose is Purpose.ROLLBACK else one.wanted)


def _unfit(plan: Plan, one: PastTarget, wanted: str | None) -> Unfit | None:
    if one.is_blocked or one.is_broken:
        return Unfit.BLOCKED if one.is_blocked else Unfit.BROKEN
    if not plan.releases:
        return None
    return unfit(wanted, [here for here in one.installed if here.app == plan.operation.app], plan.releases)


def _member(source: Source, one: PastTarget, wanted: str | None) -> Member:
    """A device that is tried again goes back, if it must, to what it had before it was tried the first time."""
    previous = one.previous if source.purpose is Purpose.RETRY else None
    return Member(
        id=one.device_id, name=one.name, instance=one.instance, model=one.model, previous=previous, wanted=wanted
    )


def _meant(tx: Transaction, record: RunRecord, stage: int) -> list[Member]:
    wanted, salt = record.plan.pipeline.stages[stage].targets, record.plan.salt
    taken = tx.targets.members(record.id)
    found = [
        candidate
        for candidate in tx.devices.matching(wanted)
        if candidate.id not in taken and not is_left_out(wanted, candidate.device, salt=salt)
    ]
    found.sort(key=lambda candidate: position(candidate.device, salt=salt))
    return [member_of(one) for one in found]


def member_of(one: Candidate) -> Member:
    """Return a device that joins for itself."""
    return Member(id=one.id, name=one.name, instance=one.instance, model=one.model)
