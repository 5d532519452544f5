from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from simulator.commands import demo, simulate


def app() -> typer.Typer:
    made = typer.Typer()
    made.command("simulate")(simulate)
    made.command("demo")(demo)
    return made


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--behaviours", "lazy=5%"], "names are fast, slow"),
        (["--labels", "region"], "expected key=value:weight"),
        (["--model", "kiosk-1:0"], "expected model:weight"),
        (["--labels", "region=eu"], "--labels needs --token"),
    ],
)
def test_options_that_cannot_be_read_are_told_of(tmp_path: Path, options: list[str], told: str) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("no certificate")
    where = ["--url", "https://localhost:1", "--ca", str(ca), "--claim", "c"]
    done = CliRunner().invoke(app(), ["simulate", *where, *options], env={"COLUMNS": "200", "TIDEGATE_TOKEN": ""})
    assert done.exit_code == 2
    assert told in " ".join(done.output.replace("│", " ").split())


def test_a_controller_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("no certificate")
    done = CliRunner().invoke(app(), ["simulate", "--url", "https://localhost:1", "--ca", str(ca), "--claim", "c"])
    assert done.exit_code == 1
    assert "simulate:" in done.stderr


def test_a_demo_needs_some_devices() -> None:
    assert CliRunner().invoke(app(), ["demo", "--devices", "1"]).exit_code == 2
