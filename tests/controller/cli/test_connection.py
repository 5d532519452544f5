"""What a person is told when the controller cannot be spoken to."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from controller.cli import client
from controller.cli.app import build
from controller.cli.client import Client
from controller.cli.connection import explain, require_https
from controller.cli.contexts import Context
from controller.cli.failures import CliError, ExitCode
from controller.clock import SystemClock
from controller.signing.installation import initialise
from controller.signing.keystore import CA_CERTIFICATE, Keystore
from tests.controller.app.rig import TENANT

Answer = Callable[[socket.socket], None]
Run = Callable[..., Result]

NOTHING_FOUND = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


def keystore(folder: Path, *hosts: str) -> Keystore:
    offline = folder.with_name(f"{folder.name}-offline")
    return initialise(folder, offline, tenant=TENANT, hosts=list(hosts), at=SystemClock().now())


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Keystore:
    return keystore(tmp_path_factory.mktemp("a") / "on", "localhost", "127.0.0.1")


def serve(listener: socket.socket, answer: Answer) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                answer(connection)
            except OSError:
                continue


@pytest.fixture
def listen() -> Iterator[Callable[[Answer], int]]:
    """Answer each connection to a free port with a function."""
    listeners: list[socket.socket] = []

    def start(answer: Answer) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def over_tls(context: ssl.SSLContext) -> Answer:
    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65_536)
            secured.sendall(NOTHING_FOUND)

    return answer


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("TIDEGATE_CONFIG", str(tmp_path / "config.toml"))
    for name in ("URL", "TOKEN", "CA"):
        monkeypatch.delenv(f"TIDEGATE_{name}", raising=False)
    monkeypatch.setattr("controller.cli.app.PLUGINS", "tidegate.commands.none")
    monkeypatch.setattr(client._again, "sleep", lambda _seconds: None)
    app = build()

    def invoke(url: str, ca: Path | str = "", token: str = "t") -> Result:
        return CliRunner().invoke(app, ["job", "list", "--url", url, "--ca", str(ca), "--token", token, "-o", "name"])

    return invoke


def test_a_controller_with_its_ca_answers(run: Run, listen: Callable[[Answer], int], installation: Keystore) -> None:
    port = listen(over_tls(installation.server_context(require_client=False)))
    result = run(f"https://127.0.0.1:{port}", installation.folder / CA_CERTIFICATE)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_certificate_of_another_ca_is_told(
    run: Run, listen: Callable[[Answer], int], installation: Keystore, tmp_path: Path
) -> None:
    url = f"https://127.0.0.1:{listen(over_tls(installation.server_context(require_client=False)))}"
    advice = "pass --ca installation/ca.crt (or set TIDEGATE_CA)"
    other = keystore(tmp_path / "on", "localhost").folder / CA_CERTIFICATE
    for ca, authority in (("", "the system's authorities"), (other, str(other))):
        result = run(url, ca)
        assert result.exit_code == 1
        assert result.stderr == f"error: the certificate of {url} is not signed by {authority}: {advice}\n"


def test_a_certificate_for_other_names_is_told(run: Run, listen: Callable[[Answer], int], tmp_path: Path) -> None:
    made = keystore(tmp_path / "on", "gate.example")
    port = listen(over_tls(made.server_context(require_client=False)))
    for host in ("localhost", "127.0.0.1"):
        result = run(f"https://{host}:{port}", made.folder / CA_CERTIFICATE)
        assert result.exit_code == 1
        assert f"the certificate of the controller is not for {host}: use one of its names" in result.stderr


def test_another_protocol_is_told(run: Run, listen: Callable[[Answer], int], installation: Keystore) -> None:
    def shut(connection: socket.socket) -> None:
        connection.recv(1)

    mqtt = over_tls(installation.server_context(require_client=True))
    for answer in (mqtt, shut, lambda connection: connection.sendall(b"220 mail\r\n")):
        url = f"https://127.0.0.1:{listen(answer)}"
        result = run(url, installation.folder / CA_CERTIFICATE)
        assert result.exit_code == 1
        assert result.stderr == f"error: {url} answers no HTTPS: is that the MQTT port?\n"


def test_a_controller_that_does_not_run_is_told(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
    result = run(url)
    assert result.exit_code == 1
    assert result.stderr == f"error: {url} cannot be reached: is the controller running (tidegate serve)?\n"


def test_a_ca_file_that_is_none_is_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    result = run("https://localhost", file)
    assert (result.exit_code, result.stderr) == (1, f"error: {file} does not exist\n")
    file.write_text("hello")
    result = run("https://localhost", file)
    assert (result.exit_code, result.stderr) == (1, f"error: {file} holds no PEM certificate\n")


@pytest.mark.parametrize(
    "url", ["localhost:8443", "localhost", "http://localhost:8443", "https://", "https://h:port", "https://h:99999"]
)
def test_an_address_of_another_form_is_wrong_use(url: str, run: Run) -> None:
    result = run(url)
    assert (result.exit_code, result.stderr) == (2, f"error: {url}: expected https://host:port\n")


@pytest.mark.parametrize("url", ["https://localhost:8443", "https://[::1]:8443/", "https://gate.example"])
def test_an_https_address_is_taken(url: str) -> None:
    require_https(url)


def test_without_a_token_nothing_is_sent(run: Run) -> None:
    result = run("https://localhost", token="")
    assert result.exit_code == 4
    assert result.stderr == (
        "error: no token: set TIDEGATE_TOKEN or --token; the first one is in admin.token of the installation's folder\n"
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ConnectTimeout("timed out"), "cannot be reached: there was no answer in time"),
        (httpx.ReadError("reset"), "cannot be reached: reset"),
    ],
)
def test_a_controller_that_was_there_is_not_taken_for_another_service(error: httpx.HTTPError, told: str) -> None:
    context = Context(url="https://gate")
    assert str(explain(error, context, has_answered=True)) == f"https://gate {told}"


def distrust() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 10, "certificate has expired"
    return error


def test_an_unknown_host_and_an_expired_certificate_are_told() -> None:
    context = Context(url="https://gate")
    expired = distrust()
    for cause, told in (
        (socket.gaierror(-2, "unknown"), "cannot be reached: there is no host of that name"),
        (expired, "is not valid: certificate has expired"),
    ):
        error = httpx.ConnectError("failed")
        error.__cause__ = cause
        assert told in str(explain(error, context, has_answered=False))


def test_a_distrusted_controller_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        tries.append(request.method)
        raise httpx.ConnectError("no") from distrust()

    monkeypatch.setattr(client, "open_transport", lambda _context: httpx.MockTransport(refuse))
    with pytest.raises(CliError) as told:
        Client(Context(url="https://gate", token="t")).get("/v1/jobs")
    assert (told.value.code, tries) == (ExitCode.ERROR, ["GET"])
