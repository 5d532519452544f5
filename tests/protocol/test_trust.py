"""The two roots and the release file: signed by whom they must be, in time, and of the right form."""

import copy
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Role, Root, TargetFile, Targets

from protocol.errors import MalformedMessage, UntrustedMessage
from protocol.ids import KeyId, digest_of
from protocol.trust import (
    DOCUMENT_BYTES_MAX,
    instant_of,
    parse_root,
    read_fleet_root,
    read_releases,
)
from protocol.units import INTEGER_MAX, Instant

EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
AT = instant_of(datetime(2026, 1, 1, tzinfo=UTC))
ROLES = ("root", "targets", "snapshot", "timestamp")
CUSTOM = {"app": "shop", "version": "2.1", "counter": 7, "floor": 3, "installer": "oci", "hardware": ["k1"]}


def signer(number: int) -> CryptoSigner:
    key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return CryptoSigner(key, SSlibKey.from_crypto(key.public_key()))


ROOT, ONLINE, STRANGER = signer(1), signer(2), signer(3)


def root(by: CryptoSigner = ROOT, edit: Callable[[Root], None] = lambda root: None, issued: object = AT) -> bytes:
    """Return a signed root whose every role but root's own belongs to the online key."""
    document = Root(expires=EXPIRES, unrecognized_fields={"tidegate-issued": issued}, version=4)
    for role in ROLES:
        document.add_key((ROOT if role == "root" else ONLINE).public_key, role)
    document = copy.deepcopy(document)  # the keys are shared
    edit(document)
    metadata = Metadata(document)
    metadata.sign(by)
    return metadata.to_bytes()


def releases(
    by: CryptoSigner = ONLINE, custom: Mapping[str, Any] | None = CUSTOM, expires: datetime = EXPIRES, **changes: Any
) -> bytes:
    fields = {} if custom is None else {"custom": dict(custom)}
    values = {"length": 10, "hashes": {"sha256": digest_of(b"shop")}, "path": "shop/2.1", **changes}
    target = TargetFile(**values, unrecognized_fields=fields)
    metadata = Metadata(Targets(expires=expires, targets={values["path"]: target}, version=9))
    metadata.sign(by)
    return metadata.to_bytes()


def edited(raw: bytes, edit: Callable[[Any], None]) -> bytes:
    document = json.loads(raw)
    document = copy.deepcopy(document)  # the keys are shared
    edit(document)
    return json.dumps(document).encode()


def test_a_fleet_root_tells_both_roles_keys() -> None:
    found = read_fleet_root(root(issued=AT))
    keyid = KeyId(ONLINE.public_key.keyid)
    assert (found.version, found.issued, found.expires) == (4, AT, instant_of(EXPIRES))
    assert list(found.director) == list(found.time) == [keyid]
    assert found.director[keyid].is_signature(bytes.fromhex(ONLINE.sign(b"x").signature), b"x")


@pytest.mark.parametrize("issued", ["soon", -1, None])
def test_an_odd_time_of_issue_is_none(issued: Any) -> None:
    assert read_fleet_root(root(issued=issued)).issued == 0


def test_a_root_must_be_signed_by_its_own_keys() -> None:
    with pytest.raises(UntrustedMessage, match="root version 4"):
        parse_root(root(by=STRANGER))
    with pytest.raises(UntrustedMessage):
        parse_root(edited(root(), lambda document: document["signed"].update(version=5)))


def twice(root: Root) -> None:
    root.roles["targets"] = Role([ONLINE.public_key.keyid, ROOT.public_key.keyid], 2)


def elliptic(root: Root) -> None:
    root.add_key(SSlibKey.from_crypto(generate_private_key(SECP256R1()).public_key()), "targets")


def unknown(root: Root) -> None:
    root.roles["timestamp"].keyids.append("0" * 64)


def no_hex(root: Root) -> None:
    root.keys[ONLINE.public_key.keyid].keyval["public"] = "no hex"


def short(root: Root) -> None:
    root.keys[ONLINE.public_key.keyid].keyval["public"] = "00"


@pytest.mark.parametrize("edit", [twice, elliptic, unknown, no_hex, short])
def test_a_fleet_root_with_odd_keys_is_malformed(edit: Callable[[Root], None]) -> None:
    raw = root(edit=edit)
    with pytest.raises(MalformedMessage):
        read_fleet_root(raw)


