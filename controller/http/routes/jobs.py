"""Jobs: an operation bound to a pipeline."""

import asyncio

from fastapi import APIRouter, Request, Response

from controller.app import jobs
from controller.app.conditions import job_tag
from controller.app.views import JobView
from controller.documents import Job, Kind, load_one
from controller.http import definitions
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
    """Return one job. Its tag covers what is written in it, and not its runs."""
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
    """Write a job anew. A run of it that exists goes on as it was started."""
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
        expected=expected,
    )
    say_tag(response, job_tag(view))
    return view


@router.delete("/{name}", status_code=204, responses=MAYBE_EDIT, summary="Archive a job")
async def archive_job(c: Context, actor: Operator, name: Id, expected: WhatMayBeExpected) -> None:
    """Take a job away that has no active run. Its runs stay; a new job of its name goes on with their list."""
    await jobs.archive(c, actor, name=name, expected=expected)
