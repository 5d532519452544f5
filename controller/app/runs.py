"""Runs: started, paused, resumed, terminated, promoted, and looked at.

Every verb answers after its commit and after the fence is raised: once a pause or termination is answered, no
command of the run is handed to a transport.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from controller.app import audit, cursors, run_views, standstill, withdrawn
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.conditions import ANYTHING, Expected, run_tag
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import ApprovalsMissing, Conflict, InvalidRequest, NotFound
from controller.app.once import once
from controller.app.pipelines import check
from controller.app.preview import SALT_BYTES, checked_salt
from controller.app.records import EventRecord, JobRecord, RunRecord
from controller.app.repositories import Transaction
from controller.app.rerun_plans import ref_of, release_of
from controller.app.standstill import require_reason
from controller.app.views import EventView, Page, RunView, TargetView
from controller.domain import approval, quarantine
from controller.domain.events import Event, Paused, Promoted, Readmitted, Resumed, Skipped, Terminated
from controller.domain.model import Plan
from controller.domain.parameters import Given, Need
from controller.domain.settle import BREACH, RAMP
from controller.domain.states import RunState, StageState
from controller.domain.target import TargetState
from controller.domain.trigger import StartRequest

NOTHING_GIVEN: Final = Given()
Check = Callable[[RunRecord], Event]


async def start(
    controller: Controller,
    actor: Actor,
    *,
    job: str,
    version: str | None = None,
    salt: str | None = None,
    given: Given = NOTHING_GIVEN,
    allows_deprecated: bool = False,
) -> RunView:
    """Start a run of *job*, with another version than the job's, the salt of a preview, and more where it is *given*.

    Raises:
        NotFound: when there is no such job, pipeline or release.
        InvalidDefinition: when the pipeline may not run with what is given.
        SecretsNotSealed: when a variable is a secret.
        ReleaseWithdrawn: when the release was withdrawn.
        ReleaseDeprecated: when the release is deprecated, and that is not allowed.
        Conflict: when the job has an active run.
        InvalidRequest: when the salt is none.
    """
    actor.require(Permission.CONTROL_RUNS)
    if salt is not None:
        checked_salt(salt)

    def work(tx: Transaction, after: Consequences) -> RunView:
        advance = Advance(controller, tx, after)
        found = tx.catalog.job(job)
        if found is None:
            raise NotFound(f"there is no job {job!r}")
        request = StartRequest(
            by=actor.name,
            at=advance.at,
            version=version,
            given=given,
            salt=salt,
            allows_deprecated=allows_deprecated,
        )
        record = begin(advance, actor, found, request)
        advance.finish()
        return run_views.run_view(advance.record(record.id))

    return await once(controller, actor, work, kind=RunView)


def begin(advance: Advance, actor: Actor, job: JobRecord, request: StartRequest) -> RunRecord:
    """Start a run of *job* within a transaction, as *request* says; what is raised is raised before any change.

    Raises:
        NotFound: when there is no such pipeline or release.
        InvalidDefinition: when the pipeline may not run with what is given.
        SecretsNotSealed: when a variable is a secret.
        ReleaseWithdrawn, ReleaseDeprecated: when the release is not one to start.
        Conflict: when the job has an active run.
    """
    require_free(job)
    plan = _plan(advance.controller, advance.tx, job, request)
    record = advance.begin(plan, job_id=job.id, job=job.name)
    said = " ".join(filter(None, (job.name, request.version, request.reason)))
    audit.record(advance.tx, actor, "run.start", record.uid, at=advance.at, reason=said)
    return record


def require_startable(advance: Advance, job: JobRecord, request: StartRequest) -> None:
    """Go on only where nothing but an active run keeps a run from beginning.

    Raises:
        NotFound: when there is no such pipeline or release.
        InvalidDefinition: when the pipeline may not run with what is given.
        SecretsNotSealed: when a variable is a secret.
        ReleaseWithdrawn, ReleaseDeprecated: when the release is not one to start.
    """
    _plan(advance.controller, advance.tx, job, request)


def require_free(job: JobRecord) -> None:
    """Go on only with a job that has no active run.

    Raises:
        Conflict: when it has one.
    """
    if job.active_run is not None:
        raise Conflict(f"job {job.name!r} has an active run, {job.active_run}: wait for its end, or terminate it")


def _plan(controller: Controller, tx: Transaction, job: JobRecord, request: StartRequest) -> Plan:
    operation = msgspec.structs.replace(job.operation, version=request.version or job.operation.version)
    given = Given(parameters=job.parameters).overridden_by(request.given)
    pipeline = tx.catalog.pipeline(job.pipeline)
    if pipeline is None:
        raise NotFound(f"there is no pipeline {job.pipeline!r}")
    check(pipeline.definition)
    resolved = controller.resolve(pipeline.definition, operation, given, Need.EVERYTHING)
    release = release_of(tx, operation.app, operation.version)
    withdrawn.require_startable(release, allows_deprecated=request.allows_deprecated)
    return Plan(
        pipeline=resolved.pipeline,
        revision=pipeline.revision,
        operation=msgspec.structs.replace(operation, env=resolved.env, secrets={}),
        release=ref_of(release),
        salt=request.salt or controller.chance.token(SALT_BYTES),
        priority=job.priority,
        parameters=resolved.parameters,
        started_by=request.by,
        author=pipeline.author,
    )


async def pause(controller: Controller, actor: Actor, *, run: str, reason: str) -> RunView:
    """Hold a run: once this returns, no command of it is handed to a transport. Idempotent.

    Raises:
        NotFound: when there is no such run.
        Conflict: when it has ended or is ending.
        InvalidRequest: when no reason is given.
    """
    require_reason(reason)

    def decide(record: RunRecord) -> Event:
        require_running(record)
        return Paused(at=controller.clock.now(), reason=f"operator:{reason}", by=actor.name)

    return await _act(controller, actor, run, verb="run.pause", reason=reason, decide=decide)


async def resume(
    controller: Controller,
    actor: Actor,
    *,
    run: str,
    override: bool = False,
    reason: str = "",
    expected: Expected = ANYTHING,
) -> RunView:
    """Lift every pause reason; over a breached gate or a ramp's hold only with *override* and a reason. Idempotent.

    Raises:
        NotFound: when there is no such run.
        ReleaseWithdrawn: when what it installs was withdrawn.
        Conflict: when it has ended or is ending, everything is stopped, or a gate or a ramp holds it and *override* is
            not set.
        PreconditionFailed: when it is not as *expected*.
        InvalidRequest: when *override* comes without a reason.
    """
    if override:
        require_reason(reason)

    def decide(record: RunRecord) -> Event:
        require_running(record)
        standstill.require_lifted(record)
        withdrawn.require_none(record)
        if not override:
            _require_unbroken(record)
        return Resumed(at=controller.clock.now(), reason=reason, by=actor.name)

    return await _act(controller, actor, run, verb="run.resume", reason=reason, decide=decide, expected=expected)


def _require_unbroken(record: RunRecord) -> None:
    """Refuse a run that its own rules hold: going on over them is a decision that somebody answers for."""
    said = {BREACH: "the gate of stage {} was breached", RAMP: "the ramp of stage {} has nothing left to risk"}
    for held, words in said.items():
        stages = ", ".join(r.removeprefix(held) for r in record.run.pause_reasons if r.startswith(held))
        if stages:
            raise Conflict(f"{words.format(stages)}: resume with override and a reason")


async def readmit(
    controller: Controller, actor: Actor, *, run: str, model: str, reason: str, expected: Expected = ANYTHING
) -> RunView:
    """Let devices of a quarantined model begin again, and accept the failures counted so far.

    Those that were called off stay so: a retry with cancelled ones takes them up. When more fail it is quarantined
    again. No name stands for the models that have no test of their own.

    Raises:
        NotFound: when there is no such run.
        Conflict: when it has ended or is ending, or the model is not quarantined in it.
        PreconditionFailed: when it is not as *expected*.
        InvalidRequest: when no reason is given.
    """
    require_reason(reason)

    def decide(record: RunRecord) -> Event:
        require_running(record)
        kept_out = quarantine.names(record.run)
        if model not in kept_out:
            named = ", ".join(map(quarantine.said, kept_out)) or "none"
            raise Conflict(f"{quarantine.said(model)} is not quarantined in run {record.uid}; quarantined: {named}")
        return Readmitted(at=controller.clock.now(), model=model, reason=reason, by=actor.name)

    said = f"{quarantine.said(model)}: {reason}"
    return await _act(controller, actor, run, verb="run.readmit", reason=said, decide=decide, expected=expected)


async def terminate(controller: Controller, actor: Actor, *, run: str, reason: str) -> RunView:
    """End a run: what is queued is cancelled, what is at work is called back and finishes or ends its lease.

    Raises:
        NotFound: when there is no such run.
        Conflict: when it has ended.
        InvalidRequest: when no reason is given.
    """
    require_reason(reason)

    def decide(record: RunRecord) -> Event:
        if record.run.state.is_terminal:
            raise Conflict(f"run {record.uid} has ended: it {record.run.state}")
        return Terminated(at=controller.clock.now(), reason=reason, by=actor.name)

    return await _act(controller, actor, run, verb="run.terminate", reason=reason, decide=decide)


async def promote(
    controller: Controller, actor: Actor, *, run: str, stage: str, expected: Expected = ANYTHING
) -> RunView:
    """Open a stage that awaits promotion. Promoting it again changes nothing.

    Raises:
        NotFound: when there is no such run or stage.
        ApprovalsMissing: when fewer people have approved it than it asks for.
        Conflict: when the run is not running, or the stage is not there yet.
        PreconditionFailed: when the run is not as *expected*.
    """

    def decide(record: RunRecord) -> Event:
        require_running(record)
        index = stage_index(record, stage)
        state = record.run.stages[index].state
        if state is StageState.BLOCKED:
            raise Conflict(f"stage {stage!r} does not await promotion: it is {state}")
        if state is StageState.AWAITING_PROMOTION:
            _require_approved(record, index)
        return Promoted(at=controller.clock.now(), stage=index, by=actor.name)

    return await _act(
        controller,
        actor,
        run,
        verb="run.promote",
        reason=stage,
        decide=decide,
        permission=Permission.PROMOTE,
        expected=expected,
    )


def _require_approved(record: RunRecord, index: int) -> None:
    count = approval.missing(record.plan, record.run, index)
    if count:
        wanted = record.plan.pipeline.stages[index]
        hint = f"`tidegate run approve {record.uid} {wanted.name}`, by people who neither wrote nor started it"
        raise ApprovalsMissing(f"stage {wanted.name!r} lacks {count} of {wanted.approvals} approvals: {hint}", count)


async def skip(
    controller: Controller, actor: Actor, *, run: str, stage: str, reason: str, expected: Expected = ANYTHING
) -> RunView:
    """Pass over a stage: its devices are called back, and what needs it goes on. Skipping it again changes nothing.

    Raises:
        NotFound: when there is no such run or stage.
        Conflict: when the run is not running, or the stage has another verdict.
        PreconditionFailed: when the run is not as *expected*.
        InvalidRequest: when no reason is given.
    """
    require_reason(reason)

    def decide(record: RunRecord) -> Event:
        require_running(record)
        index = stage_index(record, stage)
        state = record.run.stages[index].state
        if state.is_verdict and state is not StageState.SKIPPED:
            raise Conflict(f"stage {stage!r} has its verdict: it {state}")
        return Skipped(at=controller.clock.now(), stage=index, reason=reason, by=actor.name)

    said = f"{stage}: {reason}"
    return await _act(controller, actor, run, verb="run.skip", reason=said, decide=decide, expected=expected)


async def _act(
    controller: Controller,
    actor: Actor,
    uid: str,
    *,
    verb: str,
    reason: str,
    decide: Check,
    permission: Permission = Permission.CONTROL_RUNS,
    expected: Expected = ANYTHING,
) -> RunView:
    actor.require(permission)

    def work(tx: Transaction, after: Consequences) -> RunView:
        advance = Advance(controller, tx, after)
        record = find(tx, uid)
        expected.require(run_tag(run_views.run_view(record)), what=f"run {uid}")
        advance.run(record.id, decide(record))
        audit.record(tx, actor, verb, uid, at=advance.at, reason=reason)
        advance.finish()
        return run_views.run_view(advance.record(record.id))

    return await once(controller, actor, work, kind=RunView)


async def get(controller: Controller, actor: Actor, *, run: str) -> RunView:
    """Return a run.

    Raises:
        NotFound: when there is no such run.
    """
    actor.require(Permission.READ)

    def work(tx: Transaction) -> RunView:
        record = find(tx, run)
        return run_views.run_view(record, tx.targets.blocked_counts(record.id))

    return await controller.read(work)


async def list_runs(
    controller: Controller,
    actor: Actor,
    *,
    job: str | None = None,
    active: bool | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[RunView]:
    """Return runs, newest first."""
    actor.require(Permission.READ)
    before = None if cursor is None else cursors.decode_int(cursor)
    records = await controller.read(lambda tx: tx.runs.page(job=job, active=active, before=before, limit=limit))
    next_cursor = cursors.encode(records[-1].id) if len(records) == limit else None
    return Page(items=tuple(run_views.run_view(record) for record in records), cursor=next_cursor)


async def targets(
    controller: Controller,
    actor: Actor,
    *,
    run: str,
    stage: str | None = None,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[TargetView]:
    """Return a run's devices in dispatch order.

    Raises:
        NotFound: when there is no such run or stage.
        InvalidRequest: when *state* is none of a target's states.
    """
    actor.require(Permission.READ)
    wanted = _target_state(state)
    after = 0 if cursor is None else cursors.decode_int(cursor)

    def work(tx: Transaction) -> Page[TargetView]:
        record = find(tx, run)
        index = None if stage is None else stage_index(record, stage)
        rows = tx.targets.page(record.id, stage=index, state=wanted, after=after, limit=limit)
        next_cursor = cursors.encode(rows[-1].id) if len(rows) == limit else None
        return Page(items=tuple(run_views.target_view(controller, record, row) for row in rows), cursor=next_cursor)

    return await controller.read(work)


async def events(
    controller: Controller, actor: Actor, *, run: str, after: int = 0, limit: int = 200
) -> tuple[EventView, ...]:
    """Return a run's timeline, oldest first.

    Raises:
        NotFound: when there is no such run.
    """
    actor.require(Permission.READ)
    records = await controller.read(lambda tx: tx.log.events(find(tx, run).id, after=after, limit=limit))
    return tuple(event_view(record) for record in records)


def event_view(record: EventRecord) -> EventView:
    """Return an entry of a timeline as people see it."""
    return EventView(id=record.id, at=record.at, kind=record.kind, data=record.data)


def find(tx: Transaction, uid: str) -> RunRecord:
    """Return a run.

    Raises:
        NotFound: when there is none of that id.
    """
    record = tx.runs.by_uid(uid)
    if record is None:
        raise NotFound(f"there is no run {uid!r}")
    return record


def stage_index(record: RunRecord, name: str) -> int:
    """Return which of a run's stages has a name.

    Raises:
        NotFound: when none has.
    """
    names = [stage.name for stage in record.plan.pipeline.stages]
    if name not in names:
        raise NotFound(f"run {record.uid} has no stage {name!r}; it has {', '.join(names)}")
    return names.index(name)  # type: ignore[arg-type]


def _target_state(text: str | None) -> TargetState | None:
    try:
        return None if text is None else TargetState(text)
    except ValueError as error:
        raise InvalidRequest(f"state {text!r}: expected one of {', '.join(TargetState)}") from error


def require_running(record: RunRecord) -> None:
    """Go on only with a run that is running.

    Raises:
        Conflict: when it has ended or is ending.
    """
    if record.run.state is not RunState.RUNNING:
        raise Conflict(f"run {record.uid} is not running: it is {record.run.state}")
