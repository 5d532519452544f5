"""Preview: which devices each stage would get, why not the others, and what is new since the last run.

The salt that a preview names fixes its shares and order; a run that is started with it takes them over, as far as
devices, labels and the definition are still the same.
"""

import re
from collections.abc import Mapping
from heapq import nsmallest
from itertools import islice
from typing import Final

import msgspec

from controller.app import cursors
from controller.app.access import Actor, Permission
from controller.app.controller import Controller
from controller.app.errors import InvalidRequest, NotFound
from controller.app.pipelines import check
from controller.app.records import RunRecord
from controller.app.repositories import Transaction
from controller.app.views import LeftOutView, Page, PreviewDevice, PreviewStage, PreviewView
from controller.domain import control
from controller.domain.parameters import Given, Need, Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.placement import Fleet, Placement, Reason, placements
from controller.domain.selector import formula_of, position
from protocol.ids import AppName, StageName

FIRST: Final = 10
"""How many devices of a stage are shown unless said otherwise."""
SALT_BYTES: Final = 8
CHANGES: Final = ("new", "gone", "moved")
_SALT: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at: a job, or a pipeline that need not be stored, as the job would run it where one is named.

    `parameters` are those that the run would be given.
    """

    job: str | None = None
    definition: Pipeline | None = None
    parameters: Mapping[str, Value] = msgspec.field(default_factory=dict)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which devices of a preview to list: of a stage those with a reason or all, or those that changed in one way."""

    stage: str | None = None
    reason: str | None = None
    change: str | None = None


class _Outcome(msgspec.Struct, kw_only=True):
    """All that was found out. `why` is of the one stage that was asked about."""

    pipeline: Pipeline
    revision: int | None
    fleet: Fleet
    stages: list[PreviewStage]
    placed: dict[int, StageName]
    last: RunRecord | None
    before: dict[int, StageName]
    why: dict[int, tuple[str, str]]
    no_way_back_to: tuple[str, ...]

    def has_changed(self, device: int, change: str) -> bool:
        now, before = self.placed.get(device), self.before.get(device)
        kind = "new" if before is None else "gone" if now is None else "moved"
        return now != before and kind == change


async def show(
    controller: Controller, actor: Actor, *, subject: Subject, salt: str | None = None, first: int = FIRST
) -> PreviewView:
    """Return what each stage would get, with the *first* devices in the order in which they would be released.

    Raises:
        NotFound: when there is no such job or pipeline.
        InvalidDefinition: when the pipeline may not run.
        InvalidRequest: when the salt is none.
    """
    actor.require(Permission.READ)
    used = controller.chance.token(SALT_BYTES) if salt is None else checked_salt(salt)
    outcome = await controller.read(lambda tx: _outcome(controller, tx, subject, used, first=first))
    changed = {kind: sum(outcome.has_changed(id_, kind) for id_ in _either(outcome)) for kind in CHANGES}
    return PreviewView(
        job=subject.job,
        pipeline=outcome.pipeline.name,
        revision=outcome.revision,
        salt=used,
        devices=len(outcome.fleet.names),
        placed=len(outcome.placed),
        stages=tuple(outcome.stages),
        last_run=None if outcome.last is None else outcome.last.uid,
        no_way_back_to=outcome.no_way_back_to,
        **changed,
    )


