"""`tidegate broker config`: files that nothing overwrites by accident, and words on what to do next."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from controller.cli.app import build
from controller.clock import SystemClock
from controller.signing.installation import initialise
from protocol.ids import TenantId

MOSQUITTO = {"mosquitto.conf", "devices.acl", "controller.acl", "passwords"}
COMMON = {"ca.crt", "server.crt", "server.key", "tidegate.env"}
PRIVATE = {"server.key", "tidegate.env", "passwords", "nats.conf"}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "on"
    initialise(folder, tmp_path / "off", tenant=TenantId("acme"), hosts=["localhost"], at=SystemClock().now())
    return folder


def run(*line: str | Path) -> Result:
    return CliRunner().invoke(build(), ["broker", "config", *map(str, line)])


@pytest.mark.parametrize(("kind", "own"), [("mosquitto", MOSQUITTO), ("nats", {"nats.conf"})])
def test_it_writes_what_the_broker_needs_and_says_what_comes_next(
    kind: str, own: set[str], keys: Path, tmp_path: Path
) -> None:
    to = tmp_path / "broker"
    done = run(kind, "--folder", keys, "--to", to, "--host", "mqtt.example", "--device-port", "1884")
    assert done.exit_code == 0, done.output
    assert {path.name for path in to.iterdir() if path.is_file()} == COMMON | own
    assert done.stdout.splitlines() == [str(to / name) for name in _names(done)]
    for path in to.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.name not in PRIVATE | {"data"}
    settings = (to / "tidegate.env").read_text()
    assert "TIDEGATE_BROKER_DEVICES=mqtt.example:1884\n" in settings
    password = settings.partition("@")[0].rpartition(":")[2]
    assert len(password) == 64
    assert password not in done.output
    assert "TIDEGATE_BROKER_DEVICES=mqtt.example:1884" in done.stderr
    assert f"{to / 'tidegate.env'}" in done.stderr


def test_no_secret_is_spoken_of_where_there_is_none(keys: Path, tmp_path: Path) -> None:
    line = ("--folder", keys, "--host", "mqtt.example")
    assert "holds its password" in run("nats", *line, "--to", tmp_path / "shared").stderr
    own = run("nats", *line, "--to", tmp_path / "own", "--device", "acme:kiosk-17")
    assert "@" not in (tmp_path / "own" / "tidegate.env").read_text()
    assert "password" not in own.stderr


def _names(done: Result) -> list[str]:
    return [Path(line).name for line in done.stdout.splitlines()]


def test_the_certificate_is_for_every_address_that_is_told(keys: Path, tmp_path: Path) -> None:
    names = ("--host", "mqtt.example", "--host", "192.0.2.7", "--bind", "192.0.2.8")
    assert run("mosquitto", "--folder", keys, "--to", tmp_path / "b", *names).exit_code == 0
    certificate = x509.load_pem_x509_certificate((tmp_path / "b" / "server.crt").read_bytes())
    hosts = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(host.value) for host in hosts] == ["mqtt.example", "192.0.2.7", "192.0.2.8"]


def test_nothing_is_overwritten_unless_that_is_asked_for(keys: Path, tmp_path: Path) -> None:
    to = tmp_path / "broker"
    line = ("mosquitto", "--folder", keys, "--to", to)
    assert run(*line).exit_code == 0
    for path in to.iterdir():
        if path.name not in {"server.key", "data"}:
            path.unlink()
    before = (to / "server.key").read_bytes()
    again = run(*line)
    assert again.exit_code == 1
    assert "server.key already: pass --force" in again.stderr
    assert {path.name for path in to.iterdir()} == {"server.key", "data"}
    assert run(*line, "--force").exit_code == 0
    assert (to / "server.key").read_bytes() != before


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (("mosquitto", "--host", "no/host"), "no/host"),
        (("mosquitto", "--controller-port", "8883"), "port 8883"),
        (("nats", "--device", "nobody"), "nobody"),
        (("nats", "--folder", "/nowhere"), "/nowhere"),
    ],
)
def test_it_says_what_is_wrong_and_writes_nothing(
    line: tuple[str, ...], complaint: str, keys: Path, tmp_path: Path
) -> None:
    done = run(line[0], "--folder", keys, "--to", tmp_path / "b", *line[1:])
    assert done.exit_code == 1
    assert complaint in done.stderr
    assert not (tmp_path / "b").exists()
