"""Jobs: an operation bound to a pipeline."""

import asyncio

from fastapi import APIRouter, Request, Response

from controller.app import hooks, jobs
from controller.app.conditions import job_tag
from controller.app.views import JobView, NewSecret
from controller.documents import Job, Kind, load_one
from controller.http import definitions, schemas
from controller.http.auth import Context, Operator
from controller.http.conditions import WhatIsExpected, WhatMayBeExpected, say_tag
from controller.http.problems import documented
from controller.http.routes import EDIT, MAYBE_EDIT, READ, READ_ONE, WRITE, Id, require_media_type
from controller.http.routes.pipelines import JSON, YAML, definition_body

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=201,
    response_model=definitions.Job,
    responses={**WRITE, **documented(415)},
    summary="Create a job",
    openapi_extra=definition_body(Kind.JOB),
)
async def create_job(c: Context, actor: Operator, request: Request, response: Response) -> JobView:
    """Bind an operation to a pipeline."""
    require_media_type(request, JSON, YAML)
    job = await asyncio.to_thread(load_one, await request.body(), Kind.JOB)
    assert isinstance(job, Job)
    view = await jobs.create(
        c,
        actor,
        name=job.name,
        pipeline=job.pipeline,
        operation=job.operation,
        priority=job.priority,
        parameters=job.parameters,
        triggers=job.triggers,
    )
    response.headers["Location"] = f"/v1/jobs/{view.name}"
    say_tag(response, job_tag(view))
    return view


@router.get("", response_model=list[definitions.Job], responses=READ, summary="List jobs")
async def list_jobs(c: Context, actor: Operator) -> tuple[JobView, ...]:
    """Return every job."""
    return await jobs.list_jobs(c, actor)


@router.get("/{name}", response_model=definitions.Job, responses=READ_ONE, summary="Show a job")
async def get_job(c: Context, actor: Operator, name: Id, response: Response) -> JobView:
    """Return one job. Its tag covers what is written in it, triggers included, and not its runs."""
    view = await jobs.get(c, actor, name=name)
    say_tag(response, job_tag(view))
    return view


@router.put(
    "/{name}",
    response_model=definitions.Job,
    responses={**EDIT, **documented(415)},
    summary="Create or change a job",
    openapi_extra=definition_body(Kind.JOB),
)
async def apply_job(
    c: Context, actor: Operator, name: Id, *, request: Request, response: Response, expected: WhatIsExpected
) -> JobView:
    """Write a job anew, its triggers included: without any it has none. A run goes on as it was started."""
    require_media_type(request, JSON, YAML)
    job = await asyncio.to_thread(load_one, await request.body(), Kind.JOB, name=name)
    assert isinstance(job, Job)
    view = await jobs.apply(
        c,
        actor,
        name=job.name,
        pipeline=job.pipeline,
        operation=job.operation,
        priority=job.priority,
        parameters=job.parameters,
        triggers=job.triggers,
        expected=expected,
    )
    say_tag(response, job_tag(view))
    return view


@router.delete("/{name}", status_code=204, responses=MAYBE_EDIT, summary="Archive a job")
async def archive_job(c: Context, actor: Operator, name: Id, expected: WhatMayBeExpected) -> None:
    """Take a job away that has no active run. Its runs stay; a new job of its name goes on with their list."""
    await jobs.archive(c, actor, name=name, expected=expected)


@router.put("/{name}/triggers", response_model=definitions.Job, responses=EDIT, summary="Set a job's triggers")
async def set_triggers(
    c: Context, actor: Operator, name: Id, *, body: definitions.Triggers, response: Response, expected: WhatIsExpected
) -> JobView:
    """Replace what starts runs of a job by itself; a run that waits for the end of the active one is forgotten."""
    triggers = tuple(trigger.to_domain() for trigger in body.triggers)
    view = await jobs.set_triggers(c, actor, name=name, triggers=triggers, expected=expected)
    say_tag(response, job_tag(view))
    return view


@router.post(
    "/{name}/hook", status_code=201, response_model=schemas.NewSecret, responses=WRITE, summary="Make a job's webhook"
)
async def create_hook(c: Context, actor: Operator, name: Id) -> NewSecret:
    """Return the secret by which calls of the hook are signed, this once; one that the job had is void from now on."""
    return await hooks.create(c, actor, job=name)


@router.delete("/{name}/hook", status_code=204, responses=WRITE, summary="Remove a job's webhook")
async def remove_hook(c: Context, actor: Operator, name: Id) -> None:
    """Let nothing that the hook signed count any more."""
    await hooks.remove(c, actor, job=name)
