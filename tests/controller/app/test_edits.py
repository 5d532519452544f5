"""Edits that overwrite nothing unseen, and definitions that are taken away."""

from typing import Any

import msgspec
import pytest

from controller.app import devices, jobs, pipelines, runs, system
from controller.app.access import Actor, Role
from controller.app.conditions import Expected, job_tag, labels_tag, pipeline_tag, run_tag
from controller.app.errors import Conflict, NotAllowed, NotFound, PreconditionFailed
from controller.domain.pipeline import Operation, Pace, Pipeline, Trigger
from controller.domain.trigger import OnRelease, StartRequest
from protocol.ids import StageName
from protocol.units import HOUR, Instant
from tests.controller.app.rig import APP, Rig, stage

NEW, THERE, OLD = Expected(is_new=True), Expected(is_there=True), Expected(tags=("0",))


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", "b")
    rig.connect("a", "b")
    return rig


def definition(pace: int = 1) -> Pipeline:
    return Pipeline(name="rollout", stages=(stage("all", pace=Pace(max_in_flight=pace)),))


def operation(version: str = "1.0.0") -> Operation:
    return Operation(app=APP, version=version)


def written(**changes: Any) -> dict[str, Any]:
    return {"name": "job", "pipeline": "rollout", "operation": operation()} | changes


# --- pipelines ---


def test_a_pipeline_is_created_once_and_changed_from_its_newest_revision_alone(rig: Rig) -> None:
    first = rig.do(pipelines.apply, definition=definition(1), expected=NEW)
    with pytest.raises(PreconditionFailed, match="already"):
        rig.do(pipelines.apply, definition=definition(2), expected=NEW)

    seen = Expected(tags=(pipeline_tag(first),))
    assert rig.do(pipelines.apply, definition=definition(2), expected=seen).revision == 2
    with pytest.raises(PreconditionFailed, match="changed meanwhile"):
        rig.do(pipelines.apply, definition=definition(3), expected=seen)
    assert rig.do(pipelines.get, name="rollout").definition == definition(2)


def test_an_edit_that_is_done_already_is_done_whatever_it_expects(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=definition(1))
    rig.do(pipelines.apply, definition=definition(2))
    for expected in (NEW, OLD, THERE):
        assert rig.do(pipelines.apply, definition=definition(2), expected=expected).revision == 2


def test_nothing_is_changed_that_is_not_there(rig: Rig) -> None:
    for expected in (THERE, OLD):
        with pytest.raises(PreconditionFailed, match="there is no"):
            rig.do(pipelines.apply, definition=definition(), expected=expected)
    assert rig.do(pipelines.list_pipelines) == ()


def test_an_archived_pipeline_is_gone_and_comes_back_as_the_next_revision(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=definition(1))
    with pytest.raises(PreconditionFailed):
        rig.do(pipelines.archive, name="rollout", expected=OLD)
    rig.do(pipelines.archive, name="rollout")

    assert rig.do(pipelines.list_pipelines) == ()
    with pytest.raises(NotFound):
        rig.do(pipelines.get, name="rollout")
    with pytest.raises(NotFound):
        rig.do(pipelines.archive, name="rollout")
    with pytest.raises(NotFound, match="apply it first"):
        rig.do(jobs.create, **written())
    assert rig.do(pipelines.get, name="rollout", revision=1).definition == definition(1)
    assert rig.do(pipelines.apply, definition=definition(1), expected=NEW).revision == 2
    assert [view.revision for view in rig.do(pipelines.list_pipelines)] == [2]


def test_a_pipeline_that_a_job_uses_is_not_archived(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=definition())
    rig.do(jobs.create, **written())
    with pytest.raises(Conflict, match="used by job"):
        rig.do(pipelines.archive, name="rollout")
    rig.do(jobs.archive, name="job")
    rig.do(pipelines.archive, name="rollout")


def test_the_history_of_a_pipeline_comes_in_pages_with_what_was_before(rig: Rig) -> None:
    for pace in (1, 2, 3):
        rig.do(pipelines.apply, definition=definition(pace))
    rig.do(pipelines.archive, name="rollout")
    page = rig.do(pipelines.history, name="rollout", limit=2)
    assert [(view.revision, view.author, view.previous) for view in page.items] == [
        (3, "ann", definition(2)),
        (2, "ann", definition(1)),
    ]
    assert [view.archived_at is None for view in page.items] == [False, True]
    rest = rig.do(pipelines.history, name="rollout", cursor=page.cursor, limit=2)
    assert [(view.revision, view.previous, rest.cursor) for view in rest.items] == [(1, None, None)]
    with pytest.raises(NotFound):
        rig.do(pipelines.history, name="none")


# --- jobs ---


def test_a_job_is_changed_from_what_was_read_and_a_run_goes_on_as_it_was_started(rig: Rig) -> None:
    run = rig.start(stage("all"))
    rig.publish("2.0.0", counter=2)
    seen = Expected(tags=(job_tag(rig.do(jobs.get, name="job")),))
    changed = rig.do(jobs.apply, **written(operation=operation("2.0.0"), priority=3), expected=seen)

    assert (changed.operation.version, changed.priority, changed.active_run) == ("2.0.0", 3, run)
    assert rig.view(run).version == "1.0.0"
    with pytest.raises(PreconditionFailed):
        rig.do(jobs.apply, **written(priority=4), expected=seen)
    rig.do(runs.terminate, run=run, reason="x")
    rig.sleep(HOUR)
    assert rig.view(run).state == "terminated"
    assert rig.do(runs.start, job="job").version == "2.0.0"


