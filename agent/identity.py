"""The device's keys and papers on disk: three keys for three purposes, and what the enrolment gave.

```
<state>/identity/
  device.pem         certificate, its chain and its P-256 key, in one file so that a renewal is one rename
  signing.pem        Ed25519, for messages and requests
  sealing.pem        X25519, for secrets that are sealed to this device
  ca.pem             whom the device believes to be the controller
  fleet-root.json    pinned
  release-root.json  pinned
  enrolment.json     name, addresses, model; written last: an enrolment without it is none
```
"""

from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from agent.errors import ConfigError
from agent.files import write_whole
from protocol.errors import MalformedMessage
from protocol.ids import Name
from protocol.keys import Ed25519Signing
from protocol.profiles import Profile

RENEW_AT: Final = 2 / 3
"""The share of a certificate's life after which it is renewed."""


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What the enrolment gave, but for keys and documents; one without a profile is from before there were any."""

    name: Name
    model: str
    controller: str
    mqtt_host: str
    mqtt_port: int
    mqtt_profile: Profile = Profile.MQTT5


class Identity:
    """The folder of keys and papers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def device_pem(self) -> Path:
        """Certificate, chain and TLS key."""
        return self.folder / "device.pem"

    @property
    def ca(self) -> Path:
        """The CA that the controller's certificate must chain to."""
        return self.folder / "ca.pem"

    @property
    def fleet_root(self) -> Path:
        """The pinned fleet root."""
        return self.folder / "fleet-root.json"

    @property
    def release_root(self) -> Path:
        """The pinned release root."""
        return self.folder / "release-root.json"

    @property
    def is_enrolled(self) -> bool:
        """Whether an enrolment was completed."""
        return (self.folder / "enrolment.json").exists()

    def enrolment(self) -> Enrolment:
        """Return what the enrolment gave.

        Raises:
            ConfigError: when the device is not enrolled, or the file is broken.
        """
        path = self.folder / "enrolment.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Enrolment)
        except FileNotFoundError as error:
            raise ConfigError(f"{path} is missing: run 'tidegate-agent enrol' first") from error
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error

    def keep_enrolment(self, enrolment: Enrolment) -> None:
        """Complete an enrolment."""
        write_whole(self.folder / "enrolment.json", msgspec.json.encode(enrolment))

    def signer(self) -> Ed25519Signing:
        """Return the key for messages, made on first use.

        Raises:
            ConfigError: when the file is no such key.
        """
        path = self.folder / "signing.pem"
        if not path.exists():
            write_whole(path, Ed25519Signing(Ed25519PrivateKey.generate()).to_pem())
        try:
            return Ed25519Signing.from_pem(path.read_bytes())
        except MalformedMessage as error:
            raise ConfigError(f"{path}: {error}") from error

    def sealing_public(self) -> bytes:
        """Return the public key that secrets are sealed to; its pair is made on first use."""
        path = self.folder / "sealing.pem"
        if not path.exists():
            write_whole(path, _pem(X25519PrivateKey.generate()))
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(f"{path}: {error}") from error
        if not isinstance(key, X25519PrivateKey):
            raise ConfigError(f"{path}: expected an X25519 private key")
        return key.public_key().public_bytes_raw()

    def keep_certificate(self, key: ec.EllipticCurvePrivateKey, certificate: str, chain: str) -> None:
        """Put a certificate and its key in force, both at once."""
        parts = (certificate.strip(), chain.strip(), _pem(key).decode().strip())
        write_whole(self.device_pem, "\n".join(parts).encode() + b"\n")

    def renewal_due_ms(self) -> int:
        """Return when the certificate is to be renewed, in milliseconds since 1970."""
        from cryptography import x509

        certificate = x509.load_pem_x509_certificate(self.device_pem.read_bytes())
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return int((begin + (end - begin) * RENEW_AT).timestamp() * 1_000)


def _pem(key: ec.EllipticCurvePrivateKey | X25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_tls_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def signing_request(key: ec.EllipticCurvePrivateKey, common_name: str) -> str:
    """Return a certificate signing request in PEM; the issuer sets the name itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return request.public_bytes(Encoding.PEM).decode()
