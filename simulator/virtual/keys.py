"""Keys for simulated worlds: real ones, or a keyed hash that costs a hundredth. Production never imports this.

A keyed hash is as good as a signature here because nobody in the world forges: hostile bytes are recordings,
changed bytes and bytes signed by a stranger, and a keyed hash refuses all three.
"""

import hashlib
from collections.abc import Callable
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.envelope import KeyRing, SigningKey
from protocol.ids import KeyId
from protocol.keys import Ed25519Signing, keyid_of, ring_of

SECRET_BYTES: Final = 32


class HashKey:
    """A key that signs and verifies: BLAKE2b keyed with what also serves as its public half."""

    __slots__ = ("keyid", "public")

    def __init__(self, public: bytes) -> None:
        self.public = public
        self.keyid: KeyId = keyid_of(public)

    def sign(self, data: bytes) -> bytes:
        """Return the keyed hash of *data*."""
        return hashlib.blake2b(data, key=self.public, digest_size=16).digest()

    def is_signature(self, signature: bytes, data: bytes) -> bool:
        """Say whether *signature* is the keyed hash of *data*."""
        return signature == self.sign(data)


class Pair(SigningKey, Protocol):
    """A signing key that knows its public half."""

    @property
    def public(self) -> bytes:
        """The raw public key."""


class Keys:
    """Where a world's keys come from, and how they are checked."""

    def __init__(self, *, seed: int, is_real: bool) -> None:
        self._seed = seed
        self._make: Callable[[bytes], Pair] = _real if is_real else HashKey
        self._rings: dict[bytes, KeyRing] = {}
        self._ring: Callable[[bytes], KeyRing] = ring_of if is_real else _hash_ring

    def pair(self, owner: str) -> Pair:
        """Return the key of *owner*, always the same one."""
        return self._make(hashlib.sha256(f"{self._seed}/{owner}".encode()).digest())

    def ring(self, public: bytes) -> KeyRing:
        """Return the ring that holds one public key."""
        if public not in self._rings:
            self._rings[public] = self._ring(public)
        return self._rings[public]


def _real(secret: bytes) -> Ed25519Signing:
    return Ed25519Signing(Ed25519PrivateKey.from_private_bytes(secret))


def _hash_ring(public: bytes) -> KeyRing:
    key = HashKey(public)
    return {key.keyid: key}
