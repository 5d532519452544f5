"""Start a run of a job."""

from typing import Final

import msgspec

from controller.app import audit, run_views, withdrawn
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import Conflict, NotFound
from controller.app.once import once
from controller.app.pipelines import check
from controller.app.preview import SALT_BYTES, checked_salt
from controller.app.records import JobRecord, RunRecord
from controller.app.repositories import Transaction
from controller.app.rerun_plans import ref_of, release_of
from controller.app.views import RunView
from controller.domain.model import Plan
from controller.domain.parameters import Given, Need
from controller.domain.trigger import StartRequest

NOTHING_GIVEN: Final = Given()


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
