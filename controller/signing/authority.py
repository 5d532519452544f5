"""The tenant's certificate authority: who may connect as which device, and who the controller is.

The rules this module keeps:

1. The issuer sets every field; of a signing request only the key is used.
2. Keys are P-256: `cryptography`'s own verifier and older TLS stacks refuse Ed25519 certificates.
3. The CA certificate signs leaves only (path length 0). It carries no name constraints: OpenSSL refuses every
   ``urn:`` name under a constraint on URIs (RFC 5280, section 4.2.1.10, knows only those with a host), and
   `cryptography`'s verifier refuses constraints on directory names.
"""

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.app.errors import InvalidRequest
from controller.app.ports import IssuedCertificate
from controller.signing.keyfile import to_pem, write_file, write_key
from protocol.ids import Name, TenantId, split_name
from protocol.trust import instant_of
from protocol.units import Instant

CSR_LENGTH_MAX: Final = 8_192
HOSTS_MAX: Final = 32

CA_SPAN: Final = timedelta(days=3_650)
SERVER_SPAN: Final = timedelta(days=90)
BROKER_SPAN: Final = timedelta(days=365)
"""Nobody renews it but a person."""
DEVICE_SPAN: Final = timedelta(days=7)
BROKER_CLIENT_SPAN: Final = timedelta(days=1)
BACKDATED: Final = timedelta(minutes=5)
"""Clocks of devices may be behind ours by this much."""

COMMON_NAME_LENGTH_MAX: Final = 64
SAN_PREFIX: Final = "urn:tidegate:"
CONTROLLER_NAME: Final = "tidegate-controller"
"""What brokers know the controller by; no device's name, since those hold a colon."""


_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
"""RFC 1123, section 2.1."""


class ServerCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate of the controller itself, as a server or a client, with its private key, both in PEM."""

    certificate_pem: bytes
    key_pem: bytes
    expires: Instant


def new_key() -> EllipticCurvePrivateKey:
    """Draw a new P-256 key."""
    return generate_private_key(SECP256R1())


class Authority:
    """Issues certificates under the CA of one tenant; implements `controller.app.ports.CertificateAuthority`."""

    def __init__(self, certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> None:
        """Take the CA's certificate and its key.

        Raises:
            InvalidRequest: when they do not belong together.
        """
        if certificate.public_key() != key.public_key():
            raise InvalidRequest("the CA's certificate is for another key than the CA's key file holds")
        self._certificate = certificate
        self._key = key
        self.certificate_pem: Final = certificate.public_bytes(Encoding.PEM)

    @classmethod
    def create(cls, tenant: TenantId, *, at: Instant) -> "Authority":
        """Make a new CA for *tenant*, valid for ten years from *at*."""
        key = new_key()
        name = _name(f"Tidegate CA of {tenant}")
        builder = _builder(name, name, key.public_key(), _span(at, CA_SPAN))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        return cls(builder.sign(key, SHA256()), key)

    @classmethod
    def from_pem(cls, certificate_pem: bytes, key: EllipticCurvePrivateKey) -> "Authority":
        """Read an existing CA.

        Raises:
            InvalidRequest: when *certificate_pem* is no certificate, or one for another key.
        """
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
        except (ValueError, x509.InvalidVersion) as error:
            raise InvalidRequest(f"expected the CA's certificate in PEM: {error}") from error
        return cls(certificate, key)

    def write(self, certificate: Path, key: Path) -> None:
        """Write the CA's certificate and key as new files; see `write_file` for what it raises."""
        write_key(key, self._key)
        write_file(certificate, self.certificate_pem)

    def issue(self, csr_pem: str, name: Name, *, at: Instant) -> IssuedCertificate:
        """Issue a client certificate of seven days for *name* over the key of a signing request.

        Raises:
            InvalidRequest: when *csr_pem* is no PEM request, its own signature is wrong, or its key is not P-256.
            protocol.errors.InvalidName: when *name* could reach another device's topics; that is the caller's bug.
        """
        split_name(name)
        public = _requested_key(csr_pem)
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{SAN_PREFIX}{name}")])
        leaf = self._leaf(_name(name), public, san, usage=ExtendedKeyUsageOID.CLIENT_AUTH, span=_span(at, DEVICE_SPAN))
        return IssuedCertificate(
            certificate_pem=leaf.public_bytes(Encoding.PEM).decode(),
            chain_pem=self.certificate_pem.decode(),
            serial=f"{leaf.serial_number:x}",
            expires=instant_of(leaf.not_valid_after_utc),
        )

    def server_certificate(self, hosts: Sequence[str], *, at: Instant) -> ServerCertificate:
        """Issue a certificate of 90 days, with a new key, for MQTT and HTTPS at *hosts* (names or addresses).

        Raises:
            InvalidRequest: when there is no host, there are too many, or one is neither a name nor an address.
        """
        return self._server("tidegate controller", hosts, span=_span(at, SERVER_SPAN))

    def broker_certificate(self, hosts: Sequence[str], *, at: Instant) -> ServerCertificate:
        """Issue a certificate of one year, with a new key, for an external broker at *hosts* (names or addresses).

        Raises:
            InvalidRequest: as `server_certificate` does.
        """
        return self._server("tidegate broker", hosts, span=_span(at, BROKER_SPAN))

    def _server(self, common_name: str, hosts: Sequence[str], *, span: tuple[datetime, datetime]) -> ServerCertificate:
        if not 1 <= len(hosts) <= HOSTS_MAX:
            raise InvalidRequest(f"{len(hosts)} hosts: expected 1 to {HOSTS_MAX}")
        san = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return self._own(common_name, san, usage=ExtendedKeyUsageOID.SERVER_AUTH, span=span)

    def broker_client_certificate(self, *, at: Instant) -> ServerCertificate:
        """Issue a certificate of one day, with a new key, that the controller shows to a broker."""
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(SAN_PREFIX + CONTROLLER_NAME)])
        usage, span = ExtendedKeyUsageOID.CLIENT_AUTH, _span(at, BROKER_CLIENT_SPAN)
        return self._own(CONTROLLER_NAME, san, usage=usage, span=span)

    def _own(
        self,
        common_name: str,
        san: x509.SubjectAlternativeName,
        *,
        usage: x509.ObjectIdentifier,
        span: tuple[datetime, datetime],
    ) -> ServerCertificate:
        key = new_key()
        leaf = self._leaf(_name(common_name), key.public_key(), san, usage=usage, span=span)
        return ServerCertificate(
            certificate_pem=leaf.public_bytes(Encoding.PEM),
            key_pem=to_pem(key),
            expires=instant_of(leaf.not_valid_after_utc),
        )

    def _leaf(
        self,
        subject: x509.Name,
        public: EllipticCurvePublicKey,
        san: x509.SubjectAlternativeName,
        *,
        usage: x509.ObjectIdentifier,
        span: tuple[datetime, datetime],
    ) -> x509.Certificate:
        builder = _builder(self._certificate.subject, subject, public, span)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        # Who has no subject is known by its alternative name alone, which is critical then (RFC 5280, 4.2.1.6).
        builder = builder.add_extension(san, critical=not subject.rdns)
        return builder.sign(self._key, SHA256())


def _requested_key(csr_pem: str) -> EllipticCurvePublicKey:
    if len(csr_pem) > CSR_LENGTH_MAX:
        raise InvalidRequest(f"signing request of {len(csr_pem)} characters: expected at most {CSR_LENGTH_MAX}")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        public, is_signed = request.public_key(), request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidRequest(f"expected a certificate signing request in PEM: {error}") from error
    if not isinstance(public, EllipticCurvePublicKey) or not isinstance(public.curve, SECP256R1):
        raise InvalidRequest("signing request: expected a P-256 key")
    if not is_signed:
        raise InvalidRequest("signing request: expected it to be signed by its own key")
    return public


def _span(at: Instant, length: timedelta) -> tuple[datetime, datetime]:
    moment = datetime.fromtimestamp(at // 1000, tz=UTC)
    return moment - BACKDATED, moment + length


def _name(common_name: str) -> x509.Name:
    """Return a subject; an empty one where *common_name* is longer than RFC 5280 allows (appendix A.1)."""
    if len(common_name) > COMMON_NAME_LENGTH_MAX:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    issuer: x509.Name, subject: x509.Name, public: EllipticCurvePublicKey, span: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if _HOST.fullmatch(host) is None:
        raise InvalidRequest(f"host {host[:80]!r}: expected a host name, in ASCII, or an IP address")
    return x509.DNSName(host)
