"""The API as an ASGI application."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from controller.app.controller import Controller
from controller.http import problems
from controller.http.downloads import Slots
from controller.http.middleware import BodyLimit, CarefulHeaders
from controller.http.routes import (
    artifacts,
    device_api,
    devices,
    freezes,
    groups,
    hooks,
    jobs,
    pipelines,
    previews,
    releases,
    runs,
    standstill,
    system,
    tokens,
)
from protocol.profiles import Profile

API_VERSION: Final = "1.0.0"
OPENAPI_PATH: Final = "/v1/openapi.json"
STREAMS_MAX: Final = 128
"""How many may follow runs at once: each looks into the database twice a second."""
DOWNLOADS_IN_FLIGHT_MAX: Final = 200

_ROUTERS: Final = (
    artifacts.router,
    runs.router,
    pipelines.router,
    jobs.router,
    previews.router,
    hooks.router,
    devices.router,
    groups.router,
    releases.router,
    tokens.router,
    device_api.router,
    freezes.router,
    standstill.router,
    system.router,
    system.probes,
)
"""Artifacts come first: every device asks for them, and the framework tries one route after the other."""
_DESCRIPTION: Final = """\
Rolls app releases out to device fleets, stage by stage. Times are RFC 3339 in UTC. Lists that can be long are paged:
pass `cursor` of one page to get the next. A `POST` with the header `Idempotency-Key` may be sent again: within a day it
has one effect and one answer. A `PUT` that edits needs `If-Match` with the `ETag` of what was read, or
`If-None-Match: *` to create; putting what is there already changes nothing.
Every error is a problem document (RFC 9457); its `type` names the kind.
"""


def create_app(
    controller: Controller,
    *,
    mqtt_host: str,
    mqtt_port: int,
    mqtt_profile: Profile = Profile.MQTT5,
    transport_faults: Callable[[], Sequence[str]] = tuple,
    metrics: Callable[[], bytes | str] = bytes,
    downloads_in_flight_max: int = DOWNLOADS_IN_FLIGHT_MAX,
) -> FastAPI:
    """Return the API of *controller*.

    Args:
        controller: what the routes hand to the use cases.
        mqtt_host: where devices that enrol are told to connect to.
        mqtt_port: the port there.
        mqtt_profile: how they are told to speak MQTT there.
        transport_faults: returns what keeps devices from being reached, in words.
        metrics: returns the text of ``/metrics``.
        downloads_in_flight_max: beyond that many, downloads are answered with 503 and ``Retry-After``.
    """
    app = FastAPI(
        title="Tidegate",
        version=API_VERSION,
        description=_DESCRIPTION,
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
    )
    app.state.controller = controller
    app.state.mqtt_host = mqtt_host
    app.state.mqtt_port = mqtt_port
    app.state.mqtt_profile = mqtt_profile
    app.state.transport_faults = transport_faults
    app.state.metrics = metrics
    app.state.flat_routes = [route for router in _ROUTERS for route in router.routes]
    app.state.downloads = Slots(downloads_in_flight_max)
    app.state.streams = Slots(STREAMS_MAX, what="streams")
    app.add_middleware(BodyLimit)
    app.add_middleware(CarefulHeaders)
    problems.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with problem documents in place of the framework's own errors."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs") | {"Problem": problem}
        app.openapi_schema = document
    return app.openapi_schema
