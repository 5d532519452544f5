"""What jobs and runs give to a pipeline that leaves something open."""

import pytest

from controller.app import jobs, pipelines, preview, runs
from controller.app.conditions import job_tag
from controller.app.errors import InvalidDefinition, SecretsNotSealed
from controller.app.preview import Subject
from controller.documents import Kind, load_one
from controller.domain.parameters import Given
from controller.domain.pipeline import Operation, Pipeline
from tests.controller.app.rig import APP, Rig

TEXT = """
name: rollout
parameters: {ring: {}, pace: {type: int, default: 1}}
inputs: {URL: {required: true}, LEVEL: {}, TOKEN: {}}
env: {LEVEL: info}
stages: [{name: all, targets: {labels: {ring: '${ring}'}}, pace: {max_in_flight: '${pace}'}}]
"""
OPERATION = Operation(app=APP, version="1.0.0", env={"LEVEL": "warn"})


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.enrol("a", ring="one")
    rig.enrol("b", "c", ring="two")
    rig.connect("a", "b", "c")
    rig.publish()
    definition = load_one(TEXT, Kind.PIPELINE)
    assert isinstance(definition, Pipeline)
    rig.do(pipelines.apply, definition=definition)
    rig.do(jobs.create, name="job", pipeline="rollout", operation=OPERATION, parameters={"pace": 5})
    return rig


def test_a_run_works_by_the_values_and_the_environment_that_it_was_given(rig: Rig) -> None:
    given = Given(parameters={"ring": "two"}, env={"URL": "https://x"})
    run = rig.do(runs.start, job="job", given=given)

    assert run.parameters == {"ring": "two", "pace": 5}
    assert run.stages[0].max_in_flight == 5
    assert rig.counters(run.id) == {"in_progress": 2}
    assert rig.last("b")[1].env == {"LEVEL": "warn", "URL": "https://x"}


def test_a_run_that_lacks_something_is_refused_with_all_that_it_lacks(rig: Rig) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        rig.do(runs.start, job="job")
    assert [fault.place for fault in caught.value.faults] == ["parameters.ring", "env.URL"]
    assert rig.do(runs.list_runs).items == ()


def test_a_secret_is_refused_at_the_start(rig: Rig) -> None:
    given = Given(parameters={"ring": "two"}, env={"URL": "https://x"}, secrets={"TOKEN": "api"})
    with pytest.raises(SecretsNotSealed, match="TOKEN"):
        rig.do(runs.start, job="job", given=given)


def test_a_job_with_values_that_do_not_fit_is_not_saved(rig: Rig) -> None:
    before = rig.do(jobs.get, name="job")
    with pytest.raises(InvalidDefinition) as caught:
        rig.do(jobs.apply, name="job", pipeline="rollout", operation=OPERATION, parameters={"pace": 0, "x": 1})
    assert [fault.place for fault in caught.value.faults] == ["parameters.x", "stages[0].pace.max_in_flight"]
    changed = rig.do(jobs.apply, name="job", pipeline="rollout", operation=OPERATION, parameters={"ring": "one"})
    assert changed.parameters == {"ring": "one"}
    assert job_tag(changed) != job_tag(before)


def test_a_preview_is_of_the_given_values(rig: Rig) -> None:
    with pytest.raises(InvalidDefinition, match=r"parameters\.ring"):
        rig.do(preview.show, subject=Subject(job="job"))
    for ring, count in (("one", 1), ("two", 2)):
        view = rig.do(preview.show, subject=Subject(job="job", parameters={"ring": ring}))
        assert view.placed == count
