"""Pipelines: definitions and their revisions, as JSON or YAML."""

import asyncio
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response

from controller.app import pipelines
from controller.app.conditions import pipeline_tag
from controller.app.views import PipelineView, RevisionView
from controller.documents import Kind, as_text, difference, in_one_line, json_schema, load_one, render
from controller.domain.pipeline import Pipeline
from controller.http import definitions, schemas
from controller.http.auth import Context, Operator
from controller.http.conditions import WhatIsExpected, WhatMayBeExpected, say_tag
from controller.http.problems import documented
from controller.http.routes import EDIT, MAYBE_EDIT, READ, READ_ONE, Cursor, Id, Limit, require_media_type
from protocol.units import INTEGER_MAX

YAML: Final = "application/yaml"
JSON: Final = "application/json"
REVISIONS_MAX: Final = 50
"""How many revisions one page may have: each is read whole."""

router = APIRouter(prefix="/v1", tags=["pipelines"])


def definition_body(kind: Kind) -> dict[str, Any]:
    """Return the OpenAPI description of a body that is a definition file."""
    schema = {"type": "object", "description": f"a {kind} file; its schema is at /v1/schemas/{kind}"}
    example = {"name": "all-at-once", "stages": [{"name": "all", "gate": {"success": "95%"}}]}
    as_json = {"schema": schema, **({"example": example} if kind is Kind.PIPELINE else {})}
    content = {JSON: as_json, YAML: {"schema": {"type": "string"}}}
    return {"requestBody": {"required": True, "content": content}}


@router.get("/pipelines", response_model=list[definitions.PipelineAnswer], responses=READ, summary="List pipelines")
async def list_pipelines(c: Context, actor: Operator) -> tuple[PipelineView, ...]:
    """Return the newest revision of every pipeline."""
    return await pipelines.list_pipelines(c, actor)


@router.get(
    "/pipelines/{name}",
    response_model=definitions.PipelineAnswer,
    responses={**READ_ONE, 200: {"content": {YAML: {"schema": {"type": "string"}}}}},
    summary="Show a pipeline",
)
async def get_pipeline(
    c: Context,
    actor: Operator,
    name: Id,
    response: Response,
    *,
    revision: Annotated[int | None, Query(ge=1, le=INTEGER_MAX, description="another one than the newest")] = None,
    accept: Annotated[str, Header()] = JSON,
) -> PipelineView | Response:
    """Return one revision, as JSON or, with `Accept: application/yaml`, as the file that makes it."""
    view = await pipelines.get(c, actor, name=name, revision=revision)
    say_tag(response, pipeline_tag(view))
    if YAML not in accept:
        return view
    return Response(render(view.definition), media_type=YAML, headers={"ETag": response.headers["ETag"]})


@router.get(
    "/pipelines/{name}/revisions",
    response_model=schemas.Page[definitions.Revision],
    responses=READ_ONE,
    summary="List the revisions of a pipeline",
)
async def list_revisions(
    c: Context,
    actor: Operator,
    name: Id,
    *,
    cursor: Cursor = None,
    limit: Limit = REVISIONS_MAX,
) -> dict[str, Any]:
    """Return who made which revision, when, and what it changed; the newest first."""
    page = await pipelines.history(c, actor, name=name, cursor=cursor, limit=min(limit, REVISIONS_MAX))
    return {"items": await asyncio.to_thread(lambda: list(map(_revision, page.items))), "cursor": page.cursor}


@router.get(
    "/pipelines/{name}/diff",
    response_model=definitions.Difference,
    responses=READ_ONE,
    summary="Compare two revisions of a pipeline",
)
async def diff_pipeline(
    c: Context,
    actor: Operator,
    name: Id,
    *,
    from_revision: Annotated[
        int | None, Query(alias="from", ge=1, le=INTEGER_MAX, description="the one before `to` by default")
    ] = None,
    to: Annotated[int | None, Query(ge=1, le=INTEGER_MAX, description="the newest by default")] = None,
) -> dict[str, Any]:
    """Return what one revision has other than an earlier one, or than nothing where it is the first."""
    after = await pipelines.get(c, actor, name=name, revision=to)
    older = from_revision or after.revision - 1
    before = await pipelines.get(c, actor, name=name, revision=older) if older else None
    return await asyncio.to_thread(_compared, before, after)


@router.put(
    "/pipelines/{name}",
    response_model=definitions.PipelineAnswer,
    responses={**EDIT, **documented(415)},
    summary="Create or change a pipeline",
    openapi_extra=definition_body(Kind.PIPELINE),
)
async def apply_pipeline(
    c: Context, actor: Operator, name: Id, *, request: Request, response: Response, expected: WhatIsExpected
) -> PipelineView:
    """Make a new revision, or return the newest one where nothing has changed. Every fault is listed at once."""
    require_media_type(request, JSON, YAML)
    definition = await asyncio.to_thread(load_one, await request.body(), Kind.PIPELINE, name=name)
    assert isinstance(definition, Pipeline)
    view = await pipelines.apply(c, actor, definition=definition, expected=expected)
    say_tag(response, pipeline_tag(view))
    return view


@router.delete("/pipelines/{name}", status_code=204, responses=MAYBE_EDIT, summary="Archive a pipeline")
async def archive_pipeline(c: Context, actor: Operator, name: Id, expected: WhatMayBeExpected) -> None:
    """Take a pipeline away that no job uses. Its revisions stay; putting it again brings it back as the next one."""
    await pipelines.archive(c, actor, name=name, expected=expected)


def _revision(view: RevisionView) -> dict[str, Any]:
    change = in_one_line(difference(view.previous, view.definition)) if view.previous else "created"
    return msgspec.structs.asdict(view) | {"change": change}


def _compared(before: PipelineView | None, after: PipelineView) -> dict[str, Any]:
    definition = before.definition if before else None
    found = difference(definition, after.definition)
    old = f"{after.name}@{before.revision if before else 0}"
    text = as_text(definition, after.definition, old=old, new=f"{after.name}@{after.revision}")
    return msgspec.structs.asdict(found) | {"summary": in_one_line(found), "text": text}


@router.get("/schemas/{kind}", summary="The JSON Schema of a definition file", responses=documented(422))
async def get_schema(kind: Kind) -> dict[str, Any]:
    """Return the schema, for editors and other programs; public."""
    return json_schema(kind)
