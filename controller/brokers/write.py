"""Write a broker's configuration into a folder, with a certificate of the installation's CA for the broker."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from controller.app.errors import Conflict, StorageUnavailable
from controller.brokers.plan import CA_FILE, CERTIFICATE_FILE, CONTROLLER_FILE, DATA_FOLDER, KEY_FILE, File, Rendered
from controller.signing.authority import Authority
from controller.signing.keyfile import PRIVATE, PUBLIC, write_file
from protocol.units import Instant

_FOLDER_MODE = 0o700


def write(
    folder: Path,
    rendered: Rendered,
    *,
    authority: Authority,
    hosts: Sequence[str],
    at: Instant,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write the files of a configuration, the broker's certificate and the controller's settings.

    Args:
        folder: where to; it is made where it is missing.
        rendered: the configuration.
        authority: the installation's CA.
        hosts: names and addresses that the certificate is for.
        at: now; the certificate ends a year later.
        overwrite: whether files that exist are replaced.

    Returns:
        The files, in the order in which they were written.

    Raises:
        Conflict: when a file exists and *overwrite* is false; then nothing was written.
        InvalidRequest: when *hosts* are not valid.
        StorageUnavailable: when the file system refuses.
    """
    files = (*_credentials(authority, hosts, at), *rendered.files, _settings(rendered))
    existing = [file.name for file in files if (folder / file.name).exists()]
    if existing and not overwrite:
        raise Conflict(f"{folder} holds {', '.join(existing)} already: pass --force to replace them")
    _make(folder)
    for file in files:
        write_file(folder / file.name, file.data, mode=PRIVATE if file.is_private else PUBLIC, overwrite=overwrite)
    return tuple(folder / file.name for file in files)


def _credentials(authority: Authority, hosts: Sequence[str], at: Instant) -> tuple[File, ...]:
    server = authority.broker_certificate(hosts, at=at)
    return (
        File(CA_FILE, authority.certificate_pem),
        File(CERTIFICATE_FILE, server.certificate_pem),
        File(KEY_FILE, server.key_pem, is_private=True),
    )


def _settings(rendered: Rendered) -> File:
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in rendered.settings.items()]
    return File(CONTROLLER_FILE, "".join(lines).encode(), is_private=True)


def _make(folder: Path) -> None:
    """Make the folder, and the one in it that the broker keeps its own data in."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DATA_FOLDER).mkdir(mode=_FOLDER_MODE, exist_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"cannot make {folder}: {error.strerror}") from error
