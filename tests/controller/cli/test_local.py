"""`tidegate init` and `serve`, and the commands that other packages add."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from controller.app.errors import InvalidRequest, StorageUnavailable
from controller.cli import app as app_module
from controller.cli.app import build
from controller.cli.commands.local import DEFAULTS, PASSWORD_VARIABLE
from controller.config import Settings
from controller.signing.keyfile import read_ed25519

ENTRY_POINTS: dict[str, Any] = {"hello": "tests.controller.cli.test_local:hello", "gone": "tests.nowhere:gone"}


def hello(name: str = "you") -> None:
    """Greet."""
    print(f"hello {name}")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    entries = [EntryPoint(name, value, app_module.PLUGINS) for name, value in ENTRY_POINTS.items()]
    monkeypatch.setattr(app_module, "entry_points", lambda group: entries if group == app_module.PLUGINS else [])
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    built = build()

    def invoke(*line: str) -> Result:
        return CliRunner().invoke(built, list(line))

    return invoke


def test_other_packages_add_commands_and_a_broken_one_stops_nothing(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("hello", "--name", "gate").stdout == "hello gate\n"
    assert "gone" not in run("--help").stdout
    assert "hello" in run("--help").stdout


def test_init_makes_both_folders_once(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ("init", str(tmp_path / "on"), "--offline", str(tmp_path / "off"), "--tenant", "acme", "--host", "gate.test")
    first = run(*line)
    assert first.exit_code == 0, first.output
    assert "not encrypted" in first.stderr
    assert (tmp_path / "on" / "tenant").read_text() == "acme\n"
    assert (tmp_path / "off" / "release.pem").exists()
    again = run(*line)
    assert again.exit_code == 1
    assert again.stderr.splitlines()[-1].startswith("error: ")
    assert run("init", str(tmp_path / "a"), "--offline", str(tmp_path / "b"), "--tenant", "No/Name").exit_code == 1


def test_init_encrypts_the_offline_keys(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "open sesame")
    result = run("init", str(tmp_path / "on"), "--offline", str(tmp_path / "off"))
    assert "not encrypted" not in result.stderr
    with pytest.raises(InvalidRequest):
        read_ed25519(tmp_path / "off" / "release.pem")
    read_ed25519(tmp_path / "off" / "release.pem", password=b"open sesame")


def test_serve_takes_flags_over_the_environment(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr("controller.bootstrap.serve", served.append)
    monkeypatch.setenv("TIDEGATE_HTTP_PORT", "1111")
    monkeypatch.setenv("TIDEGATE_MQTT_PORT", "2222")
    result = run("serve", "--folder", "here", "--http-port", "3333", "--log-format", "json")
    assert result.exit_code == 0, result.output
    [settings] = served
    assert (settings.folder, settings.http_port, settings.mqtt_port) == (Path("here"), 3333, 2222)


def test_serve_says_what_is_wrong(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_HTTP_PORT", "99999")
    result = run("serve", "--log-format", "xml")
    assert result.exit_code == 2
    assert "http_port: " in result.stderr
    assert "log_format: " in result.stderr
    monkeypatch.delenv("TIDEGATE_HTTP_PORT")
    for port in ("99999", "-1"):
        assert run("serve", "--mqtt-port", port).exit_code == 2

    def fail(_settings: Any) -> None:
        raise StorageUnavailable("the port is taken")

    monkeypatch.setattr("controller.bootstrap.serve", fail)
    assert "the port is taken" in run("serve").stderr


def test_the_defaults_that_are_shown_are_those_in_force(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DEFAULTS:
        monkeypatch.delenv(f"TIDEGATE_{name.upper()}", raising=False)
    settings = Settings()
    assert {name: str(getattr(settings, name)) for name in DEFAULTS} == DEFAULTS
    shown = run("serve", "--help").stdout
    assert all(value in shown for value in DEFAULTS.values())


@pytest.mark.parametrize("name", ["init", "serve"])
def test_what_is_done_here_has_no_options_of_a_controller_elsewhere(name: str, run: Any) -> None:
    shown = run(name, "--help").stdout
    for option in ("--url", "--token", "--ca", "--context", "--output"):
        assert option not in shown.split()
