"""Make release archives: the same folder and version always make the same bytes."""

import gzip
import io
import tarfile
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import msgspec

from protocol.ids import Digest, digest_of

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"
MANIFEST: Final = "app.json"
VERSION_MARK: Final = b"{version}"
_MODE: Final = 0o644


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """An archive, ready to be signed and uploaded. `length` in bytes."""

    path: Path
    version: str
    sha256: Digest
    length: int


def example(name: str) -> Path:
    """Return the folder of an example.

    Raises:
        FileNotFoundError: when it is not there: the examples come with the source, not with the installed package.
    """
    folder = EXAMPLES / name
    if not folder.exists():
        raise FileNotFoundError(f"{folder} is missing: run this from a checkout of Tidegate")
    return folder


def build(folder: Path, version: str, *, out: Path, left_out: AbstractSet[str] = frozenset()) -> Package:
    """Pack the files of *folder* as ``<name>-<version>.tar.gz``.

    Owners, times and order are fixed, and ``{version}`` in ``app.json`` becomes *version*.

    Args:
        folder: what to pack; files only, no folders below it.
        version: of the release.
        out: where the archive goes.
        left_out: names of files that are not packed.
    """
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.name not in left_out:
                data = path.read_bytes()
                if path.name == MANIFEST:
                    data = data.replace(VERSION_MARK, version.encode())
                member = tarfile.TarInfo(path.name)
                member.size, member.mode = len(data), _MODE
                tar.addfile(member, io.BytesIO(data))
    raw = buffer.getvalue()
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"{folder.name}-{version}.tar.gz"
    archive.write_bytes(raw)
    return Package(path=archive, version=version, sha256=digest_of(raw), length=len(raw))
