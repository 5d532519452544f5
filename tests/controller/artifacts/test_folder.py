"""Artifacts in a folder: whole or absent, whatever happens on the way."""

import asyncio
import errno
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.app.errors import InvalidRequest, NotFound, StorageUnavailable
from controller.artifacts.folder import READ_BYTES, WRITE_BYTES, ArtifactFolder, _read, open_part
from protocol.errors import InvalidName
from protocol.ids import Digest, digest_of

DATA = bytes(range(256)) * 4_000
"""About 1 MB, so that reading takes several chunks."""


async def stream(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


async def stored(folder: Path, data: bytes = DATA) -> tuple[ArtifactFolder, Digest]:
    artifacts, digest = ArtifactFolder(folder), digest_of(data)
    await artifacts.put(stream(data), expected=digest, length=len(data))
    return artifacts, digest


async def test_what_is_put_can_be_read_again(folder: Path) -> None:
    artifacts, digest = await stored(folder)

    chunks = list(artifacts.read(digest, start=0, length=len(DATA)))

    assert b"".join(chunks) == DATA
    assert max(map(len, chunks)) <= READ_BYTES
    assert artifacts.size(digest) == len(DATA)
    assert files(folder) == [f"{digest[:2]}/{digest[2:]}"]


@pytest.mark.parametrize(("start", "length"), [(0, 0), (0, 1), (5, 300_000), (len(DATA) - 1, 1), (10, 10**9)])
async def test_a_range_is_exactly_that_range(folder: Path, start: int, length: int) -> None:
    artifacts, digest = await stored(folder)

    found = b"".join(artifacts.read(digest, start=start, length=length))

    assert found == DATA[start : start + length]


async def test_large_streams_are_written_in_pieces(folder: Path) -> None:
    data = b"x" * (2 * WRITE_BYTES + 17)
    artifacts, digest = await stored(folder, data)

    assert b"".join(artifacts.read(digest, start=0, length=len(data))) == data


async def test_an_empty_artifact_is_an_artifact(folder: Path) -> None:
    artifacts, digest = await stored(folder, b"")

    assert artifacts.size(digest) == 0


async def test_putting_it_twice_is_harmless(folder: Path) -> None:
    await stored(folder)
    artifacts, digest = await stored(folder)

    assert artifacts.size(digest) == len(DATA)


async def test_what_is_not_stored_has_no_size_and_cannot_be_read(folder: Path) -> None:
    artifacts, digest = ArtifactFolder(folder), digest_of(b"absent")

    assert artifacts.size(digest) is None
    with pytest.raises(NotFound):
        artifacts.read(digest, start=0, length=1)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "A" * 64, "", "ab/" + "c" * 61])
async def test_a_name_that_is_no_digest_reaches_no_file(folder: Path, digest: str) -> None:
    artifacts = ArtifactFolder(folder)

    for attempt in (artifacts.size, lambda d: artifacts.read(d, start=0, length=1)):
        with pytest.raises(InvalidName):
            attempt(Digest(digest))


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, -1)])
async def test_negative_ranges_are_refused(folder: Path, start: int, length: int) -> None:
    artifacts, digest = await stored(folder)

    with pytest.raises(InvalidRequest):
        artifacts.read(digest, start=start, length=length)


@pytest.mark.parametrize(
    ("expected", "length"),
    [
        (digest_of(b"other"), len(DATA)),
        (digest_of(DATA), len(DATA) + 1),
        (digest_of(DATA), len(DATA) - 1),
        (digest_of(DATA), 0),
    ],
)
async def test_wrong_bytes_are_refused_and_not_kept(folder: Path, expected: Digest, length: int) -> None:
    artifacts = ArtifactFolder(folder)

    with pytest.raises(InvalidRequest):
        await artifacts.put(stream(DATA), expected=expected, length=length)

    assert files(folder) == []


async def test_a_stream_that_is_too_long_is_not_read_to_its_end(folder: Path) -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        while True:
            pulled += 1
            yield b"x" * 1_000

    with pytest.raises(InvalidRequest, match="longer"):
        await ArtifactFolder(folder).put(endless(), expected=digest_of(b""), length=2_500)

    assert pulled == 3


