"""Each route calls its use case with what was asked, and answers with its view."""

import base64
import json
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from msgspec.structs import asdict, replace

from controller.app.conditions import ANYTHING, Expected
from controller.app.hooks import Delivery
from controller.app.preview import Asked, Subject
from controller.app.views import DeliveryView
from controller.domain.parameters import Given
from controller.domain.pipeline import Gate, Operation, Pace, Pipeline, Sequential, Stage
from controller.domain.trigger import OnRelease, OnSchedule
from controller.http.app import STREAMS_MAX
from protocol.ids import AppName, StageName
from tests.controller.http.fake import (
    BYTES,
    CHECK,
    COMPARED,
    DIGEST,
    JOB,
    PIPELINE,
    PIPELINE_VIEW,
    PROOF,
    RUN,
    SLOWER,
    FakeApp,
)

SEEN = Expected(tags=("3",))
TIME = "2026-01-01T00:00:00.123Z"


class Route(NamedTuple):
    """A request, the use case it reaches with which arguments, and some of the answer."""

    method: str
    path: str
    body: Any
    status: int
    use_case: str
    arguments: dict[str, Any]


PAGE = {"cursor": None, "limit": 100}
ROUTES = (
    Route(
        "POST",
        "/v1/runs",
        {"job": "j"},
        201,
        "runs.start",
        {"job": "j", "version": None, "salt": None, "given": Given(), "allows_deprecated": False},
    ),
    Route(
        "GET",
        "/v1/jobs/j/preview?salt=s&first=3",
        None,
        200,
        "preview.show",
        {"subject": Subject(job="j"), "salt": "s", "first": 3},
    ),
    Route(
        "GET",
        "/v1/jobs/j/preview/devices?salt=s&stage=rest&reason=labels",
        None,
        200,
        "preview.devices",
        {"subject": Subject(job="j"), "salt": "s", "asked": Asked(stage="rest", reason="labels"), **PAGE},
    ),
    Route(
        "POST",
        "/v1/preview?job=j",
        {"name": "shop", "stages": [{"name": "all"}]},
        200,
        "preview.show",
        {"subject": Subject(job="j", definition=PIPELINE), "salt": None, "first": 10},
    ),
    Route(
        "POST",
        "/v1/preview/devices?salt=s&change=new",
        {"name": "shop", "stages": [{"name": "all"}]},
        200,
        "preview.devices",
        {"subject": Subject(definition=PIPELINE), "salt": "s", "asked": Asked(change="new"), **PAGE},
    ),
    Route(
        "POST",
        "/v1/runs/run-1/replay?stage=rest",
        {"failures": {"above": "1%"}},
        200,
        "replays.replay",
        {"run": "run-1", "gate": Gate(sequential=Sequential(above=1.0)), "stage": "rest"},
    ),
    Route("GET", "/v1/runs", None, 200, "runs.list_runs", {"job": None, "active": None, **PAGE}),
    Route(
        "GET",
        "/v1/runs?job=j&active=true&cursor=c&limit=5",
        None,
        200,
        "runs.list_runs",
        {"job": "j", "active": True, "cursor": "c", "limit": 5},
    ),
    Route("GET", "/v1/runs/run-1", None, 200, "runs.get", {"run": "run-1"}),
    Route("POST", "/v1/runs/r/pause", {"reason": "why"}, 200, "runs.pause", {"run": "r", "reason": "why"}),
    Route(
        "POST",
        "/v1/runs/r/resume",
        {"reason": "why", "override": True},
        200,
        "runs.resume",
        {"run": "r", "override": True, "reason": "why", "expected": ANYTHING},
    ),
    Route("POST", "/v1/runs/r/terminate", {"reason": "x"}, 200, "runs.terminate", {"run": "r", "reason": "x"}),
    Route(
        "POST",
        "/v1/runs/r/promote",
        {"stage": "rest"},
        200,
        "runs.promote",
        {"run": "r", "stage": "rest", "expected": ANYTHING},
    ),
    Route(
        "POST",
        "/v1/runs/r/stages/rest/approve",
        {"reason": "fine"},
        200,
        "approvals.approve",
        {"run": "r", "stage": "rest", "reason": "fine"},
    ),
    Route(
        "POST",
        "/v1/runs/r/stages/rest/checks/e2e",
        {"answer": "failed", "reason": "by hand"},
        200,
        "checking.answer",
        {"run": "r", "stage": "rest", "check": "e2e", "is_ok": False, "reason": "by hand"},
    ),
    Route(
        "POST",
        "/v1/runs/r/skip",
        {"stage": "s", "reason": "x"},
        200,
        "runs.skip",
        {"run": "r", "stage": "s", "reason": "x", "expected": ANYTHING},
    ),
    Route(
        "POST",
        "/v1/runs/r/readmit",
        {"model": "kiosk-3", "reason": "x"},
        200,
        "runs.readmit",
        {"run": "r", "model": "kiosk-3", "reason": "x", "expected": ANYTHING},
    ),
    Route(
        "POST",
        "/v1/runs/r/readmit",
        {"model": "", "reason": "x"},
        200,
        "runs.readmit",
        {"run": "r", "model": "", "reason": "x", "expected": ANYTHING},
    ),
    Route("POST", "/v1/runs/r/retry", {}, 201, "reruns.retry", {"run": "r", "version": None, "with_cancelled": False}),
    Route(
        "POST",
        "/v1/runs/r/retry",
        {"version": "2", "with_cancelled": True},
        201,
        "reruns.retry",
        {"run": "r", "version": "2", "with_cancelled": True},
    ),
    Route("GET", "/v1/runs/r/rollback?version=1.0", None, 200, "reruns.consequence", {"run": "r", "version": "1.0"}),
    Route(
        "POST",
        "/v1/runs/r/rollback",
        {"reason": "x", "version": "1.0"},
        200,
        "reruns.roll_back",
        {"run": "r", "reason": "x", "version": "1.0"},
    ),
    Route(
        "POST",
        "/v1/runs/r/targets/k/give-up",
        {"reason": "stolen"},
        200,
        "giving_up.give_up",
        {"run": "r", "device": "k", "reason": "stolen"},
    ),
    Route(
        "GET",
        "/v1/runs/r/targets",
        None,
        200,
        "runs.targets",
        {"run": "r", "stage": None, "state": None, **PAGE},
    ),
    Route("GET", "/v1/runs/r/events?after=3", None, 200, "runs.events", {"run": "r", "after": 3, "limit": 100}),
    Route("GET", "/v1/runs/r/events/stream", None, 200, "following.follow", {"run": "r", "after": 0}),
    Route("GET", "/v1/pipelines", None, 200, "pipelines.list_pipelines", {}),
    Route("GET", "/v1/pipelines/shop", None, 200, "pipelines.get", {"name": "shop", "revision": None}),
    Route(
        "GET",
        "/v1/pipelines/shop/revisions?limit=400",
        None,
        200,
        "pipelines.history",
        {"name": "shop", "cursor": None, "limit": 50},
    ),
    Route("GET", "/v1/pipelines/shop/diff?from=2&to=5", None, 200, "pipelines.get", {"name": "shop", "revision": 5}),
    Route(
        "PUT",
        "/v1/pipelines/shop",
        {"stages": [{"name": "all"}]},
        200,
        "pipelines.apply",
        {"definition": Pipeline(name="shop", stages=(Stage(name=StageName("all")),)), "expected": SEEN},
    ),
    Route("DELETE", "/v1/pipelines/shop", None, 204, "pipelines.archive", {"name": "shop", "expected": SEEN}),
    Route(
        "POST",
        "/v1/jobs",
        {"name": "j", "pipeline": "p", "operation": {"app": "shop", "version": "2"}, "priority": -2},
        201,
        "jobs.create",
        {
            "name": "j",
            "pipeline": "p",
            "operation": Operation(app=AppName("shop"), version="2"),
            "priority": -2,
            "parameters": {},
            "triggers": (),
        },
    ),
    Route(
        "PUT",
        "/v1/jobs/j",
        {"pipeline": "p", "operation": {"app": "shop", "version": "2"}, "triggers": [{"channel": "stable"}]},
        200,
        "jobs.apply",
        {
            "name": "j",
            "pipeline": "p",
            "operation": Operation(app=AppName("shop"), version="2"),
            "priority": 0,
            "parameters": {},
            "triggers": (OnRelease(channel="stable"),),
            "expected": SEEN,
        },
    ),
    Route("DELETE", "/v1/jobs/j", None, 204, "jobs.archive", {"name": "j", "expected": SEEN}),
    Route("GET", "/v1/jobs", None, 200, "jobs.list_jobs", {}),
    Route("GET", "/v1/jobs/j", None, 200, "jobs.get", {"name": "j"}),
    Route(
        "GET",
        "/v1/devices?label=region=eu&label=ring=a=b&online=false&app=shop&version=2",
        None,
        200,
        "devices.list_devices",
        {
            "labels": {"region": "eu", "ring": "a=b"},
            "online": False,
            "app": "shop",
            "version": "2",
            "query": None,
            "group": None,
            **PAGE,
        },
    ),
    Route(
        "GET",
        "/v1/devices?query=labels.a%20%3D%3D%20%22b%22&group=eu/berlin",
        None,
        200,
        "devices.list_devices",
        {
            "labels": {},
            "online": None,
            "app": None,
            "version": None,
            "query": 'labels.a == "b"',
            "group": "eu/berlin",
            **PAGE,
        },
    ),
    Route("GET", "/v1/groups?under=eu", None, 200, "groups.list_groups", {"under": "eu"}),
    Route("POST", "/v1/groups", {"path": "eu/berlin"}, 201, "groups.create", {"path": "eu/berlin"}),
    Route("DELETE", "/v1/groups/eu", None, 204, "groups.remove", {"path": "eu", "recursive": False}),
    Route(
        "DELETE",
        "/v1/groups/eu%2Fberlin?recursive=true",
        None,
        204,
        "groups.remove",
        {"path": "eu/berlin", "recursive": True},
    ),
    Route(
        "POST",
        "/v1/groups/eu/berlin/add",
        {"devices": ["kiosk-1"]},
        200,
        "groups.add_devices",
        {"path": "eu/berlin", "devices": ["kiosk-1"], "query": None},
    ),
    Route("POST", "/v1/groups/eu/add", {}, 200, "groups.add_devices", {"path": "eu", "devices": [], "query": None}),
    Route(
        "POST",
        "/v1/groups/eu/drop",
        {"query": "true"},
        200,
        "groups.drop_devices",
        {"path": "eu", "devices": [], "query": "true"},
    ),
    Route("GET", "/v1/devices/k/why?app=shop", None, 200, "why.of_device", {"device": "k", "app": "shop"}),
    Route("GET", "/v1/runs/r/targets/k/why", None, 200, "why.of_run", {"run": "r", "device": "k"}),
    Route("GET", "/v1/devices/kiosk-1", None, 200, "devices.get", {"device": "kiosk-1"}),
    Route("GET", "/v1/devices/kiosk-1/labels", None, 200, "devices.get", {"device": "kiosk-1"}),
    Route(
        "PUT",
        "/v1/devices/k/labels",
        {"labels": {"a": "b"}},
        200,
        "devices.set_labels",
        {"device": "k", "labels": {"a": "b"}, "expected": SEEN},
    ),
    Route(
        "POST",
        "/v1/devices/k/block",
        {"reason": "lost"},
        200,
        "devices.block",
        {"device": "k", "reason": "lost"},
    ),
    Route(
        "POST",
        "/v1/devices/k/remove",
        {"reason": "sold"},
        200,
        "removing.remove",
        {"device": "k", "reason": "sold"},
    ),
    Route(
        "POST",
        "/v1/devices/k/unblock",
        {"reason": "found"},
        200,
        "devices.unblock",
        {"device": "k", "reason": "found"},
    ),
    Route(
        "POST",
        "/v1/devices/k/hold",
        {"reason": "fair", "until": "2026-01-01T00:00:00Z"},
        200,
        "restraining.hold",
        {"device": "k", "reason": "fair", "until": 1_767_225_600_000},
    ),
    Route(
        "POST", "/v1/devices/k/unhold", {"reason": "over"}, 200, "restraining.unhold", {"device": "k", "reason": "over"}
    ),
    Route(
        "POST",
        "/v1/devices/k/pin",
        {"app": "shop", "versions": "<3", "reason": "audit"},
        200,
        "restraining.pin",
        {"device": "k", "app": "shop", "versions": "<3", "reason": "audit"},
    ),
    Route(
        "POST",
        "/v1/devices/k/unpin",
        {"app": "shop", "reason": "done"},
        200,
        "restraining.unpin",
        {"device": "k", "app": "shop", "reason": "done"},
    ),
    Route("GET", "/v1/releases/shop/2.1.0/path", None, 200, "paths.get", {"app": "shop", "version": "2.1.0"}),
    Route(
        "PUT",
        "/v1/releases/shop/2.1.0/path",
        {"allowed": ">=1.2", "through": ["2.0"], "reason": "database"},
        200,
        "paths.order",
        {
            "app": "shop",
            "version": "2.1.0",
            "allowed": ">=1.2",
            "forbidden": "",
            "through": ["2.0"],
            "reason": "database",
        },
    ),
    Route("GET", "/v1/releases?app=shop", None, 200, "releases.list_releases", {"app": "shop"}),
    Route("PUT", "/v1/releases/targets.json", {"a": 1}, 200, "releases.publish", {"document": b'{"a":1}'}),
    Route(
        "PUT",
        f"/v1/artifacts/{DIGEST}",
        BYTES,
        201,
        "releases.upload",
        {"digest": DIGEST, "length": len(BYTES)},
    ),
    Route(
        "POST",
        "/v1/tokens",
        {"name": "ci", "role": "releaser", "expires_at": "2026-01-01T00:00:00Z"},
        201,
        "tokens.create",
        {"name": "ci", "role": "releaser", "expires_at": 1_767_225_600_000},
    ),
    Route("GET", "/v1/tokens", None, 200, "tokens.list_tokens", {}),
    Route("DELETE", "/v1/tokens/t1", None, 204, "tokens.revoke", {"token": "t1"}),
    Route(
        "POST",
        "/v1/claims",
        {"uses": 3, "expires_at": "2026-01-01T01:00:00+01:00"},
        201,
        "tokens.create_claim",
        {"uses": 3, "expires_at": 1_767_225_600_000},
    ),
    Route(
        "PUT",
        "/v1/jobs/j/triggers",
        {"triggers": [{"channel": "stable"}, {"cron": "0 2 * * *"}]},
        200,
        "jobs.set_triggers",
        {"name": "j", "triggers": (OnRelease(channel="stable"), OnSchedule(cron="0 2 * * *")), "expected": SEEN},
    ),
    Route("POST", "/v1/jobs/j/hook", None, 201, "hooks.create", {"job": "j"}),
    Route("DELETE", "/v1/jobs/j/hook", None, 204, "hooks.remove", {"job": "j"}),
    Route(
        "POST",
        "/v1/releases/shop/2.1.0/channels",
        {"channel": "stable"},
        200,
        "channels.add",
        {"app": "shop", "version": "2.1.0", "channel": "stable"},
    ),
    Route(
        "DELETE",
        "/v1/releases/shop/2.1.0/channels/stable",
        None,
        204,
        "channels.remove",
        {"app": "shop", "version": "2.1.0", "channel": "stable"},
    ),
    Route(
        "POST",
        "/v1/freezes",
        {"name": "sale", "ends_at": TIME, "reason": "sale week"},
        201,
        "freezes.add",
        {"name": "sale", "starts_at": None, "ends_at": 1_767_225_600_123, "reason": "sale week", "pipelines": ()},
    ),
    Route("GET", "/v1/freezes", None, 200, "freezes.list_freezes", {}),
    Route(
        "POST",
        "/v1/freezes/sale/remove",
        {"reason": "out"},
        200,
        "freezes.remove",
        {"name": "sale", "reason": "out"},
    ),
    Route(
        "POST",
        "/v1/releases/shop/2.1.0/deprecate",
        {"reason": "slow"},
        200,
        "withdrawal.deprecate",
        {"app": "shop", "version": "2.1.0", "reason": "slow"},
    ),
    Route(
        "POST",
        "/v1/releases/shop/2.1.0/withdraw",
        {"reason": "crashes"},
        200,
        "withdrawal.withdraw",
        {"app": "shop", "version": "2.1.0", "reason": "crashes"},
    ),
    Route("POST", "/v1/stop-everything", {"reason": "smoke"}, 200, "standstill.stop", {"reason": "smoke"}),
    Route("POST", "/v1/stop-everything/lift", {"reason": "out"}, 200, "standstill.lift", {"reason": "out"}),
    Route("GET", "/v1/stop-everything", None, 200, "standstill.get", {}),
    Route("GET", "/v1/security-events?limit=7", None, 200, "system.security_events", {"after": 0, "limit": 7}),
    Route("GET", "/v1/audit", None, 200, "system.audit", {"after": 0, "limit": 100}),
)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_a_route_reaches_its_use_case(route: Route, client: httpx.AsyncClient, fake: FakeApp) -> None:
    sent = {"content": route.body} if isinstance(route.body, bytes) else {"json": route.body}
    headers = {} if route.method == "POST" else {"If-Match": '"3"'}
    response = await client.request(route.method, route.path, headers=headers, **sent if route.body is not None else {})
    assert response.status_code == route.status, response.text
    assert (route.use_case, route.arguments) in fake.calls


