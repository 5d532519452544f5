"""Ed25519 keys: the vectors of RFC 8032, and nothing that is no key."""

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from protocol.errors import MalformedMessage
from protocol.ids import KeyId
from protocol.keys import Ed25519Signing, Ed25519Verify, keyid_of, ring_of
from tests.conformance.vectors import load
from tests.protocol.samples import STRANGE_KEY_PEM, other_key, signing_key

RFC8032 = load("rfc8032")
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize("vector", RFC8032, ids=lambda vector: vector["name"])
def test_rfc_8032_section_7_1(vector: dict[str, str]) -> None:
    secret, public, message, signature = (
        bytes.fromhex(vector[field]) for field in ("secret", "public", "message", "signature")
    )
    key = Ed25519Signing(Ed25519PrivateKey.from_private_bytes(secret))
    assert key.public == public
    assert key.sign(message) == signature
    assert Ed25519Verify(public).is_signature(signature, message)


@pytest.mark.parametrize("vector", RFC8032, ids=lambda vector: vector["name"])
def test_what_is_no_signature(vector: dict[str, str]) -> None:
    public, message, signature = (bytes.fromhex(vector[field]) for field in ("public", "message", "signature"))
    key = Ed25519Verify(public)
    malleable = signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    for wrong in (b"", signature[:-1], signature + b"\0", bytes(64), malleable, signature[32:] + signature[:32]):
        assert not key.is_signature(wrong, message)
    assert not key.is_signature(signature, message + b"\0")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_public_key_has_32_bytes(length: int) -> None:
    with pytest.raises(MalformedMessage, match=f"{length} bytes: expected 32"):
        Ed25519Verify(bytes(length))


def test_a_key_is_read_back_from_its_pem() -> None:
    key = signing_key()
    assert Ed25519Signing.from_pem(key.to_pem()).public == key.public
    sealed = key.to_pem(password=b"secret")
    assert b"ENCRYPTED" in sealed
    assert Ed25519Signing.from_pem(sealed, password=b"secret", keyid=KeyId("mine")).keyid == "mine"


def test_what_is_no_key_in_pem_is_malformed() -> None:
    exchange = x25519.X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem, password in (
        (b"", None),
        (b"not a key", None),
        (STRANGE_KEY_PEM, None),
        (signing_key().to_pem(password=b"secret"), None),
        (signing_key().to_pem(password=b"secret"), b"wrong"),
        (signing_key().to_pem(), b"needless"),
    ):
        with pytest.raises(MalformedMessage, match="in PEM"):
            Ed25519Signing.from_pem(pem, password=password)
    with pytest.raises(MalformedMessage, match="X25519"):
        Ed25519Signing.from_pem(exchange)


def test_a_key_id_is_the_digest_of_the_key() -> None:
    key = signing_key()
    assert key.keyid == keyid_of(key.public) == "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9"
    assert list(ring_of(key.public)) == [key.keyid]
    assert key.keyid != other_key().keyid
