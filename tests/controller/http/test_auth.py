"""Every route with nobody, a stranger, a device, and every role."""

import base64
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from controller.app.access import GRANTS, Permission, Role
from tests.controller.http.fake import DIGEST, NEEDS, FakeApp
from tests.controller.http.test_routes import ENROL, ROUTES, Route

SIGNED = f"Tidegate-DSSE {base64.b64encode(b'signed').decode()}"
EITHER = ("/v1/releases/targets.json", "/v1/releases/root.json", f"/v1/artifacts/{DIGEST}")
PUBLIC = {
    "/livez",
    "/readyz",
    "/metrics",
    "/v1/enrol",
    "/v1/hooks/{job}",
    "/v1/hooks/{job}/checks",
    "/v1/schemas/{kind}",
}


async def answer(client: httpx.AsyncClient, route: Route, authorization: str | None) -> httpx.Response:
    sent: dict[str, Any] = {}
    if isinstance(route.body, bytes):
        sent = {"content": route.body}
    elif route.body is not None:
        sent = {"json": route.body}
    client.headers.pop("Authorization", None)
    headers = {"If-Match": "*"} | ({} if authorization is None else {"Authorization": authorization})
    return await client.request(route.method, route.path, headers=headers, **sent)


@pytest.mark.parametrize("path", EITHER)
async def test_where_operators_and_devices_are_let_in_both_ways_are_told(path: str, client: httpx.AsyncClient) -> None:
    client.headers.pop("Authorization", None)
    detail = (await client.get(path)).json()["detail"]
    assert "'Authorization: Bearer <token>'" in detail
    assert "'Authorization: Tidegate-DSSE <base64 envelope>'" in detail


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("authorization", [None, "Bearer stranger", "Bearer " + "x" * 600, "Basic YTpi", SIGNED])
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_nobody_but_operators_is_let_in(
    route: Route, authorization: str | None, client: httpx.AsyncClient, fake: FakeApp
) -> None:
    response = await answer(client, route, authorization)
    assert response.status_code == 401
    assert response.json()["type"] == "urn:tidegate:problem:not-authenticated"
    assert "Bearer" in response.headers["www-authenticate"]
    assert fake.calls == []


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_a_role_is_let_in_where_it_has_the_permission(
    route: Route, role: Role, client: httpx.AsyncClient, fake: FakeApp
) -> None:
    response = await answer(client, route, f"Bearer {role}")
    allowed = NEEDS.get(route.use_case, Permission.READ) in GRANTS[role]
    assert response.status_code == (route.status if allowed else 403)
    assert bool(fake.calls) is allowed
    if not allowed:
        assert response.json()["type"] == "urn:tidegate:problem:not-allowed"


@pytest.mark.parametrize("path", EITHER)
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer stranger", 401),
        ("Bearer viewer", 200),
        (SIGNED, 200),
        (SIGNED.lower().replace(SIGNED.lower().split()[1], SIGNED.split()[1]), 200),
        ("Tidegate-DSSE bm9ib2R5", 401),
        ("Tidegate-DSSE ???", 401),
        ("Tidegate-DSSE " + "A" * 40_000, 401),
        ("Tidegate-DSSE", 401),
    ],
)
async def test_devices_and_readers_may_fetch(
    path: str, authorization: str | None, status: int, client: httpx.AsyncClient
) -> None:
    response = await answer(client, Route("GET", path, None, 200, "", {}), authorization)
    assert response.status_code == status


async def test_a_signed_request_is_checked_with_its_method_and_path(client: httpx.AsyncClient, fake: FakeApp) -> None:
    await client.get("/v1/releases/targets.json", headers={"Authorization": SIGNED})
    expected = {"method": "GET", "path": "/v1/releases/targets.json", "body": b""}
    assert fake.calls == [("devices.authenticate", expected)]


@pytest.mark.parametrize("authorization", [None, "Bearer admin", "Tidegate-DSSE bm9ib2R5"])
async def test_only_devices_renew(authorization: str | None, client: httpx.AsyncClient) -> None:
    route = Route("POST", "/v1/device/renew", {"csr": "PEM"}, 401, "", {})
    assert (await answer(client, route, authorization)).status_code == 401


async def test_enrolment_asks_for_no_token_but_the_claim(client: httpx.AsyncClient) -> None:
    assert (await answer(client, Route("POST", "/v1/enrol", ENROL, 201, "", {}), None)).status_code == 201


async def test_the_document_says_which_routes_are_public(api: FastAPI) -> None:
    paths = api.openapi()["paths"]
    assert {path for path, methods in paths.items() for one in methods.values() if "security" not in one} == PUBLIC


async def test_the_matrix_covers_every_route(api: FastAPI) -> None:
    document = api.openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in document.items() for method in methods}
    prefixes = {(route.method, tuple(route.path.partition("?")[0].split("/"))) for route in ROUTES}
    elsewhere = {(method, path) for method, path in routes if path in PUBLIC or not covers(prefixes, method, path)}
    assert {path for _, path in elsewhere} - PUBLIC == {
        "/v1/device/renew",
        "/v1/releases/targets.json",
        "/v1/releases/root.json",
        "/v1/artifacts/{sha256}",
    }


def covers(tested: set[tuple[str, tuple[str, ...]]], method: str, path: str) -> bool:
    parts = path.split("/")
    return any(
        method == other
        and len(parts) == len(places)
        and all(a == b or a.startswith("{") for a, b in zip(parts, places, strict=True))
        for other, places in tested
    )


async def test_no_request_visits_a_thread_to_learn_who_calls(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def visit(*_: object) -> None:
        raise AssertionError("a plain function among the dependencies")

    monkeypatch.setattr("fastapi.dependencies.utils.run_in_threadpool", visit)
    assert (await client.get("/v1/jobs")).status_code == 200


async def test_an_idempotency_key_reaches_the_use_case_with_a_fingerprint_of_what_is_asked(
    client: httpx.AsyncClient, fake: FakeApp
) -> None:
    for body in ({"reason": "a"}, {"reason": "a"}, {"reason": "b"}):
        await client.post("/v1/runs/r/pause", json=body, headers={"Idempotency-Key": "k1"})
    await client.get("/v1/runs", headers={"Idempotency-Key": "k1"})
    requests = [actor.request for actor in fake.actors]
    assert requests[3] is None
    keys, fingerprints = zip(*((r.key, r.fingerprint) for r in requests[:3] if r is not None), strict=True)
    assert keys == ("k1", "k1", "k1")
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


@pytest.mark.parametrize("key", ["", "x" * 129, "\tk"])
async def test_an_unfit_idempotency_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post("/v1/runs/r/pause", json={"reason": "a"}, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
