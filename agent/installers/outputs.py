"""What an installed release tells of itself: ``outputs.json`` in a folder whose path is in `VARIABLE`.

Its service, or the command of its probe, writes there a JSON object of names to numbers or short text
(`protocol.outputs`), best under another name first and then renamed, and again whenever it likes. It is read when the
verification ends, and while the app is watched as often as the command asks for (`agent.core.measures`).

The rules this module keeps:

1. What an app leaves there is a stranger's: no link is followed, no pipe waited for, no more read than may be reported.
2. Outputs that break a limit are refused as a whole: half of them would be a wrong result.
"""

import os
import stat
from pathlib import Path
from typing import Final

from agent.errors import OutputsRefused
from agent.files import remove
from protocol.errors import MalformedMessage
from protocol.outputs import OUTPUTS_BYTES_MAX, Outputs, parse_outputs

VARIABLE: Final = "TIDEGATE_OUTPUTS"
NAME: Final = "outputs.json"
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def folder_of(home: Path) -> Path:
    """Return the folder of an app, by the folder that has all of its releases."""
    return home / "outputs"


def forget(home: Path) -> None:
    """Empty the folder: what one release told is not that of the one after it, nor of the one before it.

    Raises:
        OSError: when something in it cannot be removed.
    """
    remove(folder_of(home))
    folder_of(home).mkdir()


def read(home: Path) -> Outputs:
    """Return what was told, nothing where there is no file.

    Raises:
        OutputsRefused: when it is no plain file, or none of the kind that may be reported.
    """
    try:
        raw = _raw(folder_of(home))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutputsRefused(f"{NAME} cannot be read: {error.strerror}") from error
    try:
        return parse_outputs(raw)
    except MalformedMessage as error:
        raise OutputsRefused(f"{NAME}: {error}") from error


def _raw(folder: Path) -> bytes:
    within = os.open(folder, _FOLDER_FLAGS)
    try:
        handle = os.open(NAME, _FILE_FLAGS, dir_fd=within)
    finally:
        os.close(within)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OutputsRefused(f"{NAME} is no plain file")
        return file.read(OUTPUTS_BYTES_MAX + 1)
