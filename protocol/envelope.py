"""The signed envelope: DSSE v1, JSON, one Ed25519 signature. One parser and one verifier for everything signed.

The rules this module keeps:

1. What is signed is the pre-authentication encoding of type *and* bytes, so a signature for one type is worth
   nothing for another (DSSE 1.0.2, "Signature Definition").
2. The bytes that were verified are the bytes that are parsed; nothing is re-serialised.
3. ``keyid`` is a hint: it picks a key and proves nothing.
4. `Verified` is made by `verify` alone, so that "was it checked?" is a question of types.

>>> pae("http://example.com/HelloWorld", b"hello world")
b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from protocol.codec import decode, encode
from protocol.errors import MalformedMessage, UntrustedMessage
from protocol.ids import Digest, KeyId, digest_of
from protocol.messages import MESSAGE_BYTES_MAX, PayloadType

T = TypeVar("T")

_SEAL: Final = object()


class SigningKey(Protocol):
    """A private key that signs envelopes."""

    @property
    def keyid(self) -> KeyId:
        """The hint that verifiers find the public key by."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature of *data*."""


class VerifyKey(Protocol):
    """A public key; the simulator has a cheaper one than Ed25519."""

    def is_signature(self, signature: bytes, data: bytes) -> bool:
        """Say whether *signature* was made over *data* by this key's other half."""


KeyRing = Mapping[KeyId, VerifyKey]
"""The keys that may sign one kind of message, by key id."""


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature of an envelope."""

    keyid: Annotated[KeyId, Meta(max_length=128)] = KeyId("")
    sig: bytes


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A DSSE envelope as parsed, not yet verified."""

    payload: bytes
    payload_type: str = msgspec.field(name="payloadType")
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=4)]


class Verified(Generic[T]):
    """A message whose signature was checked: the value, its exact bytes, their digest, and who signed."""

    __slots__ = ("digest", "keyid", "payload", "value")

    def __init__(self, value: T, payload: bytes, keyid: KeyId, *, seal: object) -> None:
        """Only `verify` holds the seal."""
        assert seal is _SEAL, "Verified is made by envelope.verify alone"
        self.value: Final = value
        self.payload: Final = payload
        self.keyid: Final = keyid
        self.digest: Final[Digest] = digest_of(payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: what is really signed (DSSE 1.0.2)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, payload_type: PayloadType, key: SigningKey) -> bytes:
    """Sign *payload* and return the envelope's bytes."""
    signature = Signature(keyid=key.keyid, sig=key.sign(pae(payload_type, payload)))
    return encode(Envelope(payload=payload, payload_type=payload_type, signatures=(signature,)))


def parse(raw: bytes) -> Envelope:
    """Parse an envelope without trusting it.

    Raises:
        MalformedMessage: when *raw* is too long or no envelope.
    """
    return decode(raw, Envelope, bytes_max=MESSAGE_BYTES_MAX)


def check(envelope: Envelope, expected: PayloadType, keys: KeyRing) -> KeyId:
    """Return the id of the key in *keys* that signed *envelope* as *expected*.

    Raises:
        MalformedMessage: when the payload type is another one.
        UntrustedMessage: when no signature is by a key of *keys*.
    """
    if envelope.payload_type != expected:
        raise MalformedMessage(f"payloadType {envelope.payload_type[:80]!r}: expected {expected.value!r}")
    signed = pae(envelope.payload_type, envelope.payload)
    for signature in envelope.signatures:
        key = keys.get(signature.keyid)
        if key is not None and key.is_signature(signature.sig, signed):
            return signature.keyid
    hints = ", ".join(repr(s.keyid[:16]) for s in envelope.signatures)
    raise UntrustedMessage(f"no valid signature by a key that may sign {expected.value!r}; key ids {hints}")


def verify(raw: bytes, expected: PayloadType, kind: Any, keys: KeyRing) -> Verified[Any]:
    """Check size, form, type and signature of *raw*, in that order, then parse the same bytes as *kind*.

    Raises:
        MalformedMessage: when size, form or type are wrong, or the signed payload is no *kind*.
        UntrustedMessage: when no key of *keys* signed it.
    """
    envelope = parse(raw)
    keyid = check(envelope, expected, keys)
    return Verified(decode(envelope.payload, kind), envelope.payload, keyid, seal=_SEAL)
