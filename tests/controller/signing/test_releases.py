"""The release file: what is signed here is what devices read."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.app.errors import Conflict, InvalidRequest
from controller.signing.releases import (
    NewRelease,
    add_release,
    add_signatures,
    new_release_file,
    renew,
    signatures_missing,
)
from controller.signing.roots import RoleKeys, new_root, release_roles
from protocol.errors import MalformedMessage, UntrustedMessage
from protocol.ids import AppName, digest_of
from protocol.trust import read_releases
from protocol.units import DAY, later
from tests.controller.signing.keys import AT, YEAR_LATER

OWNER, FIRST, SECOND, STRANGER = (Ed25519PrivateKey.generate() for _ in range(4))
SOON = later(AT, 90 * DAY)


def root(*owners: Ed25519PrivateKey, threshold: int = 1) -> bytes:
    release = RoleKeys(tuple(key.public_key() for key in owners), threshold)
    wanted = release_roles(root=RoleKeys((OWNER.public_key(),)), release=release)
    return new_root(wanted, [OWNER], issued=AT, expires=YEAR_LATER)


ROOT = root(FIRST)
EMPTY = new_release_file(ROOT, [FIRST], expires=SOON)


def release(version: str = "1.0", **changes: Any) -> NewRelease:
    base = NewRelease(
        app=AppName("shop"),
        version=version,
        filename="shop.tar.gz",
        sha256=digest_of(b"shop"),
        length=4,
        installer="archive",
        hardware=("k1", "k2"),
    )
    return msgspec.structs.replace(base, **changes)


def added(current: bytes, what: NewRelease) -> bytes:
    return add_release(current, what, release_root=ROOT, signers=[FIRST], expires=SOON)


def test_a_release_reads_as_devices_read_it() -> None:
    found = read_releases(added(EMPTY, release()), ROOT, at=AT)

    assert (found.version, found.expires) == (2, SOON)
    info = found.releases["shop/1.0/shop.tar.gz"]
    assert (info.app, info.version, info.sha256, info.length) == ("shop", "1.0", digest_of(b"shop"), 4)
    assert (info.installer, info.hardware) == ("archive", ("k1", "k2"))


def test_counters_rise_and_floors_follow_one_behind_for_each_app() -> None:
    current = EMPTY
    for what in (release("1.0"), release("1.1"), release("9", app=AppName("till")), release("1.2")):
        current = added(current, what)

    found = read_releases(current, ROOT, at=AT).releases.values()

    assert [(r.version, r.counter, r.floor) for r in found if r.app == "shop"] == [
        ("1.0", 1, 0),
        ("1.1", 2, 1),
        ("1.2", 3, 2),
    ]
    assert [(r.counter, r.floor) for r in found if r.app == "till"] == [(1, 0)]


def test_a_security_fix_forbids_going_back() -> None:
    current = added(added(EMPTY, release("1.0")), release("1.1", counter=20, floor=20))

    info = read_releases(current, ROOT, at=AT).releases["shop/1.1/shop.tar.gz"]
    assert (info.counter, info.floor) == (20, 20)


def test_releases_are_immutable_and_counters_go_up() -> None:
    current = added(EMPTY, release("1.0", counter=5))

    with pytest.raises(Conflict, match="immutable"):
        added(current, release("1.0", sha256=digest_of(b"other")))
    with pytest.raises(Conflict, match="more than"):
        added(current, release("1.1", counter=5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"app": "Shop"},
        {"app": "a/b"},
        {"sha256": "A" * 64},
        {"installer": "../x"},
        {"version": "1/0"},
        {"version": ""},
        {"version": ".."},
        {"filename": "-x"},
        {"filename": "a b"},
        {"filename": "x" * 129},
        {"app": "a" * 63, "version": "1" * 100, "filename": "f" * 100},
        {"hardware": ("k",) * 65},
        {"length": -1},
        {"length": 2**53},
        {"floor": 2},
        {"floor": -1},
        {"counter": 2**53},
    ],
)
def test_fields_that_break_a_rule_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        added(EMPTY, release(**wrong))


def test_two_owners_sign_one_after_the_other() -> None:
    both = root(FIRST, SECOND, threshold=2)
    half = new_release_file(both, [FIRST], expires=SOON)

    assert signatures_missing(half, both) == 1
    with pytest.raises(UntrustedMessage):
        read_releases(half, both, at=AT)
    with pytest.raises(InvalidRequest, match="version 1"):
        add_release(half, release(), release_root=both, signers=[FIRST], expires=SOON)

    whole = add_signatures(half, both, [SECOND])
    assert signatures_missing(whole, both) == 0
    assert read_releases(whole, both, at=AT).version == 1


def test_only_listed_keys_sign() -> None:
    for signers in ([], [STRANGER], [FIRST, STRANGER], [OWNER]):
        with pytest.raises(InvalidRequest, match="lists"):
            add_release(EMPTY, release(), release_root=ROOT, signers=signers, expires=SOON)
        with pytest.raises(InvalidRequest, match="lists"):
            add_signatures(EMPTY, ROOT, signers)


def test_a_tampered_file_is_refused_here_and_by_devices() -> None:
    raw = added(EMPTY, release()).replace(b'"archive"', b'"exec"')

    with pytest.raises(UntrustedMessage):
        read_releases(raw, ROOT, at=AT)
    with pytest.raises(InvalidRequest):
        added(raw, release("1.1"))


@pytest.mark.parametrize("raw", [b"", b"{}", ROOT, b" " * 5_000_001])
def test_what_is_no_release_file_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        added(raw, release())
    with pytest.raises(MalformedMessage):
        read_releases(raw, ROOT, at=AT)


def test_what_is_no_root_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="root"):
        new_release_file(EMPTY, [FIRST], expires=SOON)


def test_renewing_moves_the_expiry_only() -> None:
    current = added(EMPTY, release())

    renewed = renew(current, release_root=ROOT, signers=[FIRST], expires=YEAR_LATER)

    old, new = read_releases(current, ROOT, at=AT), read_releases(renewed, ROOT, at=AT)
    assert (new.version, new.expires, new.releases) == (3, YEAR_LATER, old.releases)
    with pytest.raises(UntrustedMessage, match="expired"):
        read_releases(current, ROOT, at=SOON)
