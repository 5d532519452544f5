"""Make and edit the two TUF roots. Offline work: time comes as an argument, keys come from the caller.

- **Fleet root**: `targets` lists the director key, `timestamp` the time key, `root` and `snapshot` the offline fleet
  root keys (TUF asks for all four roles).
- **Release root**: `root` lists the offline release root keys; `targets`, `snapshot` and `timestamp` the release keys.

Every document is linted before it is signed: python-tuf counts a key that stands under two ids twice, so a root may
look as if two people had to agree when one can act alone.
"""

import copy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Key, Metadata, Role, Root

from controller.app.errors import InvalidRequest
from protocol.errors import ProtocolError
from protocol.ids import KeyId
from protocol.trust import DIRECTOR, TIME, FleetRole, parse_root
from protocol.units import Instant

ISSUED: Final = "tidegate-issued"
"""The field of a root, in Unix milliseconds, that a device's time floor is reset to when the time key changes."""
KEYS_MAX: Final = 16


class RoleKeys(msgspec.Struct, frozen=True):
    """Who signs for a role: public keys, and how many of them must."""

    keys: tuple[Ed25519PublicKey, ...]
    threshold: int = 1


Roles = Mapping[str, RoleKeys]


def tuf_key(public: Ed25519PublicKey) -> SSlibKey:
    """Return a public key as TUF documents list it, under the id that TUF derives."""
    return SSlibKey.from_crypto(public)


def signer_of(key: Ed25519PrivateKey) -> CryptoSigner:
    """Return a private key as TUF documents are signed with."""
    return CryptoSigner(key, tuf_key(key.public_key()))


def moment_of(at: Instant) -> datetime:
    """Return an instant as TUF writes times: in whole seconds."""
    return datetime.fromtimestamp(at // 1000, tz=UTC)


def fleet_roles(*, root: RoleKeys, director: Ed25519PublicKey, time: Ed25519PublicKey) -> Roles:
    """Return the roles of a fleet root; an envelope carries one signature, so both online roles ask for one."""
    return {
        Root.type: root,
        "snapshot": root,
        DIRECTOR: RoleKeys((director,)),
        TIME: RoleKeys((time,)),
    }


def release_roles(*, root: RoleKeys, release: RoleKeys) -> Roles:
    """Return the roles of a release root."""
    return {Root.type: root, "targets": release, "snapshot": release, "timestamp": release}


def new_root(roles: Roles, signers: Sequence[Ed25519PrivateKey], *, issued: Instant, expires: Instant) -> bytes:
    """Make version 1 of a root.

    Raises:
        InvalidRequest: when `lint` finds a fault, or *signers* are not enough of the root keys.
    """
    empty = Root(1, None, moment_of(expires), {}, {name: Role([], 1) for name in roles}, consistent_snapshot=True)
    _assign(empty, roles)
    return _sign(empty, signers, issued=issued, previous=None)


def next_root(
    previous: bytes,
    changed: Roles,
    signers: Sequence[Ed25519PrivateKey],
    *,
    issued: Instant,
    expires: Instant,
) -> bytes:
    """Make the next version of a root, with the roles in *changed* reassigned and the others as they were.

    Args:
        previous: the current root, signed.
        changed: the roles that get other keys or another threshold; may be empty, to move the expiry only.
        signers: root keys, enough of the previous document's and enough of the new one's.
        issued: now.
        expires: when the new document ends.

    Raises:
        InvalidRequest: when *previous* is no signed root, `lint` finds a fault, or *signers* are not enough.
    """
    old = _parsed(previous)
    new = copy.deepcopy(old)  # to_dict and from_dict would share the lists of key ids
    new.version += 1
    new.expires = moment_of(expires)
    _assign(new, changed)
    return _sign(new, signers, issued=issued, previous=old)


def _parsed(raw: bytes) -> Root:
    try:
        return parse_root(raw).signed
    except ProtocolError as error:
        raise InvalidRequest(str(error)) from error


def _assign(root: Root, roles: Roles) -> None:
    for name, wanted in roles.items():
        role = root.roles[name]
        for keyid in list(role.keyids):
            root.revoke_key(keyid, name)
        for public in wanted.keys:
            root.add_key(tuf_key(public), name)
        role.threshold = wanted.threshold


def _sign(root: Root, signers: Sequence[Ed25519PrivateKey], *, issued: Instant, previous: Root | None) -> bytes:
    root.unrecognized_fields[ISSUED] = issued
    faults = lint(root)
    if moment_of(issued) >= root.expires:
        faults.append(f"it expires at {root.expires.isoformat()}, before it is issued")
    if faults:
        raise InvalidRequest(f"root version {root.version}: {'; '.join(faults)}")
    document = Metadata(root)
    for key in signers:
        document.sign(signer_of(key), append=True)
    for judge in (root, previous or root):
        _check_signed(document, judge)
    return document.to_bytes()


def _check_signed(document: Metadata[Root], judge: Root) -> None:
    try:
        judge.verify_delegate(Root.type, document.signed_bytes, document.signatures)
    except RepositoryError as error:
        role = judge.roles[Root.type]
        expected = f"expected {role.threshold} of the {len(role.keyids)} root keys of version {judge.version}"
        raise InvalidRequest(f"root version {document.signed.version} lacks signatures: {expected}") from error


def _material(key: Key) -> str:
    return str(key.keyval.get("public", ""))


def lint(root: Root) -> list[str]:
    """Return what is wrong with a root that python-tuf would let pass, one sentence for each fault.

    A key under two ids counts twice towards a threshold (python-tuf does not recompute ids); a threshold above the
    number of keys locks everyone out; an online key among the root keys undoes the point of keeping those offline.
    """
    faults = [fault for name in root.roles for fault in _lint_role(root, name)]
    owners: dict[str, str] = {}
    for keyid, key in root.keys.items():
        first = owners.setdefault(_material(key), keyid)
        if first != keyid:
            faults.append(f"key {first[:16]} stands under a second id, {keyid[:16]}")
    return faults + _lint_separation(root)


def _lint_role(root: Root, name: str) -> list[str]:
    role = root.roles[name]
    distinct = {_material(root.keys[keyid]) for keyid in role.keyids if keyid in root.keys}
    checks = (
        (role.threshold < 1, f"role {name!r} needs a threshold of at least 1"),
        (role.threshold > len(distinct), f"role {name!r} asks for {role.threshold} of {len(distinct)} keys"),
        (len(role.keyids) > KEYS_MAX, f"role {name!r} has more than {KEYS_MAX} keys"),
    )
    return [text for is_wrong, text in checks if is_wrong]


def _lint_separation(root: Root) -> list[str]:
    offline = set(root.roles[Root.type].keyids)
    shared = [name for name in (DIRECTOR, TIME) if offline & set(root.roles[name].keyids)]
    return [f"role {name!r} shares a key with the root role: keep that one offline" for name in shared]


def keyid_of(root: bytes, role: FleetRole, public: Ed25519PublicKey) -> KeyId:
    """Return the id under which a fleet root lists an online key, for `protocol.keys.Ed25519Signing`.

    Raises:
        InvalidRequest: when *root* is no signed root or does not list *public* for *role*.
    """
    document = _parsed(root)
    material = public.public_bytes_raw().hex()
    for keyid in document.roles[role].keyids:
        if _material(document.keys[keyid]) == material:
            return KeyId(keyid)
    raise InvalidRequest(f"fleet root version {document.version} does not list this key for {role!r}")
