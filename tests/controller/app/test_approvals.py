"""A stage that asks for approvals is promoted once enough other people have consented to just this run of it."""

import msgspec
import pytest

from controller.app import approvals, jobs, pipelines, runs, system, tokens
from controller.app.access import Actor, RequestKey, Role
from controller.app.errors import ApprovalsMissing, Conflict, InvalidRequest, NotAllowed, NotFound, OwnWork
from controller.app.ports import Priority
from controller.app.views import RunView
from controller.domain.pipeline import Operation, Pipeline, Trigger
from controller.domain.states import StageState
from protocol.ids import StageName
from tests.controller.app.rig import APP, Rig, stage

FIRST = StageName("first")
BOB, CEM, DEE = (Actor(name=name, role=Role.APPROVER) for name in ("bob", "cem", "dee"))
STARTER = Actor(name="olga", role=Role.ADMIN)
ASKING = stage("all", trigger=Trigger.MANUAL, approvals=2)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b")
    rig.connect("a", "b")
    return rig


def approve(rig: Rig, run: str, actor: Actor, *, stage: str = "all", reason: str = "") -> RunView:
    return rig.do(approvals.approve, actor, run=run, stage=stage, reason=reason)


def given(view: RunView, stage: int = 0) -> list[str]:
    return [one.by for one in view.stages[stage].approvals]


def test_a_stage_opens_once_enough_people_have_approved_and_somebody_promotes(rig: Rig) -> None:
    run = rig.start(ASKING)
    for missing, actor in ((2, BOB), (1, CEM)):
        with pytest.raises(ApprovalsMissing, match=f"lacks {missing} of 2") as refused:
            rig.do(runs.promote, run=run, stage="all")
        assert refused.value.count == missing
        assert rig.view(run).stages[0].approvals_missing == missing
        approve(rig, run, actor, reason="looks fine")

    view = rig.view(run)
    assert [(one.by, one.at, one.reason) for one in view.stages[0].approvals] == [
        ("bob", rig.clock.time, "looks fine"),
        ("cem", rig.clock.time, "looks fine"),
    ]
    assert (view.stages[0].approvals_missing, view.stages[0].state) == (0, "awaiting_promotion")
    assert rig.do(runs.promote, run=run, stage="all").stages[0].state == "rolling_out"


def test_who_approves_may_promote_too(rig: Rig) -> None:
    run = rig.start(ASKING)
    approve(rig, run, BOB)
    approve(rig, run, CEM)
    assert rig.do(runs.promote, BOB, run=run, stage="all").stages[0].state == "rolling_out"


def test_one_person_is_one_approval_by_whichever_token(rig: Rig) -> None:
    run = rig.start(ASKING)
    approve(rig, run, BOB, reason="first")
    again = approve(rig, run, Actor(name="bob", role=Role.ADMIN), reason="second")
    assert [(one.by, one.reason) for one in again.stages[0].approvals] == [("bob", "first")]
    assert again.stages[0].approvals_missing == 1


def test_neither_the_author_nor_who_started_approves(rig: Rig) -> None:
    rig.start(stage("all"))
    rig.do(runs.terminate, run=rig.do(runs.list_runs).items[0].id, reason="x")
    rig.do(pipelines.apply, definition=Pipeline(name="asks", stages=(ASKING,)))
    rig.do(jobs.create, name="asks", pipeline="asks", operation=Operation(app=APP, version="1.0.0"))
    run = rig.do(runs.start, STARTER, job="asks").id

    with pytest.raises(OwnWork, match="ann wrote the pipeline's revision"):
        approve(rig, run, Actor(name="ann", role=Role.APPROVER))
    with pytest.raises(OwnWork, match="olga started the run"):
        approve(rig, run, STARTER)
    assert given(approve(rig, run, BOB)) == ["bob"]


def test_it_may_be_given_before_the_stage_waits(rig: Rig) -> None:
    run = rig.start(stage("first"), stage("second", needs=(FIRST,), trigger=Trigger.MANUAL, approvals=1))
    assert given(approve(rig, run, BOB, stage="second"), 1) == ["bob"]
    rig.succeed("a", "b")
    rig.do(runs.promote, run=run, stage="second")
    assert rig.view(run).stages[1].opened_at is not None


def test_it_may_be_given_while_the_run_is_paused(rig: Rig) -> None:
    run = rig.start(ASKING)
    rig.do(runs.pause, run=run, reason="lunch")
    assert given(approve(rig, run, BOB)) == ["bob"]


