"""Jobs: an operation bound to a pipeline."""

import asyncio

from fastapi import APIRouter, Request, Response

from controller.app import jobs
from controller.app.views import JobView
from controller.documents import Job, Kind, load_one
from controller.http import schemas
from controller.http.auth import Context, Operator
from controller.http.problems import documented
from controller.http.routes import READ, READ_ONE, WRITE, Id, require_media_type
from controller.http.routes.pipelines import JSON, YAML, definition_body

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=201,
    response_model=schemas.Job,
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
        c, actor, name=job.name, pipeline=job.pipeline, operation=job.operation, priority=job.priority
    )
    response.headers["Location"] = f"/v1/jobs/{view.name}"
    return view


@router.get("", response_model=list[schemas.Job], responses=READ, summary="List jobs")
async def list_jobs(c: Context, actor: Operator) -> tuple[JobView, ...]:
    """Return every job."""
    return await jobs.list_jobs(c, actor)


@router.get("/{name}", response_model=schemas.Job, responses=READ_ONE, summary="Show a job")
async def get_job(c: Context, actor: Operator, name: Id) -> JobView:
    """Return one job."""
    return await jobs.get(c, actor, name=name)
