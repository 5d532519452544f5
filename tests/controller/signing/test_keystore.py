"""Keys at rest and a new installation."""

import ssl
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.app.errors import Conflict, InvalidRequest, NotFound, StorageUnavailable
from controller.clock import SystemClock
from controller.signing import keyfile
from controller.signing.authority import Authority, new_key
from controller.signing.installation import initialise, read_tenant
from controller.signing.keyfile import read_ed25519, read_file, read_p256, write_file, write_key
from controller.signing.keystore import Keystore
from controller.signing.releases import NewRelease, add_release
from controller.signing.tls import server_context
from protocol.envelope import seal, verify
from protocol.ids import AppName, Name, TenantId, digest_of
from protocol.messages import PayloadType
from protocol.trust import read_fleet_root, read_releases
from protocol.units import DAY, later
from tests.controller.signing.keys import AT, YEAR_LATER, request
from tests.protocol.samples import STRANGE_KEY_PEM

ACME = TenantId("acme")


def installed(folder: Path, password: bytes | None = None) -> Keystore:
    hosts = ["localhost", "127.0.0.1"]
    return initialise(folder / "keys", folder / "offline", tenant=ACME, hosts=hosts, at=AT, password=password)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_a_new_installation_has_everything(tmp_path: Path) -> None:
    keystore = installed(tmp_path)

    fleet = read_fleet_root(keystore.fleet_root())
    assert list(fleet.director) == [keystore.director().keyid]
    assert list(fleet.time) == [keystore.time().keyid]
    assert (fleet.issued, fleet.expires) == (AT, YEAR_LATER)
    releases = (tmp_path / "offline" / "releases.json").read_bytes()
    assert read_releases(releases, keystore.release_root(), at=AT).releases == {}
    assert keystore.authority().issue(request(new_key()), Name("acme:d1"), at=AT).expires == later(AT, 7 * DAY)
    assert keystore.server_expires() == later(AT, 90 * DAY)
    assert set(keystore.server_hosts()) == {"localhost", "127.0.0.1"}
    assert keystore.server_context().verify_mode is ssl.CERT_REQUIRED
    assert keystore.server_context(require_client=False).verify_mode is ssl.CERT_NONE


