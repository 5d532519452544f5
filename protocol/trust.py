"""The two trust roots and the release file: TUF documents, verified with python-tuf (TUF 1.0.34).

- The **fleet root** is a TUF `Root`: its `targets` keys are the director's (commands), its `timestamp` keys are the
  time keys (hello replies, acknowledgements).
- The **release root** is a TUF `Root` whose `targets` keys, kept offline, sign the **release file**, a TUF `Targets`.

Nothing here reads a clock: python-tuf compares expiry only where it is told the time, and so is every function here.
"""

from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from protocol.envelope import KeyRing
from protocol.errors import MalformedMessage, UntrustedMessage
from protocol.ids import AppName, KeyId, parse_part
from protocol.keys import Ed25519Verify
from protocol.messages import Count, Hash
from protocol.units import Instant

DOCUMENT_BYTES_MAX: Final = 5_000_000
"""The size cap of a TUF document (python-tuf's own default for targets)."""

FleetRole = Literal["targets", "timestamp"]
DIRECTOR: Final[FleetRole] = "targets"
TIME: Final[FleetRole] = "timestamp"


class ReleaseInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One release as the offline release key signed it. `length` in bytes; empty `hardware` fits every model."""

    app: AppName
    version: str
    path: str
    sha256: Hash
    length: Count
    counter: Count
    floor: Count
    installer: str
    hardware: tuple[str, ...] = ()


class FleetRoot(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified fleet root says: its version, span of validity, and the keys of both roles."""

    version: int
    issued: Instant
    expires: Instant
    director: KeyRing
    time: KeyRing


class ReleaseFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified release file says: every release by its path."""

    version: int
    expires: Instant
    releases: dict[str, ReleaseInfo]


def instant_of(moment: datetime) -> Instant:
    """Return an aware datetime as an `Instant`.

    >>> from datetime import UTC
    >>> instant_of(datetime(2026, 1, 1, tzinfo=UTC))
    1767225600000
    """
    return Instant(int(moment.timestamp() * 1000))


def _parse(raw: bytes, expected: str) -> Metadata[Any]:
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise MalformedMessage(f"document of {len(raw)} bytes: expected at most {DOCUMENT_BYTES_MAX}")
    try:
        document: Metadata[Any] = Metadata.from_bytes(raw)
    except (RepositoryError, RecursionError) as error:
        raise MalformedMessage(f"expected a signed TUF {expected} file: {error}") from error
    if document.signed.type != expected:
        raise MalformedMessage(f"expected a TUF {expected} file, found {document.signed.type}")
    return document


def parse_root(raw: bytes) -> Metadata[Root]:
    """Parse a TUF `Root` and check that it is signed by its own threshold.

    Raises:
        MalformedMessage: when *raw* is no `Root`.
        UntrustedMessage: when its own keys did not sign it.
    """
    document: Metadata[Root] = _parse(raw, Root.type)
    root = document.signed
    try:
        root.verify_delegate(Root.type, document.signed_bytes, document.signatures)
    except RepositoryError as error:
        raise UntrustedMessage(f"root version {root.version}: {error}") from error
    return document


def _ring(root: Root, role: FleetRole) -> KeyRing:
    keys: dict[KeyId, Ed25519Verify] = {}
    for keyid in root.roles[role].keyids:
        key = root.keys.get(keyid)
        if not isinstance(key, SSlibKey) or key.keytype != "ed25519":
            found = "missing" if key is None else key.keytype
            raise MalformedMessage(f"fleet root: key {keyid[:16]} is {found}, expected ed25519")
        keys[KeyId(keyid)] = Ed25519Verify(_raw_key(keyid, key))
    return keys


def _raw_key(keyid: str, key: SSlibKey) -> bytes:
    try:
        return bytes.fromhex(key.keyval["public"])
    except ValueError as error:
        raise MalformedMessage(f"fleet root: key {keyid[:16]} is not hexadecimal") from error


def _instant_field(root: Root, field: str) -> Instant:
    value = root.unrecognized_fields.get(field, 0)
    return Instant(value) if isinstance(value, int) and value >= 0 else Instant(0)


def read_fleet_root(raw: bytes) -> FleetRoot:
    """Read a fleet root that is pinned, or that a pinned one leads to.

    Raises:
        MalformedMessage: when it is no `Root`, a role asks for more than one signature (an envelope of ours carries
            one), or a key is not Ed25519.
        UntrustedMessage: when its own keys did not sign it.
    """
    root = parse_root(raw).signed
    for role in (DIRECTOR, TIME):
        if root.roles[role].threshold != 1:
            raise MalformedMessage(f"fleet root: role {role!r} has threshold {root.roles[role].threshold}, expected 1")
    return FleetRoot(
        version=root.version,
        issued=_instant_field(root, "tidegate-issued"),
        expires=instant_of(root.expires),
        director=_ring(root, DIRECTOR),
        time=_ring(root, TIME),
    )


def _release(path: str, target: TargetFile) -> ReleaseInfo:
    custom = target.unrecognized_fields.get("custom")
    if not isinstance(custom, dict):
        raise MalformedMessage(f"release {path!r}: expected the field 'custom'")
    values = {**custom, "path": path, "sha256": target.hashes.get("sha256"), "length": target.length}
    try:
        info = msgspec.convert(values, ReleaseInfo)
        parse_part(info.app, what="app")
    except (msgspec.ValidationError, ValueError) as error:
        raise MalformedMessage(f"release {path!r}: {error}") from error
    if info.floor > info.counter:
        raise MalformedMessage(f"release {path!r}: floor {info.floor} must not exceed counter {info.counter}")
    return info


def read_releases(raw: bytes, release_root: bytes, *, at: Instant) -> ReleaseFile:
    """Verify a release file under the pinned *release_root* and read its releases.

    Args:
        raw: the TUF `Targets` file.
        release_root: the pinned TUF `Root`.
        at: the trusted time; both documents must be unexpired then.

    Raises:
        MalformedMessage: when either is not what it should be.
        UntrustedMessage: when the root's `targets` threshold did not sign it, or either has expired.
    """
    root = parse_root(release_root).signed
    document: Metadata[Targets] = _parse(raw, Targets.type)
    targets = document.signed
    try:
        root.verify_delegate(Targets.type, document.signed_bytes, document.signatures)
    except RepositoryError as error:
        raise UntrustedMessage(f"release file version {targets.version}: {error}") from error
    for what, signed in (("release root", root), ("release file", targets)):
        if at >= instant_of(signed.expires):
            raise UntrustedMessage(f"{what} version {signed.version} expired at {signed.expires.isoformat()}")
    releases = {path: _release(path, target) for path, target in targets.targets.items()}
    return ReleaseFile(version=targets.version, expires=instant_of(targets.expires), releases=releases)