def test_a_new_run_and_an_edit_need_new_ones(rig: Rig) -> None:
    run = rig.start(ASKING)
    approve(rig, run, BOB)
    rig.do(pipelines.apply, CEM_EDITS, definition=Pipeline(name="rollout", stages=(ASKING,), description="other"))
    assert rig.view(run).stages[0].approvals_missing == 1
    rig.do(runs.terminate, run=run, reason="other")

    other = rig.do(runs.start, STARTER, job="job").id

    assert given(rig.view(other)) == []
    with pytest.raises(OwnWork):
        approve(rig, other, CEM)
    assert given(approve(rig, other, BOB)) == ["bob"]


CEM_EDITS = Actor(name="cem", role=Role.ADMIN)


def test_what_it_is_bound_to_is_in_the_record_and_one_bound_to_another_counts_nothing(rig: Rig) -> None:
    run = rig.start(ASKING)
    approve(rig, run, BOB)
    approve(rig, run, CEM)
    record = rig.wait(rig.store.read(lambda tx: tx.runs.by_uid(run)))
    kept = record.run.stages[0].approvals[0]
    assert (kept.revision, kept.version, kept.salt) == (1, "1.0.0", record.plan.salt)

    forged = msgspec.structs.replace(kept, salt="other")
    stages = (msgspec.structs.replace(record.run.stages[0], approvals=(forged, *record.run.stages[0].approvals[1:])),)
    tampered = msgspec.structs.replace(record, run=msgspec.structs.replace(record.run, stages=stages))
    rig.wait(rig.store.write(lambda tx: tx.runs.save(tampered), priority=Priority.OPERATOR))
    with pytest.raises(ApprovalsMissing, match="lacks 1 of 2"):
        rig.do(runs.promote, run=run, stage="all")


def test_the_approval_of_a_token_that_is_revoked_stays(rig: Rig) -> None:
    run = rig.start(stage("all", trigger=Trigger.MANUAL, approvals=1))
    made = rig.do(tokens.create, name="bob", role=Role.APPROVER, expires_at=None)
    bob = rig.wait(tokens.authenticate(rig.controller, made.secret))
    approve(rig, run, bob)
    rig.do(tokens.revoke, token=made.id)
    assert rig.do(runs.promote, run=run, stage="all").stages[0].state == "rolling_out"


def test_a_stage_that_asks_for_none_or_has_begun_takes_none(rig: Rig) -> None:
    run = rig.start(stage("plain", trigger=Trigger.MANUAL), stage("asks", trigger=Trigger.MANUAL, approvals=1))
    with pytest.raises(Conflict, match="asks for no approvals"):
        approve(rig, run, BOB, stage="plain")
    approve(rig, run, BOB, stage="asks")
    rig.do(runs.promote, run=run, stage="asks")
    with pytest.raises(Conflict, match="does not await approvals any more"):
        approve(rig, run, CEM, stage="asks")
    assert given(approve(rig, run, BOB, stage="asks"), 1) == ["bob"]
    rig.do(runs.terminate, run=run, reason="enough")
    with pytest.raises(Conflict, match="is not running"):
        approve(rig, run, DEE, stage="asks")


def test_strangers_reasons_and_rights_are_checked(rig: Rig) -> None:
    run = rig.start(ASKING)
    with pytest.raises(NotFound):
        approve(rig, "r-none", BOB)
    with pytest.raises(NotFound):
        approve(rig, run, BOB, stage="none")
    with pytest.raises(InvalidRequest):
        approve(rig, run, BOB, reason="x" * 501)
    with pytest.raises(NotAllowed):
        approve(rig, run, Actor(name="oma", role=Role.OPERATOR))


def test_one_request_has_one_effect_and_it_is_in_the_audit_log(rig: Rig) -> None:
    run = rig.start(ASKING)
    actor = Actor(name="bob", role=Role.APPROVER, request=RequestKey(key="k", fingerprint="f"))
    assert approve(rig, run, actor, reason="fine") == approve(rig, run, actor, reason="fine")
    entries = [(e.actor, e.verb, e.reason) for e in rig.do(system.audit) if e.verb == "run.approve"]
    assert entries == [("bob", "run.approve", "all: fine")]


def test_a_stage_that_lacks_approvals_can_be_skipped(rig: Rig) -> None:
    run = rig.start(ASKING)
    rig.do(runs.skip, run=run, stage="all", reason="another day")
    assert rig.view(run).stages[0].state == StageState.SKIPPED
