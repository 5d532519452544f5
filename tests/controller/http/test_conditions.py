"""Tags in answers, and edits that say which one they were made from."""

from typing import Any

import httpx
import pytest

from controller.app import errors
from controller.app.conditions import ANYTHING, Expected, job_tag, labels_tag, run_tag
from controller.app.errors import InvalidRequest
from controller.http.conditions import expected_of
from tests.controller.http.fake import DEVICE, JOB, RUN, FakeApp

STAGES = {"stages": [{"name": "all"}]}
WRITTEN = {"pipeline": "p", "operation": {"app": "shop", "version": "2"}}
EDITS: list[tuple[str, Any]] = [
    ("/v1/pipelines/shop", STAGES),
    ("/v1/jobs/j", WRITTEN),
    ("/v1/devices/k/labels", {"labels": {}}),
]


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("/v1/pipelines/shop", "3"),
        ("/v1/pipelines/shop?revision=3", "3"),
        ("/v1/jobs/j", job_tag(JOB)),
        ("/v1/devices/k/labels", labels_tag(DEVICE.labels)),
        ("/v1/runs/r", run_tag(RUN)),
    ],
)
async def test_what_can_be_edited_has_a_tag(path: str, tag: str, client: httpx.AsyncClient) -> None:
    assert (await client.get(path)).headers["etag"] == f'"{tag}"'


async def test_a_pipeline_as_yaml_has_its_tag(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/pipelines/shop", headers={"Accept": "application/yaml"})
    assert response.headers["etag"] == '"3"'


@pytest.mark.parametrize(("path", "body"), EDITS)
async def test_an_edit_without_a_condition_is_refused(
    path: str, body: Any, client: httpx.AsyncClient, fake: FakeApp
) -> None:
    response = await client.put(path, json=body)
    assert (response.status_code, response.json()["type"]) == (428, "urn:tidegate:problem:precondition-required")
    assert fake.calls == []


@pytest.mark.parametrize(("path", "body"), EDITS)
async def test_an_edit_answers_with_the_new_tag(path: str, body: Any, client: httpx.AsyncClient) -> None:
    response = await client.put(path, json=body, headers={"If-None-Match": "*"})
    assert response.status_code == 200
    assert response.headers["etag"].startswith('"')


async def test_what_was_changed_meanwhile_is_told_so(client: httpx.AsyncClient, fake: FakeApp) -> None:
    fake.answers["pipelines.apply"] = errors.PreconditionFailed("changed meanwhile")
    response = await client.put("/v1/pipelines/shop", json=STAGES, headers={"If-Match": '"2"'})
    assert (response.status_code, response.json()["type"]) == (412, "urn:tidegate:problem:precondition-failed")


@pytest.mark.parametrize("verb", ["pause", "terminate"])
async def test_pause_and_terminate_never_need_a_condition(verb: str, client: httpx.AsyncClient) -> None:
    response = await client.post(f"/v1/runs/r/{verb}", json={"reason": "x"}, headers={"If-Match": '"old"'})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "expected"),
    [
        (None, None, ANYTHING),
        (None, " * ", Expected(is_new=True)),
        ("*", None, Expected(is_there=True)),
        ('"a" , "b"', None, Expected(tags=("a", "b"))),
        ('W/"a","b"', None, Expected(tags=("b",))),
        ('W/"a"', None, Expected(tags=("none",))),
        ('""', None, Expected(tags=("",))),
    ],
)
def test_headers_are_read(if_match: str | None, if_none_match: str | None, expected: Expected) -> None:
    assert expected_of(if_match, if_none_match) == expected


@pytest.mark.parametrize(
    ("if_match", "if_none_match"),
    [("3", None), ("", None), ('"a" "b"', None), ('"a",', None), ('"a"' * 500, None), (None, '"3"'), ("*", "*")],
)
def test_headers_that_say_nothing_clear_are_refused(if_match: str | None, if_none_match: str | None) -> None:
    with pytest.raises(InvalidRequest):
        expected_of(if_match, if_none_match)
