"""Private keys as files: mode 0600, written whole or not at all, never over another one by accident."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from controller.app.errors import Conflict, InvalidRequest, NotFound, StorageUnavailable

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
FILE_BYTES_MAX: Final = 5_000_000


def write_file(path: Path, data: bytes, *, mode: int = PUBLIC, overwrite: bool = False) -> None:
    """Write *data* so that *path* holds all of it or is as it was, also after a power cut.

    Raises:
        Conflict: when *path* exists and *overwrite* is false.
        StorageUnavailable: when the file system refuses.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _write_synced(part, data, mode)
        if overwrite:
            part.replace(path)
        else:
            os.link(part, path)  # unlike a rename, a link never replaces what is there
        sync_folder(path.parent)
    except FileExistsError as error:
        raise Conflict(f"{path} exists: it is never overwritten; move it away first") from error
    except OSError as error:
        raise StorageUnavailable(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _write_synced(part: Path, data: bytes, mode: int) -> None:
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # the process's umask may have taken more away
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path) -> bytes:
    """Return the contents of *path*.

    Raises:
        NotFound: when there is no such file.
        InvalidRequest: when it is larger than any document of ours.
        StorageUnavailable: when it cannot be read.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InvalidRequest(f"{path} is larger than {FILE_BYTES_MAX} bytes: expected a key or a document")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no {path}") from error
    except OSError as error:
        raise StorageUnavailable(f"cannot read {path}: {error.strerror}") from error


def to_pem(key: PrivateKey, *, password: bytes | None = None) -> bytes:
    """Return *key* as PKCS#8 PEM, encrypted where a *password* is given."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def write_key(path: Path, key: PrivateKey, *, password: bytes | None = None, overwrite: bool = False) -> None:
    """Write a private key that only the owner may read; see `write_file` for what it raises."""
    write_file(path, to_pem(key, password=password), mode=PRIVATE, overwrite=overwrite)


def read_private(path: Path) -> bytes:
    """Return the PEM of a private key file.

    Raises:
        InvalidRequest: when others than the owner may read it: then it has to be taken for known to them.
        NotFound: when there is no such file.
    """
    pem = read_file(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise InvalidRequest(f"{path} has mode {mode:04o}, expected 0600: replace the key, or run chmod 600")
    return pem


def _load(path: Path, password: bytes | None) -> object:
    try:
        return load_pem_private_key(read_private(path), password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidRequest(f"{path}: expected a private key in PEM, and its password: {error}") from error


def read_ed25519(path: Path, *, password: bytes | None = None) -> Ed25519PrivateKey:
    """Read a signing key.

    Raises:
        InvalidRequest: when the file holds no Ed25519 key, others may read it, or *password* does not open it.
        NotFound: when there is no such file.
    """
    key = _load(path, password)
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidRequest(f"{path}: expected an Ed25519 key, found {type(key).__name__}")
    return key


def read_p256(path: Path, *, password: bytes | None = None) -> EllipticCurvePrivateKey:
    """Read the key of a certificate.

    Raises:
        InvalidRequest: when the file holds no P-256 key, others may read it, or *password* does not open it.
        NotFound: when there is no such file.
    """
    key = _load(path, password)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise InvalidRequest(f"{path}: expected a P-256 key, found {type(key).__name__}")
    return key