def test_a_broker_sees_a_certificate_that_never_was_a_file(tmp_path: Path) -> None:
    tenant, at = ACME, SystemClock().now()
    keystore = initialise(
        tmp_path / "keys", tmp_path / "offline", tenant=tenant, hosts=["localhost"], at=at, password=None
    )
    before = set((tmp_path / "keys").iterdir())
    subject = shaken(keystore.broker_context(at=at), keystore.server_context())
    assert subject == ((("commonName", "tidegate-controller"),),)
    assert set((tmp_path / "keys").iterdir()) == before

    other = tmp_path / "other.crt"
    other.write_bytes(Authority.create(tenant, at=at).certificate_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(keystore.broker_context(other, at=at), keystore.server_context())


def test_a_brokers_authority_that_is_none_is_said_so(tmp_path: Path) -> None:
    keystore = installed(tmp_path)
    with pytest.raises(NotFound, match=r"nowhere\.crt"):
        keystore.broker_context(tmp_path / "nowhere.crt", at=AT)
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(InvalidRequest, match="expected the broker's CA in PEM"):
        keystore.broker_context(tmp_path / "text", at=AT)


def shaken(client: ssl.SSLContext, server: ssl.SSLContext) -> object:
    """Shake hands in memory; return the subject that the server saw."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname="localhost")
    theirs = server.wrap_bio(up, down, server_side=True)
    for side in (ours, theirs, ours, theirs):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return (theirs.getpeercert() or {}).get("subject")


def test_an_installation_knows_its_tenant(tmp_path: Path) -> None:
    installed(tmp_path)
    assert read_tenant(tmp_path / "keys") == ACME

    for wrong in (b"A/B", b"\xff"):
        (tmp_path / "keys" / "tenant").write_bytes(wrong)
        with pytest.raises(InvalidRequest):
            read_tenant(tmp_path / "keys")
    with pytest.raises(NotFound):
        read_tenant(tmp_path / "offline")


def test_private_keys_are_for_the_owner_only(tmp_path: Path) -> None:
    installed(tmp_path)

    for folder in (tmp_path / "keys", tmp_path / "offline"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        found = modes(folder)
        assert {mode for name, mode in found.items() if name.endswith(".pem")} == {0o600}
    assert sorted(modes(tmp_path / "keys")) == [
        "ca.crt",
        "ca.pem",
        "director.pem",
        "fleet-root.json",
        "release-root.json",
        "server.crt",
        "server.pem",
        "tenant",
        "time.pem",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "offline"]


def test_a_command_signed_with_the_director_key_verifies_under_the_fleet_root(tmp_path: Path) -> None:
    keystore = installed(tmp_path)
    raw = seal(b'{"a":1}', PayloadType.COMMAND, keystore.director())

    found = verify(raw, PayloadType.COMMAND, dict, read_fleet_root(keystore.fleet_root()).director)

    assert found.value == {"a": 1}


def test_the_offline_keys_sign_releases(tmp_path: Path) -> None:
    keystore = installed(tmp_path, password=b"secret")
    key = read_ed25519(tmp_path / "offline" / "release.pem", password=b"secret")
    release = NewRelease(
        app=AppName("shop"),
        version="1",
        filename="a.tgz",
        sha256=digest_of(b""),
        length=0,
        installer="archive",
    )
    current = (tmp_path / "offline" / "releases.json").read_bytes()

    raw = add_release(current, release, release_root=keystore.release_root(), signers=[key], expires=YEAR_LATER)

    assert list(read_releases(raw, keystore.release_root(), at=AT).releases) == ["shop/1/a.tgz"]
    with pytest.raises(InvalidRequest, match="password"):
        read_ed25519(tmp_path / "offline" / "release.pem")


@pytest.mark.parametrize("full", ["keys", "offline"])
def test_nothing_is_overwritten(tmp_path: Path, full: str) -> None:
    (tmp_path / full).mkdir()
    (tmp_path / full / "anything").write_text("mine")

    with pytest.raises(Conflict, match="not empty"):
        installed(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [full]


def test_empty_folders_and_what_a_crash_left_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / ".keys.part").mkdir()
    (tmp_path / ".keys.part" / "director.pem").write_text("half")

    installed(tmp_path)

    with pytest.raises(Conflict):
        installed(tmp_path)


def test_one_folder_for_both_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="both"):
        initialise(tmp_path / "a", tmp_path / "b" / ".." / "a", tenant=ACME, hosts=["h"], at=AT)


def test_bad_hosts_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        initialise(tmp_path / "a", tmp_path / "b", tenant=ACME, hosts=["a b"], at=AT)

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_the_environments_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageUnavailable):
        initialise(tmp_path / "file" / "keys", tmp_path / "file" / "offline", tenant=ACME, hosts=["h"], at=AT)
    with pytest.raises(StorageUnavailable):
        write_file(tmp_path / "absent" / "x", b"")
    with pytest.raises(StorageUnavailable):
        read_file(tmp_path / "file" / "x")


def test_a_folder_that_fills_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from controller.signing import installation

    def busy(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "x").write_text("")

    monkeypatch.setattr(installation, "_check_empty", busy)
    with pytest.raises(StorageUnavailable, match="cannot create"):
        installed(tmp_path)


def test_the_servers_certificate_can_be_renewed(tmp_path: Path) -> None:
    keystore = installed(tmp_path)
    before = (tmp_path / "keys" / "server.pem").read_bytes()

    context = keystore.server_context()

    keystore.renew_server(["localhost"], at=later(AT, 60 * DAY))
    keystore.refresh(context)

    assert keystore.server_expires() == later(AT, 150 * DAY)
    assert (tmp_path / "keys" / "server.pem").read_bytes() != before
    assert keystore.server_context() is not None
    assert modes(tmp_path / "keys")["server.pem"] == 0o600


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    keystore = installed(tmp_path)
    for name in ("director.pem", "server.pem", "ca.pem"):
        (tmp_path / "keys" / name).chmod(0o640)

    for use in (keystore.director, keystore.server_context, keystore.authority):
        with pytest.raises(InvalidRequest, match="0640"):
            use()


def test_missing_and_wrong_files_are_named(tmp_path: Path) -> None:
    keystore = installed(tmp_path)
    keys = tmp_path / "keys"
    (keys / "time.pem").unlink()
    keys.joinpath("server.pem").write_bytes(b"junk")

    with pytest.raises(NotFound, match=r"time\.pem"):
        keystore.time()
    with pytest.raises(InvalidRequest, match=r"server\.pem"):
        keystore.server_expires()
    with pytest.raises(InvalidRequest, match="Ed25519"):
        read_ed25519(keys / "ca.pem")
    with pytest.raises(InvalidRequest, match="P-256"):
        read_p256(keys / "director.pem")
    write_file(keys / "strange.pem", STRANGE_KEY_PEM, mode=0o600)
    with pytest.raises(InvalidRequest, match=r"strange\.pem: expected a private key"):
        read_ed25519(keys / "strange.pem")
    with pytest.raises(ssl.SSLError):
        keystore.server_context()


def test_a_director_key_that_the_root_does_not_list_is_refused(tmp_path: Path) -> None:
    keystore = installed(tmp_path)
    write_key(tmp_path / "keys" / "director.pem", Ed25519PrivateKey.generate(), overwrite=True)

    with pytest.raises(InvalidRequest, match="does not list"):
        keystore.director()


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"one")

    with pytest.raises(Conflict, match="exists"):
        write_file(path, b"two")
    assert path.read_bytes() == b"one"
    write_file(path, b"two", overwrite=True)

    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_file(path, b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("controller.signing.keyfile.os.fsync", full)
    with pytest.raises(StorageUnavailable, match="No space"):
        write_file(path, b"two", overwrite=True)

    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(keyfile.FILE_BYTES_MAX + 1)

    with pytest.raises(InvalidRequest, match="larger"):
        read_file(tmp_path / "huge")


def test_requiring_clients_without_a_ca_is_a_bug(tmp_path: Path) -> None:
    installed(tmp_path)
    server = tmp_path / "keys" / "server.pem"

    with pytest.raises(AssertionError):
        server_context(certificate=server, key=server, ca=None)