NO_DOCUMENTS = [
    b"",
    b"{}",
    b"[" * 100_000,
    b'{"signed":{"_type":"root"},"signatures":[]}',
    b"\xff",
    b"null",
    b"1",
]


@pytest.mark.parametrize("raw", NO_DOCUMENTS)
def test_what_is_no_document_is_malformed(raw: bytes) -> None:
    for read in (parse_root, read_fleet_root, lambda raw: read_releases(raw, root(), at=AT)):
        with pytest.raises(MalformedMessage):
            read(raw)


def test_a_document_is_of_its_own_kind_and_size() -> None:
    with pytest.raises(MalformedMessage, match="expected a TUF root file, found targets"):
        parse_root(releases())
    with pytest.raises(MalformedMessage, match="expected a TUF targets file, found root"):
        read_releases(root(), root(), at=AT)
    with pytest.raises(MalformedMessage, match="at most"):
        parse_root(b" " * (DOCUMENT_BYTES_MAX + 1))


def test_a_torn_document_is_malformed() -> None:
    raw = releases()
    for length in range(0, len(raw), 7):
        with pytest.raises(MalformedMessage):
            read_releases(raw[:length], root(), at=AT)


def test_releases_are_read() -> None:
    file = read_releases(releases(), root(), at=AT)
    assert (file.version, file.expires, list(file.releases)) == (9, instant_of(EXPIRES), ["shop/2.1"])
    release = file.releases["shop/2.1"]
    assert (release.app, release.version, release.path) == ("shop", "2.1", "shop/2.1")
    assert (release.sha256, release.length) == (digest_of(b"shop"), 10)
    assert (release.counter, release.floor, release.installer, release.hardware) == (7, 3, "oci", ("k1",))


def test_releases_are_signed_by_the_release_keys_and_in_time() -> None:
    with pytest.raises(UntrustedMessage, match="release file version 9"):
        read_releases(releases(by=STRANGER), root(), at=AT)
    with pytest.raises(UntrustedMessage, match="release file version 9 expired"):
        read_releases(releases(expires=datetime(2025, 1, 1, tzinfo=UTC)), root(), at=AT)
    with pytest.raises(UntrustedMessage, match="release root version 4 expired"):
        read_releases(releases(), root(), at=instant_of(EXPIRES))


@pytest.mark.parametrize("at", [INTEGER_MAX, 2**60])
def test_a_time_beyond_all_calendars_is_after_every_expiry(at: int) -> None:
    with pytest.raises(UntrustedMessage, match="expired"):
        read_releases(releases(), root(), at=Instant(at))


def test_a_flipped_bit_is_refused() -> None:
    raw = releases()
    for place in range(0, len(raw), 11):
        damaged = bytearray(raw)
        damaged[place] ^= 1
        try:
            file = read_releases(bytes(damaged), root(), at=AT)
        except (MalformedMessage, UntrustedMessage):
            continue
        assert file == read_releases(raw, root(), at=AT)


WRONG: list[dict[str, Any]] = [
    {"custom": None},
    {"custom": {**CUSTOM, "app": "Shop/../.."}},
    {"custom": {**CUSTOM, "app": 7}},
    {"custom": {**CUSTOM, "counter": "7"}},
    {"custom": {**CUSTOM, "counter": -1, "floor": -2}},
    {"custom": {**CUSTOM, "counter": INTEGER_MAX + 1}},
    {"custom": {**CUSTOM, "floor": 8}},
    {"custom": {**CUSTOM, "floor": -1}},
    {"custom": {key: value for key, value in CUSTOM.items() if key != "installer"}},
    {"hashes": {"sha512": "0" * 128}},
    {"hashes": {"sha256": "../../etc/passwd"}},
    {"hashes": {"sha256": "A" * 64}},
    {"length": INTEGER_MAX + 1},
]


@pytest.mark.parametrize("changes", WRONG)
def test_a_release_that_makes_no_sense_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage, match=r"shop/2\.1"):
        read_releases(releases(**changes), root(), at=AT)


def test_custom_fields_never_replace_what_is_hashed() -> None:
    custom = {**CUSTOM, "path": "other", "sha256": "0" * 64, "length": 1}
    release = read_releases(releases(custom=custom), root(), at=AT).releases["shop/2.1"]
    assert (release.path, release.sha256, release.length) == ("shop/2.1", digest_of(b"shop"), 10)
