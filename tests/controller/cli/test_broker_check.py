"""`tidegate broker-check`: what it prints, and how it ends."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.cli.app import build
from controller.mqtt.check import program
from controller.mqtt.check.catalogue import CHECKS
from controller.mqtt.check.findings import Finding, Report, failed, not_checked, passed
from controller.mqtt.check.site import Site
from protocol.profiles import Profile
from simulator.brokers import Kind
from simulator.processes import Processes
from tests.brokers import needs
from tests.controller.mqtt.check.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Processes(tmp_path) as processes:
        yield World(Kind.MOSQUITTO, tmp_path, processes)


def check(*line: str) -> Result:
    return CliRunner().invoke(build(), ["broker-check", *line])


def answer(monkeypatch: pytest.MonkeyPatch, *findings: Finding, profile: Profile | None = Profile.MQTT5) -> list[Site]:
    """Have the probe find this; return the sites that it is given."""
    sites: list[Site] = []

    def probe(site: Site, *, say: object) -> Report:
        sites.append(site)
        return Report(findings=findings, profile=profile)

    monkeypatch.setattr(program, "probe", probe)
    return sites


@needs(Kind.MOSQUITTO)
def test_a_real_broker_is_checked_and_the_answer_is_data(world: World) -> None:
    world.edit({"use_username_as_clientid true\n": ""})
    world.broker.start()

    result = check(world.broker.url, "--folder", str(world.keys), "--devices", world.broker.devices, "--output", "json")

    assert result.exit_code == 5, result.output
    told = json.loads(result.stdout)
    found = {row["check"]: row for row in told["checks"]}
    assert told["verdict"] == "unsafe"
    assert told["profile"] == "mqtt5"
    assert found["device-id"]["verdict"] == "unsafe"
    assert "use_username_as_clientid" in found["device-id"]["remedy"]
    assert found["traffic"]["verdict"] == "ok"
    assert "checking rights" in result.stderr


@needs(Kind.MOSQUITTO)
def test_the_table_ends_with_what_is_wrong_and_the_profile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ("mqtts://gate.test", "--folder", str(world.keys))
    sites = answer(monkeypatch, passed("tls", "TLSv1.3"), failed("delay", "180 ms"), not_checked("restart", "no"))
    result = check(*line, "--devices", "devices.test:1234")
    assert result.exit_code == 0, result.output
    assert "set_tcp_nodelay true" in result.stdout
    assert result.stdout.rstrip().splitlines()[-1] == "TIDEGATE_BROKER_PROFILE=mqtt5"
    [site] = sites
    assert (site.controller.host, site.controller.port) == ("gate.test", 8883)
    assert (site.devices.host, site.devices.port) == ("devices.test", 1234)
    assert site.restart is None

    answer(monkeypatch, failed("plain", "let in"))
    assert check(*line).exit_code == 5
    answer(monkeypatch, not_checked("tls", "nobody was let in"), profile=None)
    refused = check(*line)
    assert refused.exit_code == 5
    assert "no profile was found" in refused.stdout


@needs(Kind.MOSQUITTO)
def test_a_broker_that_is_not_there_is_one_finding_and_one_line(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    result = check(f"mqtts://127.0.0.1:{port}", "--folder", str(world.keys))

    assert result.exit_code == 5, result.output
    assert f"unreachable: 127.0.0.1:{port}: Connection refused" in result.stdout
    lines = [line for line in result.stdout.splitlines() if line.startswith("not checked")]
    assert lines == [
        f"not checked: {len(CHECKS) - 1} more: unreachable: 127.0.0.1:{port}: Connection refused",
    ]


@needs(Kind.MOSQUITTO)
def test_the_restart_command_is_run_without_a_shell(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from controller.mqtt.check.peer import Refused

    sites = answer(monkeypatch, passed("tls", "TLSv1.3"))
    mark = world.keys / "a mark"
    check("mqtts://gate.test", "--folder", str(world.keys), "--allow-restart", f"touch '{mark}'")
    check("mqtts://gate.test", "--folder", str(world.keys), "--allow-restart", "false")
    first, second = sites
    assert first.restart is not None
    first.restart()
    assert mark.exists()
    assert second.restart is not None
    with pytest.raises(Refused, match="could not be restarted"):
        second.restart()


@needs(Kind.MOSQUITTO)
def test_what_is_used_wrongly_is_told(world: World, tmp_path: Path) -> None:
    assert check("mqtts://gate.test", "--folder", str(tmp_path / "none")).exit_code == 1
    wrong = check("https://gate.test", "--folder", str(world.keys))
    assert wrong.exit_code == 2
    assert "mqtts://" in wrong.stderr
    assert check("mqtts://gate.test", "--folder", str(world.keys), "--devices", "nowhere").exit_code == 2
    assert check("mqtts://gate.test", "--folder", str(world.keys), "--ca", str(tmp_path / "none")).exit_code == 1


@needs(Kind.MOSQUITTO)
def test_the_settings_of_the_controller_are_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no password stands on the command line, where every user of the machine can read it."""
    sites = answer(monkeypatch, passed("tls", "TLSv1.3"))
    for name, value in {**world.broker.environment, "TIDEGATE_FOLDER": str(world.keys)}.items():
        monkeypatch.setenv(name, value)
    result = check()
    assert result.exit_code == 0, result.output
    [site] = sites
    assert site.controller.password
    assert (site.controller.port, site.devices.port) == (world.broker.controller_port, world.broker.device_port)
    assert site.controller.password not in check("--help").output
