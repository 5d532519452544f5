"""Edit the release file, a TUF Targets document. Offline work, as in `controller.signing.roots`.

A release is immutable: its path is never given twice. Its `counter` orders the releases of an app; its `floor` is
the counter below which a device that has installed it never goes again (protocol.md, "Replay, freeze, rollback").
"""

import copy
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from controller.app.errors import Conflict, InvalidRequest
from controller.signing.roots import moment_of, signer_of
from protocol.errors import ProtocolError
from protocol.ids import AppName, Digest, parse_digest, parse_part
from protocol.trust import DOCUMENT_BYTES_MAX, parse_root
from protocol.units import INTEGER_MAX, Instant

PATH_LENGTH_MAX: Final = 255
HARDWARE_MAX: Final = 64

_PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")


class NewRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release to be signed. `length` in bytes; empty `hardware` fits every model.

    Without a `counter` it takes the previous release's plus one; without a `floor`, the previous release's counter,
    so that a device can go back by one release.
    """

    app: AppName
    version: str
    filename: str
    sha256: Digest
    length: int
    installer: str
    hardware: tuple[str, ...] = ()
    counter: int | None = None
    floor: int | None = None

    @property
    def path(self) -> str:
        """Return where the artifact stands in the release repository."""
        return f"{self.app}/{self.version}/{self.filename}"


def new_release_file(release_root: bytes, signers: Sequence[Ed25519PrivateKey], *, expires: Instant) -> bytes:
    """Make version 1 of the release file, without any release.

    Raises:
        InvalidRequest: when *release_root* is no signed root, or lists none of *signers*.
    """
    return _sign(Targets(1, None, moment_of(expires)), _root(release_root), signers)


def add_release(
    current: bytes,
    release: NewRelease,
    *,
    release_root: bytes,
    signers: Sequence[Ed25519PrivateKey],
    expires: Instant,
) -> bytes:
    """Return the next version of the release file, with *release* added.

    Where the role asks for more signatures than *signers* can give, the result is not valid yet: hand it to the
    others for `add_signatures`, and ask `signatures_missing`.

    Raises:
        InvalidRequest: when *current* is not fully signed under *release_root*, a field of *release* breaks a rule,
            or *release_root* lists none of *signers*.
        Conflict: when there is a release of that path, or its counter is not above the app's newest.
    """
    root = _root(release_root)
    targets = copy.deepcopy(_verified(current, root))
    if release.path in targets.targets:
        raise Conflict(f"release {release.path!r} exists: releases are immutable, choose another version")
    targets.targets[release.path] = _target(release, previous=_newest_counter(targets, release.app))
    targets.version += 1
    targets.expires = moment_of(expires)
    return _sign(targets, root, signers)


def renew(current: bytes, *, release_root: bytes, signers: Sequence[Ed25519PrivateKey], expires: Instant) -> bytes:
    """Return the next version of the release file with a later expiry and nothing else changed.

    Raises:
        InvalidRequest: as `add_release`.
    """
    root = _root(release_root)
    targets = copy.deepcopy(_verified(current, root))
    targets.version += 1
    targets.expires = moment_of(expires)
    return _sign(targets, root, signers)


def add_signatures(document: bytes, release_root: bytes, signers: Sequence[Ed25519PrivateKey]) -> bytes:
    """Return a release file, signed by some already, with the signatures of *signers* added.

    Raises:
        InvalidRequest: when it is no release file, or *release_root* lists none of *signers*.
    """
    parsed, root = _parsed(document), _root(release_root)
    _check_listed(root, signers)
    for key in signers:
        parsed.sign(signer_of(key), append=True)
    return parsed.to_bytes()


def signatures_missing(document: bytes, release_root: bytes) -> int:
    """Return how many more release keys have to sign before the file is valid.

    Raises:
        InvalidRequest: when either is not what it should be.
    """
    parsed, root = _parsed(document), _root(release_root)
    result = root.get_verification_result(Targets.type, parsed.signed_bytes, parsed.signatures)
    return result.missing


def _root(raw: bytes) -> Root:
    try:
        return parse_root(raw).signed
    except ProtocolError as error:
        raise InvalidRequest(f"release root: {error}") from error


def _parsed(raw: bytes) -> Metadata[Targets]:
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise InvalidRequest(f"release file of {len(raw)} bytes: expected at most {DOCUMENT_BYTES_MAX}")
    try:
        document: Metadata[Targets] = Metadata[Targets].from_bytes(raw)
    except RepositoryError as error:
        raise InvalidRequest(f"expected a release file: {error}") from error
    if not isinstance(document.signed, Targets):
        raise InvalidRequest("expected a release file, found another TUF document")
    return document


def _verified(raw: bytes, root: Root) -> Targets:
    document = _parsed(raw)
    try:
        root.verify_delegate(Targets.type, document.signed_bytes, document.signatures)
    except RepositoryError as error:
        raise InvalidRequest(f"release file version {document.signed.version}: {error}") from error
    return document.signed


def _newest_counter(targets: Targets, app: AppName) -> int:
    customs = (target.unrecognized_fields.get("custom", {}) for target in targets.targets.values())
    return max((int(custom["counter"]) for custom in customs if custom.get("app") == app), default=0)


def _target(release: NewRelease, *, previous: int) -> TargetFile:
    _check_fields(release)
    counter = previous + 1 if release.counter is None else release.counter
    floor = previous if release.floor is None else release.floor
    if counter <= previous:
        raise Conflict(f"counter {counter} of {release.path!r}: expected more than the newest release's {previous}")
    if not 0 <= floor <= counter <= INTEGER_MAX:
        raise InvalidRequest(f"floor {floor} of {release.path!r}: expected 0 to its counter, {counter}")
    custom: dict[str, Any] = {
        "app": release.app,
        "version": release.version,
        "counter": counter,
        "floor": floor,
        "installer": release.installer,
        "hardware": list(release.hardware),
    }
    return TargetFile(release.length, {"sha256": release.sha256}, release.path, {"custom": custom})


def _check_fields(release: NewRelease) -> None:
    try:
        parse_part(release.app, what="app")
        parse_digest(release.sha256)
        parse_part(release.installer, what="installer")
    except ProtocolError as error:
        raise InvalidRequest(f"release {release.path!r}: {error}") from error
    for what, text in (("version", release.version), ("file name", release.filename)):
        if _PATH_PART.fullmatch(text) is None:
            rule = "expected letters, digits and . _ + ~ -, beginning with a letter or digit"
            raise InvalidRequest(f"release {release.path!r}: {what} {text[:80]!r} is not valid: {rule}")
    if len(release.path) > PATH_LENGTH_MAX or len(release.hardware) > HARDWARE_MAX:
        limits = f"expected at most {PATH_LENGTH_MAX} characters and {HARDWARE_MAX} hardware models"
        raise InvalidRequest(f"release {release.path!r}: {limits}")
    if not 0 <= release.length <= INTEGER_MAX:
        raise InvalidRequest(f"release {release.path!r}: length {release.length} is not a number of bytes")


def _check_listed(root: Root, signers: Sequence[Ed25519PrivateKey]) -> None:
    listed = set(root.roles[Targets.type].keyids)
    strangers = [key for key in signers if signer_of(key).public_key.keyid not in listed]
    if not signers or strangers:
        raise InvalidRequest(f"expected release keys that release root version {root.version} lists for 'targets'")


def _sign(targets: Targets, root: Root, signers: Sequence[Ed25519PrivateKey]) -> bytes:
    _check_listed(root, signers)
    document = Metadata(targets)
    for key in signers:
        document.sign(signer_of(key), append=True)
    return document.to_bytes()