async def test_times_are_text_in_utc(client: httpx.AsyncClient) -> None:
    run = (await client.get("/v1/runs/run-1")).json()
    assert run["created_at"] == TIME
    assert run["ended_at"] is None
    assert run["stages"][0]["ended_at"] == "2026-01-01T00:01:00.123Z"
    assert sum(run["stages"][1]["counters"].values()) == 100
    assert (await client.get("/v1/devices/kiosk-1")).json()["last_seen_at"] is None
    [event] = (await client.get("/v1/runs/r/events")).json()
    assert event == {"id": 7, "at": TIME, "kind": "stage_opened", "data": {"stage": "rest", "targets": 100}}


async def test_outputs_are_shown_of_a_device_and_summed_up_of_a_stage(client: httpx.AsyncClient) -> None:
    [target] = (await client.get("/v1/runs/r/targets")).json()["items"]
    assert target["outputs"] == {"boot_ms": 840, "load": 0.5, "kernel": "6.1"}
    assert (target["measures"], target["is_paired"]) == ({"scan_ms": 190.5}, True)
    first, rest = (await client.get("/v1/runs/run-1")).json()["stages"]
    assert first["outputs"] == {}
    assert rest["outputs"] == {"boot_ms": {"count": 55, "min": 640, "max": 1_900, "avg": 812.5}}


