"""Runs: start, watch and steer them."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from controller.app import approvals, checking, following, giving_up, replays, reruns, runs, why
from controller.app.conditions import run_tag
from controller.app.views import EventView, Page, ReplayView, RollbackView, RunView, TargetView, WhyView
from controller.documents import load_gate
from controller.http import schemas, streams
from controller.http.auth import Context, Operator
from controller.http.conditions import WhatMayBeExpected, say_tag
from controller.http.problems import documented
from controller.http.routes import MAYBE_EDIT, READ, READ_ONE, WRITE, After, Cursor, Id, Limit, require_media_type
from controller.http.routes.pipelines import JSON, YAML
from protocol.units import INTEGER_MAX

MAYBE_RERUN = {**READ_ONE, **documented(409)}
_GATE = {**READ_ONE, **documented(413, 415)}
_GATE_SCHEMA = {
    "type": "object",
    "description": "a gate as it stands in a stage of a pipeline; only its `failures` matter",
    "example": {"failures": {"above": "1%"}},
}
_GATE_BODY = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": _GATE_SCHEMA}, YAML: {"schema": {"type": "string"}}},
    }
}
router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.post("", status_code=201, response_model=schemas.Run, responses=WRITE, summary="Start a run of a job")
async def start_run(c: Context, actor: Operator, body: schemas.StartRun, response: Response) -> RunView:
    """Snapshot the job's pipeline and operation and begin; only one run of a job may be active."""
    run = await runs.start(
        c,
        actor,
        job=body.job,
        version=body.version,
        salt=body.salt,
        given=body.given(),
        allows_deprecated=body.allow_deprecated,
    )
    response.headers["Location"] = f"/v1/runs/{run.id}"
    return run