async def devices(
    controller: Controller,
    actor: Actor,
    *,
    subject: Subject,
    salt: str,
    asked: Asked,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[PreviewDevice]:
    """Return devices by name: which stage each would get into, and, where one stage is asked about, why not into it.

    Raises:
        NotFound: when there is no such job, pipeline or stage.
        InvalidDefinition: when the pipeline may not run.
        InvalidRequest: when the salt, the reason or the change is none, or a reason comes without a stage.
    """
    actor.require(Permission.READ)
    checked_salt(salt)
    _check(asked)
    after = "" if cursor is None else cursors.decode(cursor)
    outcome = await controller.read(lambda tx: _outcome(controller, tx, subject, salt, first=0, explained=asked.stage))
    found = sorted((name, id_) for id_, name in outcome.fleet.names.items() if name > after)
    rows = [
        _device(outcome, id_) for _, id_ in islice((row for row in found if _is_asked(outcome, row[1], asked)), limit)
    ]
    next_cursor = cursors.encode(rows[-1].device) if len(rows) == limit else None
    return Page(items=tuple(rows), cursor=next_cursor)


def checked_salt(salt: str) -> str:
    """Return a salt that people may choose.

    Raises:
        InvalidRequest: when it is none.
    """
    if _SALT.fullmatch(salt) is None:
        raise InvalidRequest("salt: expected 1 to 64 letters, digits, dots, dashes or underscores")
    return salt


def _check(asked: Asked) -> None:
    if asked.reason is not None and asked.stage is None:
        raise InvalidRequest("a reason is of a stage: name the stage, too")
    if asked.reason is not None and asked.reason not in list(Reason):
        raise InvalidRequest(f"reason {asked.reason!r}: expected one of {', '.join(Reason)}")
    if asked.change is not None and asked.change not in CHANGES:
        raise InvalidRequest(f"change {asked.change!r}: expected one of {', '.join(CHANGES)}")


def _is_asked(outcome: _Outcome, device: int, asked: Asked) -> bool:
    if asked.change is not None and not outcome.has_changed(device, asked.change):
        return False
    if asked.reason is not None:
        return outcome.why.get(device, ("", ""))[0] == asked.reason
    return asked.stage is None or outcome.placed.get(device) == asked.stage


def _either(outcome: _Outcome) -> set[int]:
    return {*outcome.placed, *outcome.before} if outcome.last is not None else set()


def _outcome(
    controller: Controller, tx: Transaction, subject: Subject, salt: str, *, first: int, explained: str | None = None
) -> _Outcome:
    pipeline, revision = _pipeline(controller, tx, subject)
    if explained is not None and explained not in {stage.name for stage in pipeline.stages}:
        raise NotFound(f"pipeline {pipeline.name!r} has no stage {explained!r}")
    last, before = _last_run(tx, subject.job)
    fleet = _fleet(tx)
    outcome = _Outcome(
        pipeline=pipeline,
        revision=revision,
        fleet=fleet,
        stages=[],
        placed={},
        last=last,
        before=before,
        why={},
        no_way_back_to=_no_way_back_to(tx, subject.job),
    )
    for placement in placements(pipeline, fleet, find=lambda wanted: tx.devices.ids(formula_of(wanted)), salt=salt):
        name = placement.stage.name
        outcome.placed.update(dict.fromkeys(placement.members, name))
        outcome.stages.append(_stage(placement, fleet, salt, first))
        if name == explained:
            outcome.why = {
                id_: (out.reason.value, out.stage or "") for out in placement.left_out for id_ in out.devices
            }
    return outcome


def _pipeline(controller: Controller, tx: Transaction, subject: Subject) -> tuple[Pipeline, int | None]:
    """Return the definition with all values in place, and its revision where it is stored."""
    job = None if subject.job is None else tx.catalog.job(subject.job)
    if subject.job is not None and job is None:
        raise NotFound(f"there is no job {subject.job!r}")
    definition, revision = subject.definition, None
    if definition is None:
        assert job is not None, "a preview is of a job or of a definition"
        record = tx.catalog.pipeline(job.pipeline)
        if record is None:
            raise NotFound(f"there is no pipeline {job.pipeline!r}")
        definition, revision = record.definition, record.revision
    check(definition)
    given = Given(parameters={} if job is None else job.parameters).overridden_by(Given(parameters=subject.parameters))
    operation = Operation(app=AppName(""), version="") if job is None else job.operation
    return controller.resolve(definition, operation, given, Need.PARAMETERS).pipeline, revision


def _no_way_back_to(tx: Transaction, name: str | None) -> tuple[str, ...]:
    """Return the versions below the floor of a job's release, by counter: whoever installs that is past them."""
    job = None if name is None else tx.catalog.job(name)
    release = None if job is None else tx.catalog.release(job.operation.app, job.operation.version)
    if release is None:
        return ()
    return tuple(one.version for one in tx.catalog.releases(release.app) if one.counter < release.floor)


def _last_run(tx: Transaction, job: str | None) -> tuple[RunRecord | None, dict[int, StageName]]:
    """Return the newest run of a job, and which stage of it each device belongs to, as far as they were opened."""
    last = next(iter(tx.runs.page(job=job, active=None, before=None, limit=1)), None) if job else None
    if last is None:
        return None, {}
    names = {id_: stage.name for id_, stage in zip(last.stage_ids, last.plan.pipeline.stages, strict=True)}
    return last, {device: names[stage] for device, stage in tx.targets.placed(last.id).items()}


def _fleet(tx: Transaction) -> Fleet:
    everyone = tx.devices.roll()
    return Fleet(
        names={one.id: one.device for one in everyone},
        blocked={one.id for one in everyone if one.is_blocked},
        broken={one.id for one in everyone if one.is_broken},
    )


def _stage(placement: Placement, fleet: Fleet, salt: str, first: int) -> PreviewStage:
    names: Mapping[int, str] = fleet.names
    held = _held_back(placement, fleet, salt)
    others = placement.members - held
    earliest = nsmallest(first, others, key=lambda id_: position(fleet.names[id_], salt=salt)) if first else []
    return PreviewStage(
        name=placement.stage.name,
        needs=placement.stage.needs,
        devices=len(placement.members),
        first=tuple(names[id_] for id_ in earliest),
        left_out=tuple(
            LeftOutView(reason=out.reason.value, stage=out.stage or "", devices=len(out.devices))
            for out in placement.left_out
        ),
        control=len(held),
    )


def _held_back(placement: Placement, fleet: Fleet, salt: str) -> set[int]:
    rules = placement.stage.gate.control
    if rules is None:
        return set()
    names = [fleet.names[id_] for id_ in placement.members]
    held = control.chosen(names, share_percent=rules.share_percent, salt=salt)
    return {id_ for id_ in placement.members if fleet.names[id_] in held}


def _device(outcome: _Outcome, device: int) -> PreviewDevice:
    reason, stage = outcome.why.get(device, ("", ""))
    return PreviewDevice(
        device=outcome.fleet.names[device],
        stage=outcome.placed.get(device, ""),
        reason=reason,
        in_stage=stage,
        before=outcome.before.get(device, ""),
    )
