"""Unpack an archive that may be hostile.

The rules this module keeps:

1. Only files, folders, and links whose target stays inside are made; the standard library's ``data`` filter
   refuses absolute names, ``..``, devices, and links that lead outside, and strips odd permissions (PEP 706).
2. Size and number of members are counted while unpacking, so a bomb stops at its limit.
"""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Final

from agent.errors import Aborted, StepFailed
from protocol.reasons import Reason

MEMBERS_MAX: Final = 100_000
FOLDER_MODE: Final = 0o755


def unpack(archive: Path, folder: Path, *, bytes_max: int, called_off: Event) -> None:
    """Unpack *archive* (tar, plain, gzip or xz) into the new *folder*.

    Raises:
        StepFailed: when it is no such archive, holds what it must not, or is too big.
        Aborted: when the step is called off.
    """
    folder.mkdir(mode=FOLDER_MODE)
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in _checked(tar, bytes_max, called_off):
                tar.extract(member, folder, set_attrs=True, numeric_owner=False, filter="data")
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, ValueError, RecursionError) as error:
        raise StepFailed(Reason.INSTALL_FAILED, f"the archive cannot be unpacked: {error}") from error


def _checked(tar: tarfile.TarFile, bytes_max: int, called_off: Event) -> Iterator[tarfile.TarInfo]:
    size = 0
    for count, member in enumerate(tar, start=1):
        if called_off.is_set():
            raise Aborted("the installation was called off")
        size += member.size if member.isreg() else 0
        if size > bytes_max or count > MEMBERS_MAX:
            detail = f"the archive unpacks to more than {bytes_max} bytes or {MEMBERS_MAX} files"
            raise StepFailed(Reason.INSTALL_FAILED, detail)
        if member.issparse():
            raise StepFailed(Reason.INSTALL_FAILED, f"the archive holds a sparse file: {member.name[:200]!r}")
        yield member
