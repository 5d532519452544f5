"""The command line against the API over fake use cases, without a socket."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from controller.cli import client
from controller.cli.app import build
from tests.controller.http.conftest import api, fake

__all__ = ["api", "fake"]

Invoke = Callable[..., Result]


class InProcess(httpx.BaseTransport):
    """Hands the requests of a synchronous client to an ASGI application."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())

        async def answer() -> httpx.Response:
            response = await self._transport.handle_async_request(sent)
            await response.aread()
            return response

        response = asyncio.run(answer())
        content = b"" if request.method == "HEAD" else response.content  # as a real server does
        return httpx.Response(response.status_code, headers=response.headers, content=content)


@pytest.fixture
def tidegate(api: FastAPI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Run `tidegate` with arguments, as an administrator of the API."""
    monkeypatch.setattr(client, "open_transport", lambda _context: InProcess(api))
    monkeypatch.setenv("TIDEGATE_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("TIDEGATE_URL", "https://tidegate")
    monkeypatch.setenv("TIDEGATE_TOKEN", "admin")
    monkeypatch.delenv("TIDEGATE_CA", raising=False)
    monkeypatch.setattr("controller.cli.app.PLUGINS", "tidegate.commands.none")
    monkeypatch.setattr("controller.cli.watch.time.sleep", lambda _s: None)
    app = build()

    def invoke(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), input=text)

    return invoke
