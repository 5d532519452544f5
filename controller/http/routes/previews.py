"""Previews: what a run would do, of a job as it is stored, or of a pipeline that is not."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from controller.app import preview
from controller.app.preview import FIRST, Asked, Subject
from controller.app.views import Page, PreviewDevice, PreviewView
from controller.documents import Kind, load_one
from controller.documents.parameter_models import PARAMETERS_MAX
from controller.domain.pipeline import Pipeline
from controller.http import definitions, schemas
from controller.http.auth import Context, Operator
from controller.http.problems import documented
from controller.http.routes import LIMIT_MAX, READ_ONE, WRITE, Cursor, Id, Limit, pairs_of, require_media_type
from controller.http.routes.pipelines import JSON, YAML, definition_body

router = APIRouter(prefix="/v1", tags=["previews"])

First = Annotated[int, Query(ge=0, le=LIMIT_MAX, description="how many devices of each stage to show")]
Parameters = Annotated[
    list[str], Query(alias="parameter", max_length=PARAMETERS_MAX, description="a value, `name=value`; repeatable")
]
DrawnSalt = Annotated[str | None, Query(max_length=64, description="decides shares and order; drawn by default")]
Salt = Annotated[str, Query(max_length=64, description="that of the preview")]
Job = Annotated[str | None, Query(max_length=128, description="compare with the last run of this job")]
_DEFINITION = {**WRITE, **documented(415)}


async def _asked(
    stage: Annotated[str | None, Query(description="only devices of this stage, or, with `reason`, not of it")] = None,
    reason: Annotated[str | None, Query(description="only those that the stage does not get for this reason")] = None,
    change: Annotated[str | None, Query(description="only those that are `new`, `gone` or `moved`")] = None,
) -> Asked:
    return Asked(stage=stage, reason=reason, change=change)


async def _definition(request: Request) -> Pipeline:
    require_media_type(request, JSON, YAML)
    definition = await asyncio.to_thread(load_one, await request.body(), Kind.PIPELINE)
    assert isinstance(definition, Pipeline)
    return definition


_NONE: list[str] = []


AskedFor = Annotated[Asked, Depends(_asked)]


@router.get(
    "/jobs/{name}/preview", response_model=definitions.Preview, responses=READ_ONE, summary="Preview a job's run"
)
async def preview_job(
    c: Context,
    actor: Operator,
    name: Id,
    *,
    parameters: Parameters = _NONE,
    salt: DrawnSalt = None,
    first: First = FIRST,
) -> PreviewView:
    """Return what each stage would get now. Start the run with the same salt to get just that."""
    return await preview.show(
        c, actor, subject=Subject(job=name, parameters=pairs_of(parameters, what="parameter")), salt=salt, first=first
    )


@router.get(
    "/jobs/{name}/preview/devices",
    response_model=schemas.Page[definitions.PreviewDevice],
    responses=READ_ONE,
    summary="List the devices of a preview",
)
async def preview_job_devices(
    c: Context,
    actor: Operator,
    name: Id,
    *,
    parameters: Parameters = _NONE,
    salt: Salt,
    asked: AskedFor,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[PreviewDevice]:
    """Return a page of devices by name: the stage of each, or why a stage does not get it."""
    subject = Subject(job=name, parameters=pairs_of(parameters, what="parameter"))
    return await preview.devices(c, actor, subject=subject, salt=salt, asked=asked, cursor=cursor, limit=limit)


@router.post(
    "/preview",
    response_model=definitions.Preview,
    responses=_DEFINITION,
    summary="Preview a pipeline that is not stored",
    openapi_extra=definition_body(Kind.PIPELINE),
)
async def preview_definition(
    c: Context,
    actor: Operator,
    *,
    request: Request,
    job: Job = None,
    parameters: Parameters = _NONE,
    salt: DrawnSalt = None,
    first: First = FIRST,
) -> PreviewView:
    """Return what each stage of a definition would get now; nothing is stored."""
    subject = Subject(job=job, definition=await _definition(request), parameters=pairs_of(parameters, what="parameter"))
    return await preview.show(c, actor, subject=subject, salt=salt, first=first)


@router.post(
    "/preview/devices",
    response_model=schemas.Page[definitions.PreviewDevice],
    responses=_DEFINITION,
    summary="List the devices of a preview of a pipeline that is not stored",
    openapi_extra=definition_body(Kind.PIPELINE),
)
async def preview_definition_devices(
    c: Context,
    actor: Operator,
    *,
    request: Request,
    salt: Salt,
    asked: AskedFor,
    parameters: Parameters = _NONE,
    job: Job = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[PreviewDevice]:
    """Return a page of devices by name: the stage of each, or why a stage does not get it."""
    subject = Subject(job=job, definition=await _definition(request), parameters=pairs_of(parameters, what="parameter"))
    return await preview.devices(c, actor, subject=subject, salt=salt, asked=asked, cursor=cursor, limit=limit)
