"""Checks of stages: their questions put to the outside, and the answers of build systems and people taken in.

A question is committed before it is put. Its answer carries its number, so that one that comes late, or twice, changes
nothing; a question whose answer was lost lapses in the run itself, and is put again.
"""

import asyncio
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta

from controller.app import audit, hooks, run_views, runs
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.consequences import Consequences, Question
from controller.app.controller import Controller
from controller.app.errors import Conflict, NotAuthenticated, NotFound, StorageUnavailable
from controller.app.hooks import Delivery
from controller.app.once import once
from controller.app.ports import Asker, Priority
from controller.app.records import RunRecord
from controller.app.repositories import Transaction
from controller.app.standstill import REASON_LENGTH_MAX, require_reason
from controller.app.views import CheckView, RunView
from controller.domain import checking
from controller.domain.events import Answered
from controller.domain.gates import checks
from controller.domain.gates.checks import Answer, AnswerKind, Check, Http, Prometheus
from controller.domain.trigger import HOOK_ACTOR

log = structlog.get_logger()

IN_FLIGHT_MAX: Final = 16
"""The most questions that are out at once."""
Word = Annotated[str, Meta(min_length=1, max_length=128)]


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a signed call says of a check. All of it is in the body: the signature covers that, and no address."""

    run: Word
    stage: Word
    check: Word
    ok: bool
    text: Annotated[str, Meta(max_length=REASON_LENGTH_MAX)] = ""


async def run_for_ever(controller: Controller, asker: Asker) -> None:
    """Put what is to be asked, a limited number at once, until cancelled."""
    put = asyncio.Event()
    controller.questions.on_put = put.set
    slots = asyncio.Semaphore(IN_FLIGHT_MAX)
    async with asyncio.TaskGroup() as tasks:
        while True:
            put.clear()
            while (question := controller.questions.take()) is not None:
                await slots.acquire()
                task = tasks.create_task(put_question(controller, asker, question))
                task.add_done_callback(lambda _: slots.release())
            await put.wait()


async def put_question(controller: Controller, asker: Asker, question: Question) -> None:
    """Put one question, and let its answer happen to the run; one that cannot be stored lapses there."""
    assert isinstance(question.source, Http | Prometheus), "who tells by itself is not asked"
    answer = await asker.ask(question.source)

    def work(tx: Transaction, after: Consequences) -> None:
        advance = Advance(controller, tx, after)
        event = Answered(
            at=advance.at,
            stage=question.stage,
            check=question.check,
            answer=answer,
            sequence=question.sequence,
        )
        advance.run(question.run_id, event)
        advance.finish()

    try:
        await controller.write(work, priority=Priority.DISPATCH)
    except StorageUnavailable as error:
        log.warning("answer_not_stored", run_id=question.run_id, check=question.check, reason=str(error))


def outstanding(record: RunRecord) -> list[Question]:
    """Return the questions of a run that were put and not answered, to be put again by a controller that starts."""
    found = []
    for index, (stage, at_work) in enumerate(zip(record.plan.pipeline.stages, record.run.stages, strict=True)):
        for check in checking.open_checks(stage, at_work):
            at = at_work.checks.get(check.name)
            if at is not None and at.asked_at is not None:
                question = Question(
                    run_id=record.id, stage=index, check=check.name, sequence=at.sequence, source=check.source
                )
                found.append(question)
    return found


async def answer(
    controller: Controller, actor: Actor, *, run: str, stage: str, check: str, is_ok: bool, reason: str
) -> RunView:
    """Say as a person how a check went: that it passes is final, that it fails breaches the gate.

    Raises:
        NotFound: when there is no such run, stage or check.
        Conflict: when the run is not running, or the check is not asked now.
        InvalidRequest: when no reason is given.
    """
    actor.require(Permission.PROMOTE)
    require_reason(reason)

    def work(tx: Transaction, after: Consequences) -> RunView:
        advance = Advance(controller, tx, after)
        said = Answer(kind=_kind(is_ok), evidence=reason)
        record = _happened(advance, run=run, stage=stage, check=check, answer=said, by=actor.name, is_decision=True)
        verb = f"{stage}/{check} {said.kind.value}: {reason}"
        audit.record(tx, actor, "run.answer", run, at=advance.at, reason=verb)
        advance.finish()
        return run_views.run_view(record)

    return await once(controller, actor, work, kind=RunView)


async def receive(controller: Controller, *, job: str, delivery: Delivery) -> CheckView:
    """Take in what a build system says of a check, signed as the job's hook is; return that check alone.

    Raises:
        NotAuthenticated: when it is not signed by the hook's secret, or not now; which of them is not said.
        Conflict: when the delivery was carried out already, the run is not running, the check is not asked now, or
            others are asked by it.
        InvalidRequest: when the body is none.
        NotFound: when the job has no such run, stage or check.
    """
    found = await controller.read(lambda tx: tx.catalog.job(job))
    hooks.authenticate(controller, found, delivery)
    told = hooks.parse(delivery.body, Told)

    def work(tx: Transaction, after: Consequences) -> CheckView:
        current = tx.catalog.job(job)
        if current is None or found is None or current.hook != found.hook:
            raise NotAuthenticated("the hook is no more")
        advance = Advance(controller, tx, after)
        hooks.require_new(advance, current, delivery)
        if runs.find(tx, told.run).job != job:
            raise NotFound(f"job {job!r} has no run {told.run!r}")
        said = Answer(kind=_kind(told.ok), evidence=told.text)
        record = _happened(
            advance, run=told.run, stage=told.stage, check=told.check, answer=said, by=HOOK_ACTOR, is_decision=False
        )
        advance.finish()
        index = runs.stage_index(record, told.stage)
        check = checking.find(record.plan.pipeline.stages[index], told.check)
        assert check is not None
        return run_views.check_view(record, index, check)

    return await controller.write(work)


def _happened(
    advance: Advance, *, run: str, stage: str, check: str, answer: Answer, by: str, is_decision: bool
) -> RunRecord:
    record = runs.find(advance.tx, run)
    index = runs.stage_index(record, stage)
    wanted = _require_asked(record, index, check)
    if not is_decision and not checks.is_pushed(wanted):
        raise Conflict(f"check {check!r} is asked by the controller: it is no webhook")
    event = Answered(at=advance.at, stage=index, check=check, answer=answer, by=by, is_decision=is_decision)
    advance.run(record.id, event)
    return advance.record(record.id)


def _require_asked(record: RunRecord, index: int, name: str) -> Check:
    """Return a check whose answer is awaited now."""
    stage, at_work = record.plan.pipeline.stages[index], record.run.stages[index]
    check = checking.find(stage, name)
    if check is None:
        known = ", ".join(one.name for one in stage.gate.checks) or "none"
        raise NotFound(f"stage {stage.name!r} has no check {name!r}; it has {known}")
    runs.require_running(record)
    if name not in at_work.checks or at_work.state.is_verdict:
        raise Conflict(f"check {name!r} is asked from the {check.at.value} on: stage {stage.name!r} is {at_work.state}")
    return check


def _kind(is_ok: bool) -> AnswerKind:  # noqa: FBT001 - the only argument, and the name says it
    return AnswerKind.OK if is_ok else AnswerKind.FAILED
