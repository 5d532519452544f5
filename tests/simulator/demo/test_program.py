import json
import os
import signal
from pathlib import Path

import msgspec
import pytest

from controller.cli.failures import CliError
from controller.http.app import OPENAPI_PATH
from simulator.brokers import BrokerMissing
from simulator.demo import program
from simulator.demo.cast import Cast
from simulator.demo.program import Options
from simulator.demo.screen import Screen
from simulator.demo.story import Story
from simulator.installation import Installation
from simulator.processes import Processes, ProcessFailed
from tests.simulator.demo.stories import STORY

CAST = Cast(devices=10, agents=0, seed=7)


def plays(monkeypatch: pytest.MonkeyPatch, told: Story | BaseException) -> list[Path]:
    """Let the demo play *told* in no time; return where it plays."""
    folders: list[Path] = []

    def play(_options: Options, folder: Path, _screen: Screen) -> Story:
        folders.append(folder)
        if isinstance(told, BaseException):
            raise told
        return told

    monkeypatch.setattr(program, "_play", play)
    return folders


def test_when_all_went_well_the_temporary_folder_goes_and_the_result_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = plays(monkeypatch, STORY)
    assert program.main(Options(cast=CAST, as_json=True)) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 7
    assert not folders[0].exists()


def test_a_folder_that_was_named_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plays(monkeypatch, STORY)
    assert program.main(Options(cast=CAST, folder=tmp_path / "new")) == 0
    assert (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        (msgspec.structs.replace(STORY, versions={"box-1": "1.1.0"}), 1, "NOT AS EXPECTED"),
        (CliError("the controller cannot be reached"), 1, "The demo failed: the controller cannot be reached"),
        (BrokerMissing("mosquitto is not installed"), 1, "The demo failed: mosquitto is not installed"),
        (ProcessFailed("simulate ended"), 1, "The demo failed: simulate ended"),
        (KeyboardInterrupt(), 3, "every process has ended"),
    ],
)
def test_every_other_end_has_its_code_and_says_where_the_logs_are(
    *,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    told: Story | BaseException,
    code: int,
    words: str,
) -> None:
    plays(monkeypatch, told)
    before = signal.getsignal(signal.SIGTERM)
    assert program.main(Options(cast=CAST, folder=tmp_path)) == code
    said = capsys.readouterr().out
    assert words in said
    assert ("The logs are in" in said) == (code == 1)
    assert signal.getsignal(signal.SIGTERM) is before


def interrupted(_: float) -> None:
    """Do what Python makes of Ctrl-C, also where the tests run with SIGINT ignored."""
    raise KeyboardInterrupt


def test_staying_up_prints_what_to_type_and_ends_at_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Processes(tmp_path) as processes:
        installation = Installation(tmp_path, processes)
        installation.online.mkdir()
        (installation.online / "admin.token").write_text("tgp_secret\n")
        monkeypatch.setattr("time.sleep", interrupted)
        program._stay(installation, processes, Screen(program._console(Options(cast=CAST))))
    said = capsys.readouterr().out
    assert f"export TIDEGATE_URL=https://localhost:{installation.http_port}" in said
    assert "export TIDEGATE_TOKEN=tgp_secret" in said
    assert "tidegate run list" in said
    assert f"$TIDEGATE_URL{OPENAPI_PATH}" in said
    for path in ("/metrics", "/readyz"):
        assert f"curl --cacert $TIDEGATE_CA $TIDEGATE_URL{path}" in said
    assert "/v1\n" not in said


def test_what_to_type_fits_a_narrow_terminal() -> None:
    path, *commands = program._COMMANDS
    assert path.startswith("export PATH=")
    assert max(len(command) for command in commands) <= 78


@pytest.mark.parametrize("number", program._SIGNALS)
def test_each_polite_signal_ends_it_and_the_folder_goes(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    folders: list[Path] = []

    def play(_options: Options, folder: Path, _screen: Screen) -> Story:
        folders.append(folder)
        signal.raise_signal(number)
        return STORY

    monkeypatch.setattr(program, "_play", play)
    assert program.main(Options(cast=CAST)) == 3
    assert not folders[0].exists()


def test_a_screen_that_nobody_reads_any_more_ends_it_and_the_folder_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    reading, writing = os.pipe()
    os.close(reading)

    def play(_options: Options, folder: Path, screen: Screen) -> Story:
        folders.append(folder)
        screen.say("is anybody there?")
        raise AssertionError("nobody is, and that ends it")

    monkeypatch.setattr(program, "_play", play)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert program.main(Options(cast=CAST)) == 3
    assert not folders[0].exists()
