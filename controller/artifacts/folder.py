"""Artifacts in a local folder, by content: ``ab/cdef…`` holds the bytes whose SHA-256 is ``abcdef…``.

The rules this module keeps:

1. A file with a digest for its name holds exactly those bytes: written beside, synced, and renamed into place.
2. What was not finished is removed: at once when the process lives, at the next start when it does not.
3. The event loop never waits for the disk in `put`; `size` and `read` are for callers with threads of their own.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from controller.app.errors import InvalidRequest, NotFound, StorageUnavailable
from protocol.ids import Digest, parse_digest

READ_BYTES: Final = 262_144
WRITE_BYTES: Final = 1_048_576
"""How much is gathered before a thread writes it: a hop to a thread costs as much as writing 100 KB."""

Open = Callable[[Path], tuple[BinaryIO, Path]]


def open_part(folder: Path) -> tuple[BinaryIO, Path]:
    """Create a new file in *folder* to write to."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="put-")
    return os.fdopen(descriptor, "wb", buffering=0), Path(name)


class ArtifactFolder:
    """Content-addressed files; implements `controller.app.ports.Artifacts`.

    One process writes at a time: at its start it removes what an earlier one left unfinished.
    """

    def __init__(self, folder: Path, *, open_part: Open = open_part) -> None:
        """Take the folder, which is made where it does not exist, and how a file to write to is opened.

        Raises:
            StorageUnavailable: when the folder cannot be made or cleaned.
        """
        self._folder = folder
        self._parts = folder / "parts"
        self._open_part = open_part
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
            for left_over in self._parts.iterdir():
                left_over.unlink()
        except OSError as error:
            raise StorageUnavailable(f"cannot use {folder} for artifacts: {error.strerror}") from error

    async def put(self, chunks: AsyncIterator[bytes], *, expected: Digest, length: int) -> None:
        """Store a stream whose SHA-256 and length are known; nothing half-written ever becomes visible.

        Raises:
            InvalidRequest: when the bytes are not those; then nothing is kept. More than *length* bytes are not read.
            StorageUnavailable: when the disk is full or broken.
        """
        target = self._path(expected)
        upload = await asyncio.to_thread(self._begin)
        try:
            await _copy(chunks, upload, length)
            upload.check(expected, length)
            await asyncio.to_thread(upload.finish, target)
        finally:
            # Not awaited: a cancelled request has to be cleaned up as well, and this is one quick call.
            upload.discard()

    def _begin(self) -> "_Upload":
        try:
            return _Upload(*self._open_part(self._parts))
        except OSError as error:
            raise StorageUnavailable(f"cannot store artifacts: {error.strerror}") from error

    def _path(self, digest: Digest) -> Path:
        text = parse_digest(digest)  # an artifact's name never comes from outside unchecked
        return self._folder / text[:2] / text[2:]

    def size(self, digest: Digest) -> int | None:
        """Return the length in bytes, or None where the artifact is not stored."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageUnavailable(f"cannot read artifact {digest[:16]}: {error.strerror}") from error

    def read(self, digest: Digest, *, start: int, length: int) -> Iterator[bytes]:
        """Yield *length* bytes from *start*, or fewer where the artifact ends, in chunks of at most 256 KiB.

        Raises:
            NotFound: at the call, when the artifact is not stored.
            InvalidRequest: at the call, when *start* or *length* is negative.
            StorageUnavailable: when the disk is broken.
        """
        if start < 0 or length < 0:
            raise InvalidRequest(f"range of {length} bytes from {start}: expected neither to be negative")
        try:
            file = self._path(digest).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise NotFound(f"artifact {digest} is not stored") from error
        except OSError as error:
            raise StorageUnavailable(f"cannot read artifact {digest[:16]}: {error.strerror}") from error
        return _read(file, start, length)


async def _copy(chunks: AsyncIterator[bytes], upload: "_Upload", length: int) -> None:
    """Write the stream in large pieces, and stop at the first byte too many."""
    gathered = bytearray()
    async for chunk in chunks:
        gathered += chunk
        if upload.length + len(gathered) > length:
            raise InvalidRequest(f"artifact is longer than {length} bytes, which were announced")
        if len(gathered) >= WRITE_BYTES:
            await asyncio.to_thread(upload.write, bytes(gathered))
            gathered.clear()
    await asyncio.to_thread(upload.write, bytes(gathered))


def _read(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    with file:
        try:
            file.seek(start)
            while length > 0 and (chunk := file.read(min(length, READ_BYTES))):
                length -= len(chunk)
                yield chunk
        except OSError as error:
            raise StorageUnavailable(f"cannot read an artifact: {error.strerror}") from error


class _Upload:
    """A file that is being written and is not an artifact yet."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._hash = hashlib.sha256()
        self.length = 0

    def write(self, data: bytes) -> None:
        """Append *data*."""
        self._hash.update(data)
        self.length += len(data)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise StorageUnavailable(f"cannot store the artifact: {error.strerror}") from error

    def check(self, expected: Digest, length: int) -> None:
        """Raise `InvalidRequest` when the bytes are not the announced ones."""
        if self.length != length:
            raise InvalidRequest(f"artifact of {self.length} bytes: {length} were announced")
        if self._hash.hexdigest() != expected:
            raise InvalidRequest(f"artifact has sha256 {self._hash.hexdigest()}: {expected} was announced")

    def finish(self, target: Path) -> None:
        """Make the bytes durable, then visible."""
        try:
            os.fsync(self._file.fileno())
            target.parent.mkdir(exist_ok=True)
            self._path.replace(target)
            for folder in (target.parent, target.parent.parent):
                _sync_folder(folder)
        except OSError as error:
            raise StorageUnavailable(f"cannot store the artifact: {error.strerror}") from error

    def discard(self) -> None:
        """Close, and remove what has not become an artifact."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
