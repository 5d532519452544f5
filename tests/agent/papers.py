"""Certificates and TUF documents for the tests that run the agent for real."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from protocol.ids import digest_of
from protocol.keys import Ed25519Signing
from protocol.trust import instant_of

NOW = datetime.now(tz=UTC).replace(microsecond=0)
YEAR = timedelta(days=365)


class Authority:
    """A tenant's CA."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme CA")])
        builder = self._builder(self.name, self.key.public_key(), YEAR)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.sign(self.key, SHA256())
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def _builder(self, subject: x509.Name, public: Any, life: timedelta) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(hours=1))
            .not_valid_after(NOW + life)
        )

    def server(self) -> bytes:
        """Return certificate and key of a controller on 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "controller")])
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        builder = self._builder(subject, key.public_key(), YEAR).add_extension(names, critical=False)
        pem = builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)
        return pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def issue(self, csr: str, name: str, *, life: timedelta = timedelta(days=7)) -> str:
        """Return a device's certificate in PEM."""
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:tidegate:{name}")])
        builder = self._builder(subject, request.public_key(), life).add_extension(uri, critical=False)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()


class Trustees:
    """The keys of both roots, and the documents they sign."""

    def __init__(self) -> None:
        self.root_signer = CryptoSigner.generate_ed25519()
        self.release_signer = CryptoSigner.generate_ed25519()
        self.director, self.time = _new_key(), _new_key()

    def fleet_root(self) -> bytes:
        """Return the fleet root."""
        root = Root(expires=NOW + YEAR, consistent_snapshot=False)
        root.unrecognized_fields["tidegate-issued"] = instant_of(NOW - timedelta(days=1))
        root.add_key(self.root_signer.public_key, "root")
        for key, role in ((self.director, "targets"), (self.time, "timestamp")):
            root.add_key(_public(key), role)
        return self._signed(root, self.root_signer)

    def release_root(self) -> bytes:
        """Return the release root."""
        root = Root(expires=NOW + YEAR, consistent_snapshot=False)
        root.add_key(self.root_signer.public_key, "root")
        root.add_key(self.release_signer.public_key, "targets")
        return self._signed(root, self.root_signer)

    def releases(
        self, files: dict[str, tuple[bytes, dict[str, Any]]], *, version: int, life: timedelta = YEAR
    ) -> bytes:
        """Return a release file of paths, their bytes, and what is said about them."""
        targets = {
            path: TargetFile(len(data), {"sha256": digest_of(data)}, path, {"custom": custom})
            for path, (data, custom) in files.items()
        }
        signed = Targets(version=version, expires=NOW + life, targets=targets)
        return self._signed(signed, self.release_signer)

    def _signed(self, document: Root | Targets, signer: CryptoSigner) -> bytes:
        metadata = Metadata(document)  # type: ignore[type-var]
        metadata.sign(signer)
        return metadata.to_bytes()


def _new_key() -> Ed25519Signing:
    return Ed25519Signing(Ed25519PrivateKey.generate())


def _public(key: Ed25519Signing) -> Any:
    from securesystemslib.signer import SSlibKey

    return SSlibKey(key.keyid, "ed25519", "ed25519", {"public": key.public.hex()})
