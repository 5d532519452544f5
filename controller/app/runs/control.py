"""Pause, resume, terminate and promote runs, skip their stages, and readmit models."""

from collections.abc import Callable

from controller.app import audit, run_views, standstill, withdrawn
from controller.app.access import Actor, Permission
from controller.app.advance import Advance
from controller.app.conditions import ANYTHING, Expected, run_tag
from controller.app.consequences import Consequences
from controller.app.controller import Controller
from controller.app.errors import ApprovalsMissing, Conflict
from controller.app.once import once
from controller.app.records import RunRecord
from controller.app.repositories import Transaction
from controller.app.runs.lookup import find, require_running, stage_index
from controller.app.standstill import require_reason
from controller.app.views import RunView
from controller.domain import approval, quarantine
from controller.domain.checking import FAILURE
from controller.domain.events import Event, Paused, Promoted, Readmitted, Resumed, Skipped, Terminated
from controller.domain.settle import BREACH, CRASHES, METRIC, RAMP
from controller.domain.states import StageState
from controller.domain.wording import counted

Check = Callable[[RunRecord], Event]


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
    """Lift every pause reason; only with *override* and a reason over a breached gate, a failed check or a held ramp.

    Idempotent.

    Raises:
        NotFound: when there is no such run.
        ReleaseWithdrawn: when what it installs was withdrawn.
        Conflict: when it has ended or is ending, everything is stopped, or a gate, a check or a ramp holds it and
            *override* is not set.
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
    said = {
        BREACH: "the gate of stage {} was breached",
        CRASHES: "updated devices of stage {} crash more than those held back",
        METRIC: "metric {1} is worse on updated devices of stage {0} than on those held back",
        FAILURE: "check {} failed",
        RAMP: "the ramp of stage {} has nothing left to risk",
    }
    for held, words in said.items():
        found = [r.removeprefix(held).split(":") for r in record.run.pause_reasons if r.startswith(held)]
        if found:
            told = "; ".join(words.format(*names) for names in found)
            raise Conflict(f"{told}: resume with override and a reason")


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
        approvals = counted(wanted.approvals, "approval")
        hint = f"`tidegate run approve {record.uid} {wanted.name}`, by people who neither wrote nor started it"
        raise ApprovalsMissing(f"stage {wanted.name!r} lacks {count} of {approvals}: {hint}", count)


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