class Full(io.FileIO):
    """A file on a disk that is full after 100,000 bytes."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[:4_096])  # also: the system may take less than it was given


async def test_a_full_disk_is_the_environments_fault_and_leaves_nothing(folder: Path) -> None:
    artifacts = ArtifactFolder(folder, open_part=lambda parts: (Full(parts / "p", "wb"), parts / "p"))

    with pytest.raises(StorageUnavailable, match="No space left"):
        await artifacts.put(stream(DATA), expected=digest_of(DATA), length=len(DATA))

    assert files(folder) == []


async def test_short_writes_are_continued(folder: Path) -> None:
    data = DATA[:90_000]
    artifacts = ArtifactFolder(folder, open_part=lambda parts: (Full(parts / "p", "wb"), parts / "p"))

    await artifacts.put(stream(data), expected=digest_of(data), length=len(data))

    assert b"".join(artifacts.read(digest_of(data), start=0, length=len(data))) == data


async def test_a_disk_that_fails_at_the_end_leaves_nothing(folder: Path) -> None:
    artifacts = ArtifactFolder(folder)
    digest = digest_of(DATA)
    (folder / digest[:2]).write_text("a file where a folder should be")

    with pytest.raises(StorageUnavailable):
        await artifacts.put(stream(DATA), expected=digest, length=len(DATA))
    with pytest.raises(StorageUnavailable):
        artifacts.size(digest)
    with pytest.raises(StorageUnavailable):
        artifacts.read(digest, start=0, length=1)

    assert files(folder) == [digest[:2]]


async def test_no_file_to_write_to_is_the_environments_fault(folder: Path) -> None:
    def refuse(parts: Path) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    with pytest.raises(StorageUnavailable, match="Too many"):
        await ArtifactFolder(folder, open_part=refuse).put(stream(b""), expected=digest_of(b""), length=0)


async def test_an_upload_that_breaks_off_leaves_nothing(folder: Path) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield DATA
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await ArtifactFolder(folder).put(cut(), expected=digest_of(DATA), length=len(DATA))

    assert files(folder) == []


async def test_an_upload_that_is_cancelled_leaves_nothing(folder: Path) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield DATA
        await asyncio.Event().wait()

    put = ArtifactFolder(folder).put(stuck(), expected=digest_of(DATA), length=10**9)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(put, timeout=0.05)

    assert files(folder) == []


def test_what_a_crash_left_is_removed_at_the_start(folder: Path) -> None:
    ArtifactFolder(folder)
    file, path = open_part(folder / "parts")
    file.write(b"half")
    file.close()
    assert path.exists()

    ArtifactFolder(folder)

    assert files(folder) == []


def test_a_folder_that_cannot_be_made_is_the_environments_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageUnavailable):
        ArtifactFolder(tmp_path / "file" / "artifacts")


async def test_a_read_error_is_the_environments_fault(folder: Path) -> None:
    artifacts, digest = await stored(folder)
    path = folder / digest[:2] / digest[2:]
    path.unlink()
    path.mkdir()

    with pytest.raises(StorageUnavailable):
        list(artifacts.read(digest, start=0, length=1))


@given(
    data=st.binary(max_size=2_000), size=st.integers(1, 300), start=st.integers(0, 2_100), length=st.integers(0, 2_100)
)
def test_any_bytes_in_any_pieces_come_back(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int, start: int, length: int
) -> None:
    artifacts, digest = ArtifactFolder(tmp_path_factory.getbasetemp() / "shared"), digest_of(data)

    asyncio.run(artifacts.put(stream(data, size), expected=digest, length=len(data)))

    assert b"".join(artifacts.read(digest, start=start, length=length)) == data[start : start + length]


async def test_a_disk_that_breaks_in_mid_read_is_the_environments_fault(folder: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(StorageUnavailable, match="Input/output"):
        list(_read(Broken(), 0, 1))
