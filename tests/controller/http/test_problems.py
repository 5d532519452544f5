"""Every error is a problem document: ours, the framework's, and those nobody foresaw."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from controller.app import errors
from controller.domain.validation import Fault
from protocol.errors import MalformedMessage, UntrustedMessage
from tests.controller.http.fake import DIGEST, FakeApp


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["type"] == "urn:tidegate:problem:" + body["title"].lower().replace(" ", "-")
    return body


RAISED = (
    (errors.InvalidRequest("x"), 422, "invalid-request"),
    (errors.NotFound("x"), 404, "not-found"),
    (errors.Conflict("x"), 409, "conflict"),
    (errors.NotAuthenticated("x"), 401, "not-authenticated"),
    (errors.NotAllowed("x"), 403, "not-allowed"),
    (errors.StorageUnavailable("x"), 503, "storage-unavailable"),
    (errors.Overloaded("x"), 503, "overloaded"),
    (MalformedMessage("x"), 422, "invalid-request"),
    (UntrustedMessage("x"), 401, "not-authenticated"),
)


@pytest.mark.parametrize(("error", "status", "slug"), RAISED, ids=lambda value: type(value).__name__)
async def test_an_error_of_a_use_case_is_a_problem(
    error: Exception, status: int, slug: str, client: httpx.AsyncClient, fake: FakeApp
) -> None:
    fake.answers["runs.get"] = error
    body = problem(response := await client.get("/v1/runs/run-1"))
    assert (body["status"], body["type"]) == (status, f"urn:tidegate:problem:{slug}")
    assert (body["detail"], body["instance"]) == ("x", "/v1/runs/run-1")
    assert ("retry-after" in response.headers) is (status == 503)
    assert ("www-authenticate" in response.headers) is (status == 401)


@pytest.mark.parametrize("error", [RuntimeError("secret"), errors.ControllerError("secret"), KeyError("secret")])
async def test_a_bug_is_logged_and_not_told(error: Exception, client: httpx.AsyncClient, fake: FakeApp) -> None:
    fake.answers["runs.get"] = error
    with capture_logs() as logs:
        response = await client.get("/v1/runs/run-1")
    assert problem(response)["type"] == "urn:tidegate:problem:internal"
    assert "secret" not in response.text
    [entry] = logs
    assert (entry["event"], entry["path"], entry["exc_info"]) == ("unexpected_error", "/v1/runs/run-1", error)


async def test_faults_are_listed(client: httpx.AsyncClient, fake: FakeApp) -> None:
    fake.answers["runs.start"] = errors.InvalidDefinition("no", [Fault(place="stages", message="none")])
    body = problem(await client.post("/v1/runs", json={"job": "j"}))
    assert body["faults"] == [{"place": "stages", "message": "none"}]


async def test_faults_of_a_file_have_line_and_column(client: httpx.AsyncClient, fake: FakeApp) -> None:
    text = "kind: Pipeline\nstages:\n- {name: a, need: [b]}\n- {name: a}"
    headers = {"Content-Type": "application/yaml; charset=utf-8", "If-Match": "*"}
    body = problem(await client.put("/v1/pipelines/shop", content=text, headers=headers))
    assert body["type"] == "urn:tidegate:problem:invalid-definition"
    assert [(fault["place"], fault["message"][:4]) for fault in body["faults"]] == [
        ("stages[0].need", "3:13"),
        ("stages[1].name", "4:10"),
    ]
    assert fake.calls == []


async def test_silence_that_lasts_longer_than_the_soak_is_a_fault(client: httpx.AsyncClient, fake: FakeApp) -> None:
    text = "kind: Pipeline\nstages:\n- name: a\n  gate: {soak: 20m, silent_after: 30m}"
    headers = {"Content-Type": "application/yaml", "If-Match": "*"}
    body = problem(await client.put("/v1/pipelines/shop", content=text, headers=headers))
    message = "4:35: nobody falls silent after the soak: expected a soak at least as long"
    assert body["faults"] == [{"place": "stages[0].gate.silent_after", "message": message}]
    assert fake.calls == []


FRAMEWORK: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("GET", "/nowhere", {}, 404),
    ("GET", "/v1/runs/", {}, 404),
    ("DELETE", "/v1/runs", {}, 405),
    ("POST", "/v1/runs", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
    ("POST", "/v1/runs", {"content": b'{"job": "j"}', "headers": {"Content-Type": "text/plain"}}, 422),
    ("POST", "/v1/runs", {"json": {}}, 422),
    ("POST", "/v1/runs", {"json": {"job": "j", "jobs": 1}}, 422),
    ("GET", "/v1/runs?limit=0", {}, 422),
    ("GET", "/v1/runs?limit=501", {}, 422),
    ("GET", "/v1/audit?after=9223372036854775808", {}, 422),
    ("GET", "/v1/pipelines/p?revision=9223372036854775808", {}, 422),
    ("GET", "/v1/devices?label=region", {}, 422),
    ("GET", "/v1/artifacts/abc", {}, 422),
    ("GET", f"/v1/artifacts/{'0' * 64}", {}, 404),
    (
        "PUT",
        "/v1/pipelines/shop",
        {"content": b"<xml/>", "headers": {"Content-Type": "text/xml", "If-Match": "*"}},
        415,
    ),
    ("POST", "/v1/runs/r/pause", {"json": {"reason": ""}}, 422),
    ("POST", "/v1/claims", {"json": {"uses": 1, "expires_at": "2026-01-01T00:00:00"}}, 422),
    ("POST", "/v1/runs", {"content": b"x" * 1_000_001}, 413),
    ("PUT", "/v1/releases/targets.json", {"content": b"x" * 5_000_001}, 413),
)


@pytest.mark.parametrize("case", FRAMEWORK, ids=lambda case: f"{case[0]} {case[1][:60]} {case[3]}")
async def test_the_frameworks_own_errors_are_problems(
    case: tuple[str, str, dict[str, Any], int], client: httpx.AsyncClient, fake: FakeApp
) -> None:
    method, path, sent, status = case
    response = await client.request(method, path, **sent)
    assert problem(response)["status"] == status
    assert fake.calls == []


@pytest.mark.parametrize(("headers", "found"), [({"Content-Type": "text/plain"}, "text/plain"), ({}, "none")])
async def test_a_body_that_does_not_say_it_is_json_is_told_to(
    headers: dict[str, str], found: str, client: httpx.AsyncClient
) -> None:
    body = problem(await client.post("/v1/runs", content=b'{"job": "j"}', headers=headers))
    message = f"expected JSON, with 'Content-Type: application/json'; found {found}"
    assert (body["status"], body["faults"]) == (422, [{"place": "body", "message": message}])


async def test_a_body_without_a_length_is_limited_as_it_arrives(client: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for _ in range(200):
            yield b"x" * 10_000

    response = await client.post("/v1/runs", content=chunks(), headers={"Content-Type": "application/json"})
    assert problem(response)["status"] == 413


async def test_an_upload_without_a_length_is_refused(client: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        yield b"x"

    assert problem(await client.put(f"/v1/artifacts/{DIGEST}", content=chunks()))["status"] == 411


async def test_a_wrong_method_is_told_all_right_ones(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/pipelines/shop")
    assert response.headers["allow"] == "DELETE, GET, PUT"
    assert (await client.post(f"/v1/artifacts/{DIGEST}")).headers["allow"] == "GET, HEAD, PUT"


async def test_answers_are_kept_from_caches(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/claims", json={"uses": 1, "expires_at": "2026-01-01T00:00:00Z"})
    assert response.json()["secret"] == "tg_secret"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_the_openapi_document_is_whole(api: FastAPI) -> None:
    document = api.openapi()
    assert document["openapi"].startswith("3.1")
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names))
    assert "start_run" in names
    assert all(one["summary"] and one["description"] for one in operations)
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert "Problem" in document["components"]["schemas"]
    text = str(document)
    assert "#/$defs" not in text
    for one in operations:
        if "security" in one:
            assert {"401", "403", "503"} <= set(one["responses"]), one["operationId"]
