"""A whole rollout by command line, over the real use cases, a real database and real signatures."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from controller.app import tokens
from controller.app.access import Role
from controller.artifacts.folder import ArtifactFolder
from controller.cli import client
from controller.cli.app import build
from controller.http.app import create_app
from controller.signing.installation import initialise
from controller.store.inline_store import InlineStore
from protocol.codec import encode
from protocol.envelope import seal
from protocol.ids import digest_of
from protocol.messages import DeviceRequest, PayloadType
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import ADMIN, START, TENANT, Rig
from tests.controller.cli.conftest import InProcess, Invoke

PIPELINE = """\
kind: Pipeline
name: shop
stages:
- name: canary
  targets: {labels: {ring: canary}}
  gate: {success: 100%, failures: {more_than: 0}}
- name: rest
  needs: [canary]
  trigger: manual
  gate: {success: 100%, failures: {more_than: 0}}
---
kind: Job
name: shop-update
pipeline: shop
operation: {app: shop, version: 2.1.0}
"""
ROUNDS_MAX = 20


class Installation:
    """A folder of keys, and a controller over them with an administrator."""

    def __init__(self, folder: Path, store: InlineStore) -> None:
        self.folder = folder
        keystore = initialise(folder / "on", folder / "off", tenant=TENANT, hosts=["localhost"], at=START)
        artifacts = ArtifactFolder(folder / "artifacts")
        self.rig = Rig(store=store, artifacts=artifacts, release_root=keystore.release_root())
        run_now(tokens.adopt(self.rig.controller, ADMIN, name="ann", role=Role.ADMIN, secret="secret"))
        self.app: FastAPI = create_app(self.rig.controller, mqtt_host="localhost", mqtt_port=8883)
        self.artifact = folder / "shop.tar.gz"
        self.artifact.write_bytes(b"shop" * 100_000)
        self.outcome = self.rig.succeed

    def work(self, _seconds: float = 0) -> None:
        """Let every device that was told to install something do so."""
        self.rig.pump()
        for name, device in self.rig.devices.items():
            if device.commands:
                device.commands[:-1] = []
                self.outcome(name)
                device.commands.clear()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    store = InlineStore()
    yield Installation(tmp_path, store)
    store.close()


@pytest.fixture
def tidegate(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setattr(client, "open_transport", lambda _context: InProcess(installation.app))
    monkeypatch.setenv("TIDEGATE_CONFIG", str(installation.folder / "config.toml"))
    monkeypatch.setenv("TIDEGATE_URL", "https://tidegate")
    monkeypatch.setenv("TIDEGATE_TOKEN", "secret")
    monkeypatch.setattr("controller.cli.app.PLUGINS", "tidegate.commands.none")
    monkeypatch.setattr("controller.cli.watch.time.sleep", installation.work)
    app = build()

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return invoke


def publish(tidegate: Invoke, installation: Installation, *more: str, version: str = "2.1.0") -> Result:
    key = str(installation.folder / "off" / "release.pem")
    artifact = str(installation.artifact)
    line = ["release", "publish", artifact, "--app", "shop", "--version", version, "--release-key", key]
    return tidegate(*line, "--expires", "3650d", *more)


def prepare(tidegate: Invoke, installation: Installation) -> None:
    assert publish(tidegate, installation).exit_code == 0
    file = installation.folder / "pipeline.yaml"
    file.write_text(PIPELINE)
    assert tidegate("pipeline", "apply", "-y", "-f", str(file)).exit_code == 0
    rig = installation.rig
    rig.enrol("k-1", ring="canary")
    rig.enrol("k-2", "k-3", ring="rest")
    rig.connect("k-1", "k-2", "k-3")


def test_a_release_is_signed_here_and_published_there(tidegate: Invoke, installation: Installation) -> None:
    assert "would be published" in publish(tidegate, installation, "--dry-run").stderr
    assert json.loads(tidegate("release", "list", "-o", "json").stdout) == []
    first = publish(tidegate, installation, "-o", "name")
    assert (first.exit_code, first.stdout) == (0, "shop/2.1.0/shop.tar.gz\n")
    again = publish(tidegate, installation)
    assert again.exit_code == 6
    assert "releases are immutable" in again.stderr
    root = str(installation.folder / "off" / "release-root.json")
    second = publish(tidegate, installation, "--release-root", root, "-o", "json", version="2.2.0")
    assert [(release["counter"], release["floor"]) for release in json.loads(second.stdout)] == [(2, 1)]
    assert "stored already" in second.stderr


def test_a_wrong_key_signs_nothing(tidegate: Invoke, installation: Installation) -> None:
    other = str(installation.folder / "on" / "director.pem")
    result = publish(tidegate, installation, "--release-key", other)
    assert result.exit_code == 1
    assert "release" in result.stderr
    assert json.loads(tidegate("release", "list", "-o", "json").stdout) == []


def test_a_run_goes_through_its_stages(tidegate: Invoke, installation: Installation) -> None:
    prepare(tidegate, installation)
    started = json.loads(tidegate("run", "start", "shop-update", "-o", "json").stdout)
    installation.work()
    assert "awaiting promotion" in tidegate("run", "status", started["id"]).stdout
    assert tidegate("run", "promote", started["id"]).exit_code == 0
    watched = tidegate("run", "watch", started["id"], "--timeout", "60s")
    assert watched.exit_code == 0, watched.output
    assert "rest: passed; 2 succeeded" in watched.stdout
    [run] = json.loads(tidegate("run", "list", "--ended", "-o", "json").stdout)
    assert run["state"] == "succeeded"
    targets = json.loads(tidegate("run", "targets", run["id"], "--stage", "rest", "-o", "json").stdout)
    assert sorted(target["device"] for target in targets) == ["k-2", "k-3"]
    assert "run.promote" in tidegate("audit", "list").stdout


def test_a_bad_release_is_stopped_by_its_gate(tidegate: Invoke, installation: Installation) -> None:
    prepare(tidegate, installation)
    installation.outcome = installation.rig.fail
    result = tidegate("run", "start", "shop-update", "--wait", "--timeout", "60s")
    assert result.exit_code == 5, result.output
    assert "ended: failed" in result.stderr


def test_a_paused_run_sends_nothing(tidegate: Invoke, installation: Installation) -> None:
    prepare(tidegate, installation)
    run = json.loads(tidegate("run", "start", "shop-update", "-o", "json").stdout)["id"]
    paused = json.loads(tidegate("run", "pause", run, "--reason", "wait", "-o", "json").stdout)
    assert paused["paused"] is True
    assert "‖" in tidegate("run", "status", run).stdout
    assert tidegate("run", "resume", run).exit_code == 0
    assert tidegate("run", "terminate", run, "--reason", "enough", "--yes").exit_code == 0


async def test_a_device_fetches_with_signed_requests(installation: Installation) -> None:
    installation.rig.enrol("k-1")
    device = installation.rig.devices["k-1"]
    path = "/v1/releases/root.json"

    def signed(for_path: str) -> dict[str, str]:
        request = DeviceRequest(
            device=device.name, method="GET", path=for_path, at=START, nonce="0" * 32, body_sha256=digest_of(b"")
        )
        envelope = seal(encode(request), PayloadType.REQUEST, device.key)
        return {"Authorization": f"Tidegate-DSSE {base64.b64encode(envelope).decode()}"}

    transport = httpx.ASGITransport(installation.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://tidegate") as http:
        assert (await http.get(path, headers=signed(path))).status_code == 200
        assert (await http.get(path, headers=signed("/v1/elsewhere"))).status_code == 401
        assert (await http.get("/v1/devices", headers=signed("/v1/devices"))).status_code == 401
