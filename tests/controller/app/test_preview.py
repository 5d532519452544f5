"""A preview says what a run would do: the same devices in the same stages, and why not the others."""

from typing import Any

import pytest

from controller.app import devices, jobs, pipelines, preview, runs
from controller.app.access import Actor, Role
from controller.app.errors import InvalidDefinition, InvalidRequest, NotFound
from controller.app.preview import Asked, Subject
from controller.app.views import PreviewView
from controller.domain.pipeline import Operation, Pipeline, Stage, Targets
from protocol.ids import StageName, device_id
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason
from tests.controller.app.rig import APP, Rig, stage

CANARY, REST = StageName("canary"), StageName("rest")
JOB = Subject(job="job")
STAGES = (
    stage("canary", targets=Targets(labels={"ring": "canary"})),
    stage("rest", needs=(CANARY,), targets=Targets(query='labels.region == "eu"', exclude=(device_id("spare"),))),
)


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("c1", "c2", ring="canary", region="eu")
    rig.enrol("e1", "e2", "e3", "spare", region="eu")
    rig.enrol("u1", region="us")
    rig.publish()
    return rig


def define(rig: Rig, *stages: Stage) -> None:
    rig.do(pipelines.apply, definition=Pipeline(name="rollout", stages=stages))
    rig.do(jobs.apply, name="job", pipeline="rollout", operation=Operation(app=APP, version="1.0.0"))


def left_out(view: PreviewView, index: int) -> dict[str, int]:
    return {f"{one.reason} {one.stage}".strip(): one.devices for one in view.stages[index].left_out}


def listed(rig: Rig, salt: str, **asked: str) -> list[str]:
    page = rig.do(preview.devices, subject=JOB, salt=salt, asked=Asked(**asked))
    return [row.device for row in page.items]


def frozen(rig: Rig, run: str) -> dict[str, str]:
    return {target.device: target.stage for target in rig.do(runs.targets, run=run).items}


def test_each_stage_tells_what_it_gets_and_why_not_the_others(rig: Rig) -> None:
    define(rig, *STAGES)
    rig.do(devices.block, device="e3", reason="lost")
    view = rig.do(preview.show, subject=JOB, salt="s")

    assert (view.job, view.pipeline, view.revision, view.salt) == ("job", "rollout", 1, "s")
    assert (view.devices, view.placed) == (7, 4)
    assert [(one.name, one.devices, sorted(one.first)) for one in view.stages] == [
        ("canary", 2, ["c1", "c2"]),
        ("rest", 2, ["e1", "e2"]),
    ]
    assert left_out(view, 0) == {"blocked": 1, "labels": 4}
    assert left_out(view, 1) == {"blocked": 1, "excluded": 1, "query": 1, "in_stage canary": 2}


def test_every_device_that_is_left_out_can_be_listed_by_its_reason(rig: Rig) -> None:
    define(rig, *STAGES)
    assert listed(rig, "s", stage="rest") == ["e1", "e2", "e3"]
    assert listed(rig, "s", stage="rest", reason="in_stage") == ["c1", "c2"]
    assert listed(rig, "s", stage="rest", reason="query") == ["u1"]
    assert listed(rig, "s", stage="rest", reason="excluded") == ["spare"]
    assert listed(rig, "s", stage="rest", reason="percent") == []
    page = rig.do(preview.devices, subject=JOB, salt="s", asked=Asked(stage="rest", reason="in_stage"), limit=1)
    [row] = page.items
    assert (row.device, row.stage, row.reason, row.in_stage, row.before) == ("c1", "canary", "in_stage", "canary", "")
    rest = rig.do(
        preview.devices, subject=JOB, salt="s", asked=Asked(stage="rest", reason="in_stage"), cursor=page.cursor
    )
    assert [row.device for row in rest.items] == ["c2"]


