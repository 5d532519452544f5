"""The API over fake use cases, and clients of it."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from protocol.profiles import Profile
from tests.controller.http.fake import FakeApp


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    app = FakeApp()
    app.install(monkeypatch)
    return app


@pytest.fixture
def api(fake: FakeApp) -> FastAPI:
    from controller.http.app import create_app

    return create_app(
        fake.controller,
        mqtt_host="mqtt.example",
        mqtt_port=8883,
        mqtt_profile=Profile.MQTT311,
        metrics=lambda: b"tidegate_up 1\n",
        downloads_in_flight_max=2,
    )


@pytest.fixture
async def client(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    headers = {"Authorization": "Bearer admin"}
    async with httpx.AsyncClient(transport=transport, base_url="http://tidegate", headers=headers) as opened:
        yield opened
