"""The trust roots: what is made here is what devices read; what would weaken them is refused."""

import copy

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.metadata import Metadata, Root

from controller.app.errors import InvalidRequest
from controller.signing.roots import (
    RoleKeys,
    Roles,
    fleet_roles,
    keyid_of,
    lint,
    new_root,
    next_root,
    release_roles,
    signer_of,
    tuf_key,
)
from protocol.errors import UntrustedMessage
from protocol.keys import Ed25519Signing
from protocol.trust import DIRECTOR, TIME, parse_root, read_fleet_root
from protocol.units import DAY, later
from tests.controller.signing.keys import AT, YEAR_LATER


def keys(count: int) -> list[Ed25519PrivateKey]:
    return [Ed25519PrivateKey.generate() for _ in range(count)]


def role(owners: list[Ed25519PrivateKey], threshold: int = 1) -> RoleKeys:
    return RoleKeys(tuple(key.public_key() for key in owners), threshold)


OFFLINE, OTHERS = keys(3), keys(3)
DIRECTOR_KEY, TIME_KEY, NEXT_DIRECTOR = keys(3)


def roles(root: RoleKeys | None = None) -> Roles:
    return fleet_roles(root=root or role(OFFLINE[:1]), director=DIRECTOR_KEY.public_key(), time=TIME_KEY.public_key())


def made(root: RoleKeys | None = None, signers: list[Ed25519PrivateKey] | None = None) -> bytes:
    return new_root(roles(root), signers or OFFLINE[:1], issued=AT, expires=YEAR_LATER)


def test_a_fleet_root_reads_as_devices_read_it() -> None:
    found = read_fleet_root(made())

    assert (found.version, found.issued, found.expires) == (1, AT, YEAR_LATER)
    assert list(found.director) == [keyid_of(made(), DIRECTOR, DIRECTOR_KEY.public_key())]
    assert list(found.time) == [keyid_of(made(), TIME, TIME_KEY.public_key())]


def test_the_director_signs_under_the_id_that_the_root_lists() -> None:
    root = made()
    key = Ed25519Signing(DIRECTOR_KEY, keyid=keyid_of(root, DIRECTOR, DIRECTOR_KEY.public_key()))

    assert read_fleet_root(root).director[key.keyid].is_signature(key.sign(b"command"), b"command")


def test_a_key_that_the_root_does_not_list_has_no_id() -> None:
    with pytest.raises(InvalidRequest, match="does not list"):
        keyid_of(made(), TIME, DIRECTOR_KEY.public_key())


def test_a_threshold_has_to_be_met() -> None:
    two_of_three = role(OFFLINE, 2)

    assert read_fleet_root(made(two_of_three, OFFLINE[:2])).version == 1
    for signers in (OFFLINE[:1], [OFFLINE[0], OFFLINE[0]], [OFFLINE[0], *OTHERS]):
        with pytest.raises(InvalidRequest, match="2 of the 3"):
            made(two_of_three, signers)


def test_the_next_version_changes_what_it_says_and_nothing_else() -> None:
    first = made()
    changed: Roles = {DIRECTOR: RoleKeys((NEXT_DIRECTOR.public_key(),))}

    second = next_root(first, changed, OFFLINE[:1], issued=later(AT, DAY), expires=later(YEAR_LATER, DAY))

    old, new = read_fleet_root(first), read_fleet_root(second)
    assert (new.version, new.issued, new.expires) == (2, AT + DAY, YEAR_LATER + DAY)
    assert list(new.time) == list(old.time)
    assert list(new.director) == [keyid_of(second, DIRECTOR, NEXT_DIRECTOR.public_key())]
    assert tuf_key(DIRECTOR_KEY.public_key()).keyid not in parse_root(second).signed.keys
    assert read_fleet_root(first).version == 1


def test_new_root_keys_need_both_the_old_and_the_new_owners() -> None:
    first = made()
    changed = {"root": role(OTHERS, 2), "snapshot": role(OTHERS, 2)}

    for signers in (OTHERS, OFFLINE[:1], [OFFLINE[0], OTHERS[0]]):
        with pytest.raises(InvalidRequest, match="lacks signatures"):
            next_root(first, changed, signers, issued=AT, expires=YEAR_LATER)
    second = next_root(first, changed, [OFFLINE[0], *OTHERS[:2]], issued=AT, expires=YEAR_LATER)
    third = next_root(second, {}, OTHERS[1:], issued=AT, expires=YEAR_LATER)

    assert parse_root(third).signed.version == 3
    parse_root(first).signed.verify_delegate("root", parse_root(second).signed_bytes, parse_root(second).signatures)


def test_a_tampered_root_is_refused_here_and_by_devices() -> None:
    raw = made().replace(b'"version": 1', b'"version": 2').replace(b'"version":1', b'"version":2')

    with pytest.raises(UntrustedMessage):
        read_fleet_root(raw)
    with pytest.raises(InvalidRequest):
        next_root(raw, {}, OFFLINE, issued=AT, expires=YEAR_LATER)
    with pytest.raises(InvalidRequest):
        next_root(b"junk", {}, OFFLINE, issued=AT, expires=YEAR_LATER)


def test_a_root_that_is_over_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="expires"):
        new_root(roles(), OFFLINE[:1], issued=YEAR_LATER, expires=AT)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (roles(role(OFFLINE[:2], 3)), "asks for 3 of 2"),
        (roles(role(OFFLINE[:1], 0)), "at least 1"),
        (roles(role(keys(17))), "more than 16"),
        (roles(role([DIRECTOR_KEY])), "'targets' shares a key"),
        (roles(role([TIME_KEY, *OFFLINE])), "'timestamp' shares a key"),
    ],
)
def test_roots_that_weaken_or_lock_out_are_refused(wrong: Roles, text: str) -> None:
    with pytest.raises((InvalidRequest, ValueError), match=text):
        new_root(wrong, OFFLINE, issued=AT, expires=YEAR_LATER)


def test_one_key_under_two_ids_is_found() -> None:
    root = copy.deepcopy(parse_root(made()).signed)
    key = tuf_key(OFFLINE[0].public_key())
    twin = copy.deepcopy(key)
    twin.keyid = "f" * 64
    root.add_key(twin, "root")
    root.roles["root"].threshold = 2

    faults = lint(root)

    assert any("second id" in fault for fault in faults)
    assert any("asks for 2 of 1" in fault for fault in faults)


def test_python_tuf_itself_counts_such_a_key_twice() -> None:
    """The reason for the lint; when this fails, python-tuf has mended it."""
    root = copy.deepcopy(parse_root(made()).signed)
    twin = tuf_key(OFFLINE[0].public_key())
    twin.keyid = "f" * 64
    root.add_key(twin, "root")
    root.roles["root"].threshold = 2
    document: Metadata[Root] = Metadata(root)
    signer = signer_of(OFFLINE[0])
    document.sign(signer)
    signature = copy.deepcopy(next(iter(document.signatures.values())))
    signature.keyid = twin.keyid
    document.signatures[twin.keyid] = signature

    assert parse_root(document.to_bytes()).signed.version == 1


def test_a_release_root_has_one_offline_owner_for_each_purpose() -> None:
    raw = new_root(
        release_roles(root=role(OFFLINE, 2), release=role(OTHERS, 2)), OFFLINE, issued=AT, expires=YEAR_LATER
    )
    found = parse_root(raw).signed

    assert {name: (len(r.keyids), r.threshold) for name, r in found.roles.items()} == {
        "root": (3, 2),
        "targets": (3, 2),
        "snapshot": (3, 2),
        "timestamp": (3, 2),
    }