def test_a_run_does_not_change_the_tag_of_its_job(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=definition())
    rig.publish()
    before = rig.do(jobs.apply, **written(), expected=NEW)
    rig.do(runs.start, job="job")
    assert job_tag(rig.do(jobs.get, name="job")) == job_tag(before)
    assert rig.do(jobs.apply, **written(), expected=NEW).active_run is not None


def test_a_job_is_only_changed_to_a_pipeline_that_there_is(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=definition())
    rig.do(jobs.create, **written())
    with pytest.raises(NotFound, match="apply it first"):
        rig.do(jobs.apply, **written(pipeline="none"))
    with pytest.raises(PreconditionFailed):
        rig.do(jobs.apply, **written(name="other"), expected=THERE)


def test_an_archived_job_keeps_its_runs_and_gives_them_to_the_next_of_its_name(rig: Rig) -> None:
    run = rig.start(stage("all"))
    with pytest.raises(Conflict, match="active run"):
        rig.do(jobs.archive, name="job")
    rig.succeed("a")
    rig.succeed("b")
    assert rig.view(run).state == "succeeded"
    rig.do(jobs.archive, name="job")

    assert rig.do(jobs.list_jobs) == ()
    for act in (jobs.get, jobs.archive):
        with pytest.raises(NotFound):
            rig.do(act, name="job")
    with pytest.raises(NotFound):
        rig.do(runs.start, job="job")
    assert [view.id for view in rig.do(runs.list_runs, job="job").items] == [run]
    back = rig.do(jobs.create, **written(priority=9))
    assert (back.priority, back.active_run) == (9, None)
    again = rig.do(runs.start, job="job").id
    assert [view.id for view in rig.do(runs.list_runs, job="job").items] == [again, run]


# --- labels ---


def test_labels_are_replaced_from_what_was_read(rig: Rig) -> None:
    seen = Expected(tags=(labels_tag({}),))
    rig.do(devices.set_labels, device="a", labels={"ring": "one"}, expected=seen)
    with pytest.raises(PreconditionFailed, match="labels of device 'a'"):
        rig.do(devices.set_labels, device="a", labels={"ring": "two"}, expected=seen)
    with pytest.raises(PreconditionFailed):
        rig.do(devices.set_labels, device="a", labels={"ring": "two"}, expected=NEW)
    assert rig.do(devices.set_labels, device="a", labels={"ring": "one"}, expected=seen).labels == {"ring": "one"}
    assert rig.do(devices.set_labels, device="a", labels={"ring": "two"}, expected=THERE).labels == {"ring": "two"}


# --- runs ---


def test_the_tag_of_a_run_covers_what_it_does_and_not_what_is_counted(rig: Rig) -> None:
    run = rig.start(stage("all"))
    before = run_tag(rig.view(run))
    rig.succeed("a")
    assert run_tag(rig.view(run)) == before
    rig.do(runs.pause, run=run, reason="lunch")
    assert run_tag(rig.view(run)) != before


def test_promote_skip_and_resume_take_what_was_seen(rig: Rig) -> None:
    run = rig.start(stage("first", trigger=Trigger.MANUAL), stage("second", needs=(StageName("first"),)))
    seen = Expected(tags=(run_tag(rig.view(run)),))
    rig.do(runs.pause, run=run, reason="lunch")
    acts: list[tuple[Any, dict[str, Any]]] = [
        (runs.promote, {"stage": "first"}),
        (runs.skip, {"stage": "first", "reason": "x"}),
        (runs.resume, {}),
    ]
    for act, arguments in acts:
        with pytest.raises(PreconditionFailed, match=f"run {run} was changed meanwhile"):
            rig.do(act, run=run, expected=seen, **arguments)
    rig.do(runs.resume, run=run, expected=Expected(tags=(run_tag(rig.view(run)),)))
    rig.do(runs.promote, run=run, stage="first", expected=Expected(tags=(run_tag(rig.view(run)),)))
    assert rig.view(run).stages[0].state == "rolling_out"


# --- who, and what is kept of it ---


def test_edits_need_the_permission_and_are_in_the_audit_log(rig: Rig) -> None:
    viewer = Actor(name="vic", role=Role.VIEWER)
    rig.do(pipelines.apply, definition=definition())
    rig.do(jobs.create, **written())
    refused: list[tuple[Any, dict[str, Any]]] = [
        (jobs.apply, written(priority=1)),
        (jobs.archive, {"name": "job"}),
        (pipelines.archive, {"name": "rollout"}),
    ]
    for act, arguments in refused:
        with pytest.raises(NotAllowed):
            rig.do(act, viewer, **arguments)
    rig.do(jobs.apply, **written(priority=1))
    rig.do(jobs.archive, name="job")
    rig.do(pipelines.archive, name="rollout")
    acts = [(entry.verb, entry.subject) for entry in rig.do(system.audit, after=0, limit=99)]
    assert acts[-3:] == [("job.change", "job"), ("job.archive", "job"), ("pipeline.archive", "rollout@1")]


def test_a_tag_of_a_job_covers_all_that_is_written_in_it(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=definition())
    view = rig.do(jobs.create, **written())
    changes: list[dict[str, Any]] = [
        {"pipeline": "x"},
        {"priority": 1},
        {"operation": operation("2")},
        {"triggers": (OnRelease(channel="stable"),)},
    ]
    tags = {job_tag(msgspec.structs.replace(view, **change)) for change in [{}, *changes]}
    assert len(tags) == 5


def test_a_tag_of_a_job_covers_nothing_that_happens_by_itself(rig: Rig) -> None:
    rig.do(pipelines.apply, definition=definition())
    view = rig.do(jobs.create, **written())
    later = msgspec.structs.replace(view, next_at=Instant(1), waiting=StartRequest(by="x", at=Instant(1)))
    assert job_tag(later) == job_tag(view)
