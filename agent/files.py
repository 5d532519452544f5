"""Files that are whole or not there: every write survives a power cut at any moment."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from protocol.ids import Digest

SECRET_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, *, mode: int = SECRET_MODE) -> None:
    """Replace *path* by *data* at once: write a neighbour, sync it, rename it, sync the folder."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    new = path.with_name(f".{path.name}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(mode)
    new.replace(path)
    sync_folder(path.parent)


def link_whole(link: Path, target: str) -> None:
    """Point the symbolic *link* to *target* at once."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
    sync_folder(link.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_tree(folder: Path) -> None:
    """Make every file and folder below *folder* durable."""
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_symlink():
                continue
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


@contextlib.contextmanager
def sole_user(path: Path) -> Iterator[bool]:
    """Hold the lock file *path* while inside; yield whether it was to be had."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def hash_of(path: Path) -> Digest:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def disk_free_bytes(folder: Path) -> int:
    """Return how much is free for us on the disk of *folder*."""
    return shutil.disk_usage(folder).free