def test_all_devices_are_listed_with_their_stages_page_by_page(rig: Rig) -> None:
    define(rig, *STAGES)
    rows, cursor = [], None
    while True:
        page = rig.do(preview.devices, subject=JOB, salt="s", asked=Asked(), cursor=cursor, limit=3)
        rows += [(row.device, row.stage) for row in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert rows == [
        ("c1", "canary"),
        ("c2", "canary"),
        ("e1", "rest"),
        ("e2", "rest"),
        ("e3", "rest"),
        ("spare", ""),
        ("u1", ""),
    ]


def test_a_run_with_the_salt_of_a_preview_does_what_was_previewed(rig: Rig) -> None:
    names = [f"d{n:02}" for n in range(40)]
    rig.enrol(*names)
    define(rig, stage("first", targets=Targets(percent=30)), stage("rest", needs=(StageName("first"),)))
    view = rig.do(preview.show, subject=JOB, first=99)
    run = rig.do(runs.start, job="job", salt=view.salt)

    assert run.salt == view.salt
    [first] = [one for one in view.stages if one.name == "first"]
    assert 0 < first.devices < 47
    page = rig.do(runs.targets, run=run.id, stage="first")
    assert tuple(target.device for target in page.items) == first.first
    assert left_out(view, 0) == {"percent": 47 - first.devices}
    assert left_out(view, 1) == {"in_stage first": first.devices}


def test_a_salt_is_drawn_where_none_is_given(rig: Rig) -> None:
    define(rig, *STAGES)
    first, second = (rig.do(preview.show, subject=JOB).salt for _ in range(2))
    assert first != second


def test_what_is_new_gone_and_moved_since_the_last_run_is_told(rig: Rig) -> None:
    define(
        rig,
        stage("canary", targets=Targets(labels={"ring": "canary"})),
        stage("eu", targets=Targets(labels={"region": "eu"})),
    )
    before = rig.do(preview.show, subject=JOB, salt="s")
    assert (before.last_run, before.new, before.gone, before.moved) == (None, 0, 0, 0)
    run = rig.do(runs.start, job="job", salt="s").id
    assert rig.do(preview.show, subject=JOB, salt="s").new == 0
    assert frozen(rig, run)["c1"] == "canary"

    rig.do(devices.set_labels, device="c1", labels={"region": "eu"})
    rig.do(devices.set_labels, device="e1", labels={"region": "us"})
    rig.enrol("e9", region="eu")
    after = rig.do(preview.show, subject=JOB, salt="s")
    assert (after.last_run, after.new, after.gone, after.moved) == (run, 1, 1, 1)
    assert listed(rig, "s", change="new") == ["e9"]
    assert listed(rig, "s", change="gone") == ["e1"]
    page = rig.do(preview.devices, subject=JOB, salt="s", asked=Asked(change="moved"))
    assert [(row.device, row.stage, row.before) for row in page.items] == [("c1", "eu", "canary")]


def test_a_broken_device_is_told_as_such(rig: Rig) -> None:
    rig.connect("e1")
    define(rig, stage("all", targets=Targets(devices=(device_id("e1"),))))
    run = rig.do(runs.start, job="job").id
    rig.report("e1", AttemptState.FAILED, reason=Reason.INSTALL_FAILED, left=Left.BROKEN)
    view = rig.do(preview.show, subject=JOB, salt="s")
    assert left_out(view, 0) == {"broken": 1, "not_listed": 6}
    assert (view.last_run, view.gone) == (run, 1)


def test_a_definition_that_is_not_stored_can_be_previewed(rig: Rig) -> None:
    draft = Pipeline(name="draft", stages=STAGES)
    view = rig.do(preview.show, subject=Subject(definition=draft), salt="s")
    assert (view.job, view.pipeline, view.revision, view.last_run, view.placed) == (None, "draft", None, None, 5)
    assert rig.do(pipelines.list_pipelines) == ()
    define(rig, STAGES[0])
    run = rig.do(runs.start, job="job").id
    compared = rig.do(preview.show, subject=Subject(job="job", definition=draft), salt="s")
    assert (compared.last_run, compared.new) == (run, 3)


WRONG: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"subject": Subject(job="none")}, NotFound),
    ({"subject": Subject(definition=Pipeline(name="p", stages=()))}, InvalidDefinition),
    ({"subject": Subject(job="none", definition=Pipeline(name="p", stages=STAGES))}, NotFound),
    ({"asked": Asked(stage="none")}, NotFound),
    ({"asked": Asked(reason="labels")}, InvalidRequest),
    ({"asked": Asked(stage="rest", reason="none")}, InvalidRequest),
    ({"asked": Asked(change="none")}, InvalidRequest),
    ({"salt": ""}, InvalidRequest),
    ({"salt": "a b"}, InvalidRequest),
    ({"salt": "a" * 65}, InvalidRequest),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_previewed_is_refused(rig: Rig, wrong: tuple[dict[str, Any], type[Exception]]) -> None:
    define(rig, *STAGES)
    changes, error = wrong
    arguments: dict[str, Any] = {"subject": JOB, "salt": "s", "asked": Asked()} | changes
    with pytest.raises(error):
        rig.do(preview.devices, **arguments)


def test_a_preview_needs_no_more_than_to_read_and_a_salt_is_checked_at_the_start(rig: Rig) -> None:
    define(rig, *STAGES)
    rig.do(preview.show, Actor(name="vic", role=Role.VIEWER), subject=JOB)
    with pytest.raises(InvalidRequest, match="salt"):
        rig.do(runs.start, job="job", salt="no salt")


@pytest.mark.parametrize(("floor", "versions"), [(0, ()), (2, ("1.0.0",)), (3, ("1.0.0", "1.1.0"))])
def test_a_release_whose_floor_forbids_going_back_says_to_what(rig: Rig, floor: int, versions: tuple[str, ...]) -> None:
    rig.publish("1.1.0", 2)
    rig.publish("1.2.0", 3, floor)
    define(rig, *STAGES)
    assert rig.do(preview.show, subject=JOB).no_way_back_to == ()
    rig.do(jobs.apply, name="job", pipeline="rollout", operation=Operation(app=APP, version="1.2.0"))
    assert rig.do(preview.show, subject=JOB).no_way_back_to == versions
