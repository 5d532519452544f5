"""The certificate authority: it sets every field itself, and takes only keys."""

import base64
import ipaddress
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from controller.app.errors import InvalidRequest, NotAuthenticated
from controller.edge.identity import name_of_peer
from controller.signing.authority import Authority, new_key
from controller.signing.roots import moment_of
from protocol.errors import InvalidName
from protocol.ids import Name, TenantId
from protocol.units import DAY, MINUTE, Instant, later
from tests.controller.signing.keys import AT, request

DEVICE = Name("acme:kiosk-17")
AUTHORITY = Authority.create(TenantId("acme"), at=AT)


def issued(csr_pem: str, name: Name = DEVICE) -> x509.Certificate:
    return x509.load_pem_x509_certificate(AUTHORITY.issue(csr_pem, name, at=AT).certificate_pem.encode())


def common_name(certificate: x509.Certificate) -> object:
    return certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def uris(certificate: x509.Certificate) -> list[str]:
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return san.get_values_for_type(x509.UniformResourceIdentifier)


def test_a_device_gets_a_client_certificate_of_seven_days_in_its_name() -> None:
    key = new_key()
    answer = AUTHORITY.issue(request(key), DEVICE, at=AT)
    leaf = x509.load_pem_x509_certificate(answer.certificate_pem.encode())

    assert common_name(leaf) == DEVICE
    assert uris(leaf) == [f"urn:tidegate:{DEVICE}"]
    assert leaf.public_key() == key.public_key()
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert leaf.not_valid_before_utc == moment_of(later(AT, -5 * MINUTE))
    assert answer.expires == later(AT, 7 * DAY)
    assert answer.serial == f"{leaf.serial_number:x}"
    assert answer.chain_pem.encode() == AUTHORITY.certificate_pem


def test_another_verifier_accepts_the_chain() -> None:
    answer = AUTHORITY.issue(request(new_key()), DEVICE, at=AT)
    store = verification.Store([x509.load_pem_x509_certificate(answer.chain_pem.encode())])
    verifier = verification.PolicyBuilder().store(store).time(moment_of(AT)).build_client_verifier()

    found = verifier.verify(x509.load_pem_x509_certificate(answer.certificate_pem.encode()), [])

    assert found.subjects is not None
    assert [subject.value for subject in found.subjects] == [f"urn:tidegate:{DEVICE}"]


@pytest.mark.parametrize("asked", ["other:kiosk-1", "+", "#", "acme:x/../y", "x/acme:kiosk-17", "acme:kiosk-17"])
def test_what_a_request_asks_for_is_ignored(asked: str) -> None:
    leaf = issued(request(new_key(), asked))

    assert (common_name(leaf), uris(leaf)) == (DEVICE, [f"urn:tidegate:{DEVICE}"])


def test_extensions_of_a_request_are_ignored() -> None:
    key = new_key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:tidegate:acme:other")]), critical=False
    )
    leaf = issued(builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode())

    assert uris(leaf) == [f"urn:tidegate:{DEVICE}"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["ed25519", "rsa", "p-384", "secp256k1"],
)
def test_only_p256_keys_are_certified(key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(InvalidRequest, match="P-256"):
        issued(request(key))


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def test_a_request_signed_by_another_key_is_refused() -> None:
    mine, victim = new_key(), new_key()
    der = x509.load_pem_x509_csr(request(mine).encode()).public_bytes(Encoding.DER)
    forged = der.replace(point_of(mine), point_of(victim))
    assert forged != der
    pem = x509.load_der_x509_csr(forged).public_bytes(Encoding.PEM).decode()

    with pytest.raises(InvalidRequest, match="signed by its own key"):
        issued(pem)


@pytest.mark.parametrize(
    "csr", ["", "hello", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"]
)
def test_what_is_no_request_is_refused(csr: str) -> None:
    with pytest.raises(InvalidRequest):
        issued(csr)


def test_a_huge_request_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InvalidRequest, match="8192"):
        issued("x" * 10_000)


def test_a_request_of_an_unknown_version_is_refused() -> None:
    der = x509.load_pem_x509_csr(CSR.encode()).public_bytes(Encoding.DER)
    # The version of a request is its first integer, 0 in every one (RFC 2986, 4.1).
    later = der.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1)
    with pytest.raises(InvalidRequest, match="version"):
        issued(pem(later, "CERTIFICATE REQUEST").decode())


@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_bytes_break_the_issuer(junk: bytes, at: int) -> None:
    der = bytearray(x509.load_pem_x509_csr(CSR.encode()).public_bytes(Encoding.DER))
    der[at : at + len(junk)] = junk
    with suppress(InvalidRequest):
        issued(pem(bytes(der), "CERTIFICATE REQUEST").decode())


def pem(der: bytes, what: str) -> bytes:
    return f"-----BEGIN {what}-----\n{base64.encodebytes(der).decode()}-----END {what}-----\n".encode()


CSR = request(new_key())


@pytest.mark.parametrize("name", ["acme:x/y", "acme:+", "acme", "a:b:c", "Acme:d", "acme:d\n"])
def test_a_name_that_could_reach_other_topics_is_never_certified(name: str) -> None:
    with pytest.raises(InvalidName):
        AUTHORITY.issue(CSR, Name(name), at=AT)


def test_the_longest_name_fits() -> None:
    """It is longer than a common name may be, so the alternative name stands alone."""
    name = Name(f"{'t' * 63}:{'d' * 63}")
    leaf = issued(CSR, name)

    assert uris(leaf) == [f"urn:tidegate:{name}"]
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert not leaf.subject.rdns


def test_the_controllers_certificate_names_its_hosts() -> None:
    server = AUTHORITY.server_certificate(["fleet.example", "localhost", "127.0.0.1", "::1"], at=AT)
    leaf = x509.load_pem_x509_certificate(server.certificate_pem)
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert san.get_values_for_type(x509.DNSName) == ["fleet.example", "localhost"]
    assert san.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert server.expires == later(AT, 90 * DAY)


def test_a_broker_is_shown_a_certificate_that_is_no_devices() -> None:
    shown = AUTHORITY.broker_client_certificate(at=AT)
    leaf = x509.load_pem_x509_certificate(shown.certificate_pem)
    assert leaf.subject.rfc4514_string() == "CN=tidegate-controller"
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert shown.expires == later(AT, DAY)
    [uri] = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    with pytest.raises(NotAuthenticated):
        name_of_peer({"subjectAltName": (("URI", uri.value),)}, TenantId("acme"))


@pytest.mark.parametrize("hosts", [[], [""], ["bücher.example"], ["h"] * 33, ["a b"], ["*"], ["http://x"]])
def test_bad_hosts_are_refused(hosts: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        AUTHORITY.server_certificate(hosts, at=AT)


def test_the_ca_may_sign_leaves_only() -> None:
    ca = x509.load_pem_x509_certificate(AUTHORITY.certificate_pem)

    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert ca.not_valid_after_utc == moment_of(Instant(AT + 3_650 * DAY))


def test_a_ca_certificate_for_another_key_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="another key"):
        Authority.from_pem(AUTHORITY.certificate_pem, new_key())
    with pytest.raises(InvalidRequest, match="PEM"):
        Authority.from_pem(b"junk", new_key())


def test_a_ca_certificate_of_an_unknown_version_is_refused() -> None:
    der = x509.load_pem_x509_certificate(AUTHORITY.certificate_pem).public_bytes(Encoding.DER)
    later = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
    with pytest.raises(InvalidRequest, match="version"):
        Authority.from_pem(pem(later, "CERTIFICATE"), new_key())