async def test_a_started_run_says_where_it_is(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/runs", json={"job": "shop-update", "version": "2.2"})
    assert response.headers["location"] == "/v1/runs/run-1"


async def test_a_pipeline_is_taken_and_given_as_yaml(client: httpx.AsyncClient, fake: FakeApp) -> None:
    text = "kind: Pipeline\nname: shop\nstages:\n- name: all\n"
    headers = {"Content-Type": "application/yaml", "If-None-Match": "*"}
    put = await client.put("/v1/pipelines/shop", content=text, headers=headers)
    assert put.status_code == 200
    assert put.json()["definition"] == {"kind": "Pipeline", "name": "shop", "stages": [{"name": "all"}]}
    got = await client.get("/v1/pipelines/shop", headers={"Accept": "application/yaml"})
    assert (got.text, got.headers["content-type"]) == (text, "application/yaml")


async def test_revisions_say_what_they_changed(client: httpx.AsyncClient) -> None:
    [revision] = (await client.get("/v1/pipelines/shop/revisions")).json()["items"]
    change = "added stage all; removed stage old"
    assert revision == {"revision": 3, "change": change, "author": "ann", "created_at": TIME, "archived_at": None}


async def test_two_revisions_are_compared_as_text_and_as_data(client: httpx.AsyncClient, fake: FakeApp) -> None:
    old = Pipeline(name="shop", stages=(Stage(name=StageName("all"), pace=Pace(max_in_flight=5)),))
    fake.answers["pipelines.get"] = [PIPELINE_VIEW, replace(PIPELINE_VIEW, revision=2, definition=old)]
    found = (await client.get("/v1/pipelines/shop/diff")).json()
    assert fake.calls[-1] == ("pipelines.get", {"name": "shop", "revision": 2})
    assert found["changed"] == [{"place": "stages.all.pace.max_in_flight", "old": 5, "new": None}]
    assert found["summary"] == "all: pace.max_in_flight 5 → default"
    assert found["text"].splitlines()[:2] == ["--- shop@2", "+++ shop@3"]
    assert "-    max_in_flight: 5" in found["text"].splitlines()


async def test_the_first_revision_is_compared_with_nothing(client: httpx.AsyncClient, fake: FakeApp) -> None:
    fake.answers["pipelines.get"] = replace(PIPELINE_VIEW, revision=1)
    found = (await client.get("/v1/pipelines/shop/diff")).json()
    assert (found["stages_added"], found["changed"], len(fake.calls)) == (["all"], [], 1)


async def test_what_a_run_is_given_is_read_as_in_files(client: httpx.AsyncClient, fake: FakeApp) -> None:
    body = {"job": "j", "parameters": {"n": 5, "l": ["a"], "p": 2.5}, "env": {"A": "x", "B": {"secret": "s"}}}
    assert (await client.post("/v1/runs", json=body)).status_code == 201
    given = Given(parameters={"n": 5, "l": ("a",), "p": "2.5%"}, env={"A": "x"}, secrets={"B": "s"})
    assert fake.calls[-1][1]["given"] == given
    refused: list[dict[str, Any]] = [
        {"parameters": {"N": 1}},
        {"parameters": {"n": {}}},
        {"env": {"A=": "x"}},
        {"env": {"A": "\0"}},
    ]
    for wrong in refused:
        assert (await client.post("/v1/runs", json={"job": "j", **wrong})).status_code == 422


async def test_a_job_shows_its_secrets_among_its_variables_and_its_values(
    client: httpx.AsyncClient, fake: FakeApp
) -> None:
    operation = Operation(app=AppName("shop"), version="1", env={"A": "x"}, secrets={"B": "s"})
    fake.answers["jobs.get"] = replace(JOB, operation=operation, parameters={"l": ("a",), "n": 5})
    found = (await client.get("/v1/jobs/j")).json()
    assert found["operation"]["env"] == {"A": "x", "B": {"secret": "s"}}
    assert found["parameters"] == {"l": ["a"], "n": 5}


async def test_a_preview_takes_values_of_parameters(client: httpx.AsyncClient, fake: FakeApp) -> None:
    await client.get("/v1/jobs/j/preview?parameter=ring=a=b&parameter=n=5")
    assert fake.calls[-1][1]["subject"] == Subject(job="j", parameters={"ring": "a=b", "n": "5"})
    assert (await client.get("/v1/jobs/j/preview?parameter=ring")).status_code == 422


async def test_schemas_are_public(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/schemas/Pipeline", headers={"Authorization": ""})
    assert response.json()["title"] == "Tidegate Pipeline"


async def test_uploaded_bytes_arrive_as_a_stream(client: httpx.AsyncClient, fake: FakeApp) -> None:
    response = await client.put(f"/v1/artifacts/{DIGEST}", content=BYTES)
    assert response.json() == {"sha256": DIGEST, "length": len(BYTES)}
    assert fake.uploaded == BYTES


ENROL = {
    "token": "claim",
    "device": "kiosk-1",
    "model": "k1",
    "hardware_id": "hw",
    "csr": "PEM",
    "signing_key": base64.b64encode(b"s" * 32).decode(),
    "sealing_key": base64.b64encode(b"x" * 32).decode(),
}


async def test_enrolment_answers_with_certificate_roots_and_endpoint(client: httpx.AsyncClient, fake: FakeApp) -> None:
    response = await client.post("/v1/enrol", json=ENROL, headers={"Authorization": ""})
    assert response.status_code == 201
    assert response.json() == {
        "name": "acme:kiosk-1",
        "certificate": "CERT",
        "ca_chain": "CHAIN",
        "fleet_root": base64.b64encode(b"fleet").decode(),
        "release_root": base64.b64encode(b"release").decode(),
        "mqtt_host": "mqtt.example",
        "mqtt_port": 8883,
        "mqtt_profile": "mqtt3.1.1",
    }
    [(_, arguments)] = fake.calls
    assert arguments["signing_key"] == b"s" * 32
    assert arguments["sealing_key"] == b"x" * 32


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token": "guess"}, 401),
        ({"signing_key": "not base64!"}, 422),
        ({"sealing_key": base64.b64encode(b"short").decode()}, 422),
        ({"signing_key": 7}, 422),
        ({"extra": "field"}, 422),
        ({"csr": "x" * 20_000}, 422),
    ],
)
async def test_a_wrong_enrolment_is_refused(change: dict[str, Any], status: int, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/enrol", json={**ENROL, **change})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_renewal_takes_a_signed_request(client: httpx.AsyncClient, fake: FakeApp) -> None:
    signed = {"Authorization": f"Tidegate-DSSE {base64.b64encode(b'signed').decode()}"}
    response = await client.post("/v1/device/renew", content=b'{"csr": "PEM"}', headers=signed)
    assert response.json() == {"certificate": "CERT", "ca_chain": "CHAIN"}
    assert fake.calls == [
        ("devices.authenticate", {"method": "POST", "path": "/v1/device/renew", "body": b'{"csr": "PEM"}'}),
        ("devices.renew", {"name": "acme:kiosk-1", "csr_pem": "PEM"}),
    ]


async def test_probes_and_metrics_need_no_token(client: httpx.AsyncClient, fake: FakeApp, api: FastAPI) -> None:
    client.headers.pop("Authorization")
    assert (await client.get("/livez")).text == "ok\n"
    assert (await client.get("/readyz")).json() == {"ready": True, "faults": [], "online": 3, "unsent": 0}
    api.state.transport_faults = lambda: ("0 of 16",)
    await client.get("/readyz")
    assert fake.calls[-1] == ("system.health", {"transport_faults": ("0 of 16",)})
    metrics = await client.get("/metrics")
    assert metrics.text == "tidegate_up 1\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


SIGNED = {"webhook-id": "m1", "webhook-timestamp": "7", "webhook-signature": "v1,good"}


async def test_a_signed_hook_needs_no_token_and_answers_with_the_run(api: FastAPI, fake: FakeApp) -> None:
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://tidegate") as anonymous:
        answer = await anonymous.post("/v1/hooks/j", content=b'{"version": "2"}', headers=SIGNED)
        refused = await anonymous.post("/v1/hooks/j", content=b"{}")
    assert (answer.status_code, answer.json()) == (202, {"run": "run-1", "waits": False})
    assert answer.headers["location"] == "/v1/runs/run-1"
    delivery = Delivery(id="m1", timestamp="7", signatures="v1,good", body=b'{"version": "2"}')
    assert fake.calls == [("hooks.receive", {"job": "j", "delivery": delivery})]
    assert refused.status_code == 401


async def test_a_hook_whose_run_waits_tells_no_address(client: httpx.AsyncClient, fake: FakeApp) -> None:
    fake.delivery = DeliveryView(run=None, waits=True)
    answer = await client.post("/v1/hooks/j", content=b"{}", headers=SIGNED)
    assert (answer.status_code, answer.json()) == (202, {"run": None, "waits": True})
    assert "location" not in answer.headers


async def test_a_signed_answer_to_a_check_needs_no_token_and_tells_of_that_check_alone(
    api: FastAPI, fake: FakeApp
) -> None:
    body = b'{"run": "r", "stage": "rest", "check": "e2e", "ok": true}'
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://tidegate") as anonymous:
        answer = await anonymous.post("/v1/hooks/j/checks", content=body, headers=SIGNED)
        refused = await anonymous.post("/v1/hooks/j/checks", content=body)
    assert (answer.status_code, answer.json()["verdict"]) == (200, "pass")
    assert answer.json().keys() == {
        *("name", "kind", "asked", "verdict", "said", "oks", "failures", "last_at", "failed_at", "evidence", "dry_run")
    }
    delivery = Delivery(id="m1", timestamp="7", signatures="v1,good", body=body)
    assert fake.calls == [("checking.receive", {"job": "j", "delivery": delivery})]
    assert refused.status_code == 401


@pytest.mark.parametrize("body", [{"answer": "ok"}, {"answer": "no_data", "reason": "x"}, {"reason": "x"}])
async def test_a_person_answers_a_check_with_a_reason_and_says_ok_or_failed(
    client: httpx.AsyncClient, fake: FakeApp, body: dict[str, str]
) -> None:
    answer = await client.post("/v1/runs/r/stages/rest/checks/e2e", json=body)
    assert answer.status_code == 422
    assert fake.calls == []


async def test_a_stage_tells_where_its_checks_stand(client: httpx.AsyncClient, fake: FakeApp) -> None:
    fake.answers["runs.get"] = replace(RUN, stages=(replace(RUN.stages[0], checks=(CHECK,)),))
    told = (await client.get("/v1/runs/run-1")).json()["stages"][0]["checks"]
    assert told == [
        {
            "name": "e2e",
            "kind": "webhook",
            "asked": True,
            "verdict": "pass",
            "said": "check e2e: 1 of 1 success in a row",
            "oks": 1,
            "failures": 0,
            "last_at": TIME,
            "failed_at": None,
            "evidence": "",
            "dry_run": False,
        }
    ]


async def test_a_gate_tells_what_it_compares(client: httpx.AsyncClient, fake: FakeApp) -> None:
    canary = RUN.stages[0]
    fake.answers["runs.get"] = replace(RUN, stages=(replace(canary, gate=replace(canary.gate, control=COMPARED)),))
    told = (await client.get("/v1/runs/run-1")).json()["stages"][0]["gate"]["control"]
    assert told == {
        "said": COMPARED.said,
        "held": 5,
        "left": 5,
        "updated": {"watched": 95, "crashed": 2, "measured": 8},
        "control": {"watched": 5, "crashed": 1, "measured": 5},
        "value": 3.1,
        "threshold": 200,
        "tolerated": 1.5,
        "alpha_percent": 0.5,
        "is_breached": False,
        "accepted": 0,
        "breached_at": None,
        "evidence": "",
        "metrics": [asdict(SLOWER) | {"breached_at": TIME}],
    }


async def test_a_stage_tells_how_far_its_proof_has_come(client: httpx.AsyncClient, fake: FakeApp) -> None:
    stages = [replace(RUN.stages[0], gate=replace(RUN.stages[0].gate, proof=one)) for one in (PROOF, None)]
    fake.answers["runs.get"] = replace(RUN, stages=tuple(stages))
    proved, asks_for_none = (await client.get("/v1/runs/run-1")).json()["stages"]
    assert proved["gate"]["proof"] == {
        "said": "70 of the first 70 are well; proved (fewer than 5 % fail, beta 5 %)",
        "counted": 70,
        "failed": 0,
        "value": 20.5,
        "threshold": 20.0,
        "below_percent": 5.0,
        "beta_percent": 5.0,
        "is_proved": True,
    }
    assert asks_for_none["gate"]["proof"] is None


async def test_a_job_tells_what_starts_it_in_the_shape_of_a_file(client: httpx.AsyncClient) -> None:
    job = (await client.get("/v1/jobs/shop-update")).json()
    assert job["triggers"] == [{"channel": "stable"}, {"cron": "0 2 * * *", "zone": "Europe/Berlin"}]
    assert job["next_at"] == TIME
    assert job["waiting"] == {
        "by": "trigger:hook",
        "at": TIME,
        "version": None,
        "parameters": {"ring": "one"},
        "env": {"A": "1"},
        "reason": "",
    }


async def test_a_run_is_followed_as_server_sent_events(client: httpx.AsyncClient, fake: FakeApp) -> None:
    answer = await client.get("/v1/runs/r/events/stream?after=3", headers={"Last-Event-ID": "5"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert fake.calls == [("following.follow", {"run": "r", "after": 5})]
    retry, entry, quiet, end, nothing = answer.text.split("\n\n")
    assert (retry, quiet, nothing) == ("retry: 1000", ": quiet", "")
    fields = dict(line.split(": ", 1) for line in entry.split("\n"))
    assert (fields["event"], fields["id"], json.loads(fields["data"])["kind"]) == ("entry", "7", "stage_opened")
    assert end.startswith("event: end\n")
    assert '"id":"run-1"' in end


async def test_a_stream_of_a_run_that_is_not_there_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/runs/none/events/stream")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_streams_give_their_slots_back_and_are_limited(
    api: FastAPI, client: httpx.AsyncClient, fake: FakeApp
) -> None:
    fake.streams *= 2
    await client.get("/v1/runs/r/events/stream")
    assert api.state.streams.in_flight == 0
    for _ in range(STREAMS_MAX):
        api.state.streams.take()
    answer = await client.get("/v1/runs/r/events/stream")
    assert answer.status_code == 503
    assert "streams" in answer.json()["detail"]
