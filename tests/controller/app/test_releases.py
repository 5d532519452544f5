"""Publishing: only what the release keys signed, and nothing published ever changes."""

from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.app import releases, withdrawal
from controller.app.errors import Conflict, InvalidRequest, NotFound
from controller.signing.releases import NewRelease, add_release, new_release_file
from controller.signing.roots import RoleKeys, new_root, release_roles
from protocol.ids import AppName, digest_of
from protocol.units import DAY, later
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import ADMIN, START, Rig

EXPIRES = later(START, 90 * DAY)


class Publisher:
    """The people who hold the release keys."""

    def __init__(self) -> None:
        self.root_key, self.key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        roles = release_roles(root=RoleKeys((self.root_key.public_key(),)), release=RoleKeys((self.key.public_key(),)))
        self.root = new_root(roles, [self.root_key], issued=START, expires=EXPIRES)
        self.document = new_release_file(self.root, [self.key], expires=EXPIRES)

    def sign(self, version: str, *, counter: int | None = None, filename: str = "shop.tar.gz") -> bytes:
        artifact = version.encode()
        release = NewRelease(
            app=AppName("shop"),
            version=version,
            filename=filename,
            sha256=digest_of(artifact),
            length=len(artifact),
            installer="archive",
            counter=counter,
        )
        self.document = add_release(self.document, release, release_root=self.root, signers=[self.key], expires=EXPIRES)
        return self.document


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def rig(publisher: Publisher) -> Rig:
    return Rig(release_root=publisher.root)


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


def upload(rig: Rig, version: str) -> None:
    data = version.encode()
    rig.do(releases.upload, digest=digest_of(data), length=len(data), chunks=chunks(data))


def test_a_signed_release_is_published_once_its_artifact_is_there(rig: Rig, publisher: Publisher) -> None:
    document = publisher.sign("1.0.0")
    with pytest.raises(InvalidRequest, match="not uploaded"):
        rig.do(releases.publish, document=document)
    upload(rig, "1.0.0")

    published = rig.do(releases.publish, document=document)

    assert [(r.app, r.version, r.counter) for r in published] == [("shop", "1.0.0", 1)]
    assert run_now(releases.document(rig.controller)) == document
    assert rig.do(releases.list_releases) == published


def test_before_the_first_release_there_is_no_document(rig: Rig) -> None:
    with pytest.raises(NotFound):
        run_now(releases.document(rig.controller))


def test_the_same_document_twice_is_a_conflict(rig: Rig, publisher: Publisher) -> None:
    upload(rig, "1.0.0")
    document = publisher.sign("1.0.0")
    rig.do(releases.publish, document=document)

    with pytest.raises(Conflict, match=r"\d is published"):
        rig.do(releases.publish, document=document)


def test_a_document_that_the_release_keys_did_not_sign_is_refused(rig: Rig) -> None:
    upload(rig, "1.0.0")

    with pytest.raises(InvalidRequest, match="not acceptable"):
        rig.do(releases.publish, document=Publisher().sign("1.0.0"))
    with pytest.raises(InvalidRequest):
        rig.do(releases.publish, document=b"junk")


def test_an_expired_document_is_refused(rig: Rig, publisher: Publisher) -> None:
    upload(rig, "1.0.0")
    rig.clock.time = EXPIRES

    with pytest.raises(InvalidRequest, match="expired"):
        rig.do(releases.publish, document=publisher.sign("1.0.0"))


def test_a_published_release_can_be_neither_dropped_nor_changed(rig: Rig, publisher: Publisher) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        upload(rig, version)
    empty = publisher.document
    rig.do(releases.publish, document=publisher.sign("1.0.0"))

    publisher.document = empty
    publisher.sign("1.1.0")
    with pytest.raises(Conflict, match=r"shop 1\.0\.0 is published and cannot be changed or dropped"):
        rig.do(releases.publish, document=publisher.sign("1.2.0"))


def test_a_version_cannot_be_published_under_another_path(rig: Rig, publisher: Publisher) -> None:
    upload(rig, "1.0.0")
    rig.do(releases.publish, document=publisher.sign("1.0.0"))

    with pytest.raises(Conflict, match="already under another path"):
        rig.do(releases.publish, document=publisher.sign("1.0.0", filename="other.tar.gz"))


def test_an_artifact_of_another_length_is_refused(rig: Rig, publisher: Publisher) -> None:
    rig.shelf.sizes[digest_of(b"1.0.0")] = 4

    with pytest.raises(InvalidRequest, match="of 4 bytes"):
        rig.do(releases.publish, document=publisher.sign("1.0.0"))
    assert run_now(releases.list_releases(rig.controller, ADMIN)) == ()


def test_a_release_that_was_withdrawn_is_no_hindrance_to_the_next_file(rig: Rig, publisher: Publisher) -> None:
    upload(rig, "1.0.0")
    rig.do(releases.publish, document=publisher.sign("1.0.0"))
    rig.do(withdrawal.withdraw, app="shop", version="1.0.0", reason="it burns")
    upload(rig, "2.0.0")
    rig.do(releases.publish, document=publisher.sign("2.0.0"))
    assert [(one.version, one.state) for one in rig.do(releases.list_releases)] == [
        ("1.0.0", "withdrawn"),
        ("2.0.0", "published"),
    ]
