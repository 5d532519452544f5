"""The pictures of `docs/explanation/`, each by the command that draws it, as its page says.

``make docs`` writes them anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from typer.testing import CliRunner

from controller.cli.app import build
from tests.docs import tables

FOLDER: Final = tables.FOLDER.parent / "explanation"
PLOTS: Final[Mapping[str, str]] = {
    "gate-evidence.svg": "gate plot evidence",
    "gate-stops.svg": "gate plot stops",
    "ramp.svg": "gate plot ramp",
}


def drawn(command: str) -> str:
    """Return what a command draws."""
    done = CliRunner().invoke(build(), command.split())
    assert done.exit_code == 0, done.output
    return done.stdout


def write(folder: Path) -> None:
    """Draw all pictures into a folder."""
    for name, command in PLOTS.items():
        (folder / name).write_text(drawn(command))