@router.get("", response_model=schemas.Page[schemas.Run], responses=READ, summary="List runs, newest first")
async def list_runs(
    c: Context,
    actor: Operator,
    *,
    job: Annotated[str | None, Query(description="only runs of this job")] = None,
    active: Annotated[bool | None, Query(description="only runs that have not, or have, ended")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[RunView]:
    """Return a page of runs."""
    return await runs.list_runs(c, actor, job=job, active=active, cursor=cursor, limit=limit)


@router.get("/{run}", response_model=schemas.Run, responses=READ_ONE, summary="Show a run")
async def get_run(c: Context, actor: Operator, run: Id, response: Response) -> RunView:
    """Return the run with all its stages and their eight counters. Its tag covers all but the counters."""
    view = await runs.get(c, actor, run=run)
    say_tag(response, run_tag(view))
    return view


@router.post("/{run}/pause", response_model=schemas.Run, responses=WRITE, summary="Pause a run")
async def pause_run(c: Context, actor: Operator, run: Id, body: schemas.WithReason) -> RunView:
    """Stop sending commands; once this is answered, none is sent any more."""
    return await runs.pause(c, actor, run=run, reason=body.reason)


@router.post("/{run}/resume", response_model=schemas.Run, responses=MAYBE_EDIT, summary="Resume a run")
async def resume_run(
    c: Context, actor: Operator, run: Id, body: schemas.ResumeRun, expected: WhatMayBeExpected
) -> RunView:
    """Go on; over a breached gate only with `override`."""
    return await runs.resume(c, actor, run=run, override=body.override, reason=body.reason, expected=expected)


@router.post("/{run}/readmit", response_model=schemas.Run, responses=MAYBE_EDIT, summary="Readmit a model")
async def readmit_model(
    c: Context, actor: Operator, run: Id, body: schemas.ReadmitModel, expected: WhatMayBeExpected
) -> RunView:
    """End the quarantine of a model, and accept what has failed so far; devices that were called off stay so."""
    return await runs.readmit(c, actor, run=run, model=body.model, reason=body.reason, expected=expected)


@router.post("/{run}/terminate", response_model=schemas.Run, responses=WRITE, summary="End a run for good")
async def terminate_run(c: Context, actor: Operator, run: Id, body: schemas.WithReason) -> RunView:
    """Send nothing more; devices at work are told to stop where they still can."""
    return await runs.terminate(c, actor, run=run, reason=body.reason)


@router.post("/{run}/stages/{stage}/approve", response_model=schemas.Run, responses=WRITE, summary="Approve a stage")
async def approve_stage(c: Context, actor: Operator, run: Id, stage: Id, body: schemas.ApproveStage) -> RunView:
    """Consent to the promotion of a stage; neither who wrote the revision nor who started the run can."""
    return await approvals.approve(c, actor, run=run, stage=stage, reason=body.reason)


@router.post(
    "/{run}/stages/{stage}/checks/{check}", response_model=schemas.Run, responses=WRITE, summary="Answer a check"
)
async def answer_check(
    c: Context, actor: Operator, *, run: Id, stage: Id, check: Id, body: schemas.AnswerCheck
) -> RunView:
    """Say as a person how a check went: `ok` is final, `failed` breaches the gate of the stage."""
    is_ok = body.answer == "ok"
    return await checking.answer(c, actor, run=run, stage=stage, check=check, is_ok=is_ok, reason=body.reason)


@router.post("/{run}/promote", response_model=schemas.Run, responses=MAYBE_EDIT, summary="Promote a stage")
async def promote_stage(
    c: Context, actor: Operator, run: Id, body: schemas.PromoteStage, expected: WhatMayBeExpected
) -> RunView:
    """Open a stage whose trigger is manual and whose needs are met."""
    return await runs.promote(c, actor, run=run, stage=body.stage, expected=expected)


@router.post("/{run}/skip", response_model=schemas.Run, responses=MAYBE_EDIT, summary="Skip a stage")
async def skip_stage(
    c: Context, actor: Operator, run: Id, body: schemas.SkipStage, expected: WhatMayBeExpected
) -> RunView:
    """Pass over a stage that has no verdict: its devices are called back, and what needs it goes on."""
    return await runs.skip(c, actor, run=run, stage=body.stage, reason=body.reason, expected=expected)


@router.post(
    "/{run}/retry",
    status_code=201,
    response_model=schemas.Run,
    responses=WRITE,
    summary="Try again with the devices of a run that failed or were missed",
)
async def retry_run(c: Context, actor: Operator, run: Id, body: schemas.RetryRun, response: Response) -> RunView:
    """Start a run over them by the plan of the ended run, and return it."""
    begun = await reruns.retry(c, actor, run=run, version=body.version, with_cancelled=body.with_cancelled)
    response.headers["Location"] = f"/v1/runs/{begun.id}"
    return begun


@router.get(
    "/{run}/rollback", response_model=schemas.Rollback, responses=MAYBE_RERUN, summary="Say what a rollback would do"
)
async def show_rollback(
    c: Context,
    actor: Operator,
    run: Id,
    *,
    version: Annotated[str | None, Query(min_length=1, max_length=128, description="all devices go to this")] = None,
) -> RollbackView:
    """Return how many devices would go to which version, and why the others would not."""
    return await reruns.consequence(c, actor, run=run, version=version)


@router.post("/{run}/rollback", response_model=schemas.Run, responses=WRITE, summary="Roll a run back")
async def roll_back_run(c: Context, actor: Operator, run: Id, body: schemas.RollBackRun) -> RunView:
    """Take back each device that was reached, and return the run that is rolled back.

    One that has not ended is terminated first. `rolled_back_by` is the run that takes the devices back, once it has
    begun.
    """
    return await reruns.roll_back(c, actor, run=run, reason=body.reason, version=body.version)


@router.post(
    "/{run}/replay",
    response_model=schemas.Replay,
    responses=_GATE,
    summary="Judge a run again by another gate",
    openapi_extra=_GATE_BODY,
)
async def replay_run(
    c: Context,
    actor: Operator,
    run: Id,
    *,
    request: Request,
    stage: Annotated[str | None, Query(min_length=1, max_length=128, description="only this stage")] = None,
) -> ReplayView:
    """Say of each stage where another gate would have stopped it. Nothing is changed, and the run may be going on."""
    require_media_type(request, JSON, YAML)
    gate = await asyncio.to_thread(load_gate, await request.body())
    return await replays.replay(c, actor, run=run, gate=gate, stage=stage)


@router.post(
    "/{run}/targets/{device}/give-up", response_model=schemas.Target, responses=WRITE, summary="Give a device up"
)
async def give_up_device(c: Context, actor: Operator, run: Id, device: Id, body: schemas.WithReason) -> TargetView:
    """Count a device as failed, for a reason that no gate counts; the run waits for it no longer."""
    return await giving_up.give_up(c, actor, run=run, device=device, reason=body.reason)


@router.get(
    "/{run}/targets/{device}/why", response_model=schemas.Why, responses=READ_ONE, summary="Say why a device waits"
)
async def explain_target(c: Context, actor: Operator, run: Id, device: Id) -> WhyView:
    """Return why the run has not updated a device, the most decisive fact first; there is always one."""
    return await why.of_run(c, actor, run=run, device=device)


@router.get(
    "/{run}/targets",
    response_model=schemas.Page[schemas.Target],
    responses=READ_ONE,
    summary="List the devices of a run",
)
async def list_run_targets(
    c: Context,
    actor: Operator,
    run: Id,
    *,
    stage: Annotated[str | None, Query(description="only this stage")] = None,
    state: Annotated[str | None, Query(description="only this state, such as `failed`")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[TargetView]:
    """Return a page of the run's devices."""
    return await runs.targets(c, actor, run=run, stage=stage, state=state, cursor=cursor, limit=limit)


@router.get("/{run}/events", response_model=list[schemas.Event], responses=READ_ONE, summary="Read a run's timeline")
async def list_run_events(
    c: Context, actor: Operator, run: Id, *, after: After = 0, limit: Limit = 100
) -> tuple[EventView, ...]:
    """Return entries of the timeline, oldest first."""
    return await runs.events(c, actor, run=run, after=after, limit=limit)


@router.get(
    "/{run}/events/stream",
    response_class=Response,
    responses={**READ_ONE, 200: {"content": {streams.MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    summary="Follow a run's timeline as server-sent events",
)
async def follow_run(
    c: Context,
    actor: Operator,
    request: Request,
    *,
    run: Id,
    after: After = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=INTEGER_MAX, description="goes before `after`")] = None,
) -> Response:
    """Send each entry with its id, and `end` with the run when it has ended and all is told.

    While nothing happens a comment comes every 15 seconds. After 15 minutes the stream ends without `end`: ask again
    with the last id, as browsers do.
    """
    news = await following.follow(c, actor, run=run, after=after if last_event_id is None else last_event_id)
    return streams.Following(news, request.app.state.streams)
