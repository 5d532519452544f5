"""Files that commands take, and how what is wrong with them is shown."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from controller.cli.failures import CliError

if TYPE_CHECKING:
    from controller.domain.validation import Fault


def line_of(file: Path, fault: "Fault") -> str:
    """Return a fault as editors read it: file, line, column, place, message."""
    line, column, message = fault.message.split(":", 2)
    return f"{file}:{line}:{column}:{f' {fault.place}:' if fault.place else ''}{message}"


def read_file(file: Path) -> bytes:
    """Return what *file* holds, or as much of it as shows that it is too long.

    Raises:
        CliError: when it cannot be read.
    """
    from controller.documents import BYTES_MAX

    if str(file) == "-":
        return typer.get_binary_stream("stdin").read(BYTES_MAX + 1)
    try:
        with file.open("rb") as opened:
            return opened.read(BYTES_MAX + 1)
    except OSError as error:
        raise CliError(f"{file}: {error.strerror}") from error
