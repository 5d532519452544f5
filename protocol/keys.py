"""Ed25519 keys for envelopes; only `cryptography` ever checks a signature (RFC 8032).

securesystemslib falls back silently to a pure-Python verifier that accepts malleable signatures; importing
`cryptography` here makes every program fail at its start instead.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from protocol.envelope import KeyRing
from protocol.errors import MalformedMessage
from protocol.ids import KeyId


def keyid_of(public: bytes) -> KeyId:
    """Return the key id of a raw 32-byte public key: SHA-256 in hexadecimal."""
    return KeyId(hashlib.sha256(public).hexdigest())


class Ed25519Verify:
    """A public key that checks signatures."""

    __slots__ = ("_key", "public")

    def __init__(self, public: bytes) -> None:
        """Take a raw public key.

        Raises:
            MalformedMessage: when *public* is not 32 bytes.
        """
        try:
            self._key = Ed25519PublicKey.from_public_bytes(public)
        except ValueError as error:
            raise MalformedMessage(f"Ed25519 public key of {len(public)} bytes: expected 32") from error
        self.public = public

    def is_signature(self, signature: bytes, data: bytes) -> bool:
        """Say whether *signature* was made over *data* by this key's other half."""
        try:
            self._key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class Ed25519Signing:
    """A private key that signs."""

    __slots__ = ("_key", "keyid", "public")

    def __init__(self, key: Ed25519PrivateKey, *, keyid: KeyId | None = None) -> None:
        """Take a private key, and its id where a root document gives it another than `keyid_of`."""
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()
        self.keyid: KeyId = keyid or keyid_of(self.public)

    @classmethod
    def from_pem(cls, pem: bytes, *, password: bytes | None = None, keyid: KeyId | None = None) -> "Ed25519Signing":
        """Read a PKCS#8 PEM.

        Raises:
            MalformedMessage: when *pem* is no Ed25519 private key, or *password* does not open it.
        """
        try:
            key = load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MalformedMessage(f"expected an Ed25519 private key in PEM: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise MalformedMessage(f"expected an Ed25519 private key, found {type(key).__name__}")
        return cls(key, keyid=keyid)

    def to_pem(self, *, password: bytes | None = None) -> bytes:
        """Return the key as PKCS#8 PEM, encrypted where a *password* is given."""
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of *data*."""
        return self._key.sign(data)


def ring_of(public: bytes) -> KeyRing:
    """Return the key ring that holds one raw public key under its own id."""
    return {keyid_of(public): Ed25519Verify(public)}
