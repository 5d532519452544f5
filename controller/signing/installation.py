"""Create every key and document of a new installation: the online folder, and one to carry away.

The offline folder holds what must not lie beside the controller:

```
fleet-root.pem                    signs the fleet root
release-root.pem  release.pem     sign the release root; sign releases
fleet-root.json  release-root.json  releases.json
```
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.app.errors import Conflict, InvalidRequest, NotFound, StorageUnavailable
from controller.signing import keystore
from controller.signing.authority import Authority
from controller.signing.keyfile import read_file, sync_folder, write_file, write_key
from controller.signing.keystore import Keystore
from controller.signing.releases import new_release_file
from controller.signing.roots import RoleKeys, fleet_roles, new_root, release_roles
from protocol.errors import InvalidName
from protocol.ids import TenantId, tenant_id
from protocol.units import DAY, Instant, later

ROOT_SPAN: Final = 365 * DAY
RELEASES_SPAN: Final = 90 * DAY

FLEET_ROOT_KEY: Final = "fleet-root.pem"
RELEASE_ROOT_KEY: Final = "release-root.pem"
RELEASE_KEY: Final = "release.pem"
RELEASES: Final = "releases.json"
TENANT: Final = "tenant"
"""In the online folder: whose installation this is."""

_FOLDER_MODE: Final = 0o700


class _Keys(msgspec.Struct, frozen=True):
    """The signing keys of an installation, each for one purpose."""

    director: Ed25519PrivateKey
    time: Ed25519PrivateKey
    fleet_root: Ed25519PrivateKey
    release_root: Ed25519PrivateKey
    release: Ed25519PrivateKey

    @classmethod
    def draw(cls) -> "_Keys":
        return cls(*(Ed25519PrivateKey.generate() for _ in cls.__struct_fields__))


def initialise(
    folder: Path,
    offline_folder: Path,
    *,
    tenant: TenantId,
    hosts: Sequence[str],
    at: Instant,
    password: bytes | None = None,
) -> Keystore:
    """Create all keys, roots, the CA and an empty release file; each folder appears whole or not at all.

    Args:
        folder: the online keys; must not exist, or be empty.
        offline_folder: the keys to be carried away; must not exist, or be empty.
        tenant: whose devices the CA names.
        hosts: names and addresses at which devices reach the controller.
        at: now; both roots end a year later, the release file after 90 days.
        password: encrypts the offline keys.

    Raises:
        Conflict: when either folder holds anything.
        InvalidRequest: when *hosts* are not valid.
        StorageUnavailable: when the file system refuses.
    """
    if folder.resolve() == offline_folder.resolve():
        raise Conflict(f"{folder} cannot be both folders: offline keys do not lie beside the controller")
    for wanted in (folder, offline_folder):
        _check_empty(wanted)
    keys = _Keys.draw()
    authority = Authority.create(tenant, at=at)
    server = authority.server_certificate(hosts, at=at)
    fleet_root, release_root = _roots(keys, at)
    releases = new_release_file(release_root, [keys.release], expires=later(at, RELEASES_SPAN))

    offline_part, part = _part_of(offline_folder), _part_of(folder)
    for name, key in _offline_keys(keys).items():
        write_key(offline_part / name, key, password=password)
    write_file(offline_part / RELEASES, releases)
    write_key(part / keystore.DIRECTOR_KEY, keys.director)
    write_key(part / keystore.TIME_KEY, keys.time)
    authority.write(part / keystore.CA_CERTIFICATE, part / keystore.CA_KEY)
    keystore.write_server(part, server)
    write_file(part / TENANT, f"{tenant}\n".encode())
    for target in (offline_part, part):
        write_file(target / keystore.FLEET_ROOT, fleet_root)
        write_file(target / keystore.RELEASE_ROOT, release_root)
    _reveal(offline_part, offline_folder)
    _reveal(part, folder)
    return Keystore(folder)


def read_tenant(folder: Path) -> TenantId:
    """Return whose installation *folder* is.

    Raises:
        NotFound: when there is no installation.
        InvalidRequest: when the file ``tenant`` holds no tenant's id.
    """
    if not (folder / TENANT).exists():
        raise NotFound(f"there is no installation in {folder}: make one with 'tidegate init'")
    try:
        return tenant_id(read_file(folder / TENANT).decode().strip())
    except (UnicodeDecodeError, InvalidName) as error:
        raise InvalidRequest(f"{folder / TENANT}: {error}") from error


def _offline_keys(keys: _Keys) -> dict[str, Ed25519PrivateKey]:
    return {FLEET_ROOT_KEY: keys.fleet_root, RELEASE_ROOT_KEY: keys.release_root, RELEASE_KEY: keys.release}


def _roots(keys: _Keys, at: Instant) -> tuple[bytes, bytes]:
    expires = later(at, ROOT_SPAN)
    fleet = fleet_roles(
        root=RoleKeys((keys.fleet_root.public_key(),)),
        director=keys.director.public_key(),
        time=keys.time.public_key(),
    )
    release = release_roles(
        root=RoleKeys((keys.release_root.public_key(),)), release=RoleKeys((keys.release.public_key(),))
    )
    return (
        new_root(fleet, [keys.fleet_root], issued=at, expires=expires),
        new_root(release, [keys.release_root], issued=at, expires=expires),
    )


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is not empty: keys are never overwritten; name another folder or move it away")


def _part_of(folder: Path) -> Path:
    """Make the folder in which everything is written before it appears; one that a crash left is made anew."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=_FOLDER_MODE, parents=True)
    except OSError as error:
        raise StorageUnavailable(f"cannot make {part}: {error.strerror}") from error
    return part


def _reveal(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)  # takes the place of an empty folder, never of a full one
        sync_folder(folder.parent)
    except OSError as error:
        raise StorageUnavailable(f"cannot create {folder}: {error.strerror}") from error
