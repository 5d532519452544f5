"""The signed envelope: what was signed, by whom, as what, and not one bit else."""

import base64
import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from protocol.codec import encode
from protocol.envelope import Verified, check, pae, parse, seal, verify
from protocol.errors import MalformedMessage, UntrustedMessage
from protocol.ids import KeyId, digest_of
from protocol.keys import Ed25519Signing, ring_of
from protocol.messages import MESSAGE_BYTES_MAX, Hello, PayloadType, Report
from tests.protocol.samples import MESSAGES, SIGNED, other_key, signing_key

KEY, OTHER = signing_key(), other_key()
RING = ring_of(KEY.public)
PAYLOAD = encode(MESSAGES["hello"])
SEALED = seal(PAYLOAD, PayloadType.HELLO, KEY)


def judged(raw: bytes) -> bytes | None:
    """Return the payload that is believed, or None."""
    try:
        return bytes(verify(raw, PayloadType.HELLO, Hello, RING).payload)
    except (MalformedMessage, UntrustedMessage):
        return None


def test_what_was_sealed_is_verified() -> None:
    verified = verify(SEALED, PayloadType.HELLO, Hello, RING)
    assert verified.value == MESSAGES["hello"]
    assert (verified.payload, verified.digest, verified.keyid) == (PAYLOAD, digest_of(PAYLOAD), KEY.keyid)


@pytest.mark.parametrize("name", SIGNED)
def test_a_signature_for_one_type_is_worth_nothing_for_another(name: str) -> None:
    raw = seal(encode(MESSAGES[name]), SIGNED[name], KEY)
    for expected in PayloadType:
        if expected is not SIGNED[name]:
            with pytest.raises(MalformedMessage, match="payloadType"):
                verify(raw, expected, type(MESSAGES[name]), RING)
            relabelled = raw.replace(SIGNED[name].value.encode(), expected.value.encode())
            with pytest.raises(UntrustedMessage):
                verify(relabelled, expected, type(MESSAGES[name]), RING)


def test_every_flipped_bit_is_refused_or_changes_nothing() -> None:
    """Unused bits of base64, and a hint of a key id that is ignored, may change; what is believed may not."""
    for place in range(len(SEALED)):
        for bit in range(8):
            damaged = bytearray(SEALED)
            damaged[place] ^= 1 << bit
            assert judged(bytes(damaged)) in {None, PAYLOAD}


def test_every_torn_envelope_is_refused() -> None:
    assert [length for length in range(len(SEALED)) if judged(SEALED[:length]) is not None] == []


@given(st.binary(min_size=1, max_size=64), st.integers(0, len(SEALED)), st.integers(0, 64))
def test_bytes_put_in_or_over_others_are_refused_or_change_nothing(junk: bytes, place: int, over: int) -> None:
    assert judged(SEALED[:place] + junk + SEALED[place + over :]) in {None, PAYLOAD}


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(raw: bytes) -> None:
    assert judged(raw) is None


def test_an_unknown_key_is_not_trusted() -> None:
    with pytest.raises(UntrustedMessage, match=OTHER.keyid[:16]):
        verify(seal(PAYLOAD, PayloadType.HELLO, OTHER), PayloadType.HELLO, Hello, RING)


def test_a_key_id_proves_nothing() -> None:
    liar = Ed25519Signing(OTHER._key, keyid=KEY.keyid)
    with pytest.raises(UntrustedMessage):
        verify(seal(PAYLOAD, PayloadType.HELLO, liar), PayloadType.HELLO, Hello, RING)
    alias = {KeyId("today"): RING[KEY.keyid]}
    renamed = Ed25519Signing(KEY._key, keyid=KeyId("today"))
    assert verify(seal(PAYLOAD, PayloadType.HELLO, renamed), PayloadType.HELLO, Hello, alias).keyid == "today"


def with_signatures(*signatures: dict[str, str]) -> bytes:
    fields = json.loads(SEALED)
    return json.dumps({**fields, "signatures": list(signatures)}).encode()


def test_one_good_signature_among_others_is_enough_and_none_is_not() -> None:
    good = json.loads(SEALED)["signatures"][0]
    bad = {"keyid": "x", "sig": base64.b64encode(b"x" * 64).decode()}
    short = {"keyid": KEY.keyid, "sig": base64.b64encode(b"x").decode()}
    assert judged(with_signatures(bad, short, good)) == PAYLOAD
    assert judged(with_signatures(bad, short)) is None
    assert judged(with_signatures()) is None
    assert judged(with_signatures(good, good, good, good, good)) is None


def test_a_signed_payload_that_is_no_such_message_is_malformed() -> None:
    raw = seal(b'{"device":1}', PayloadType.HELLO, KEY)
    with pytest.raises(MalformedMessage, match="Hello"):
        verify(raw, PayloadType.HELLO, Hello, RING)
    with pytest.raises(MalformedMessage):
        verify(seal(PAYLOAD, PayloadType.REPORT, KEY), PayloadType.REPORT, Report, RING)


def test_size_is_judged_first() -> None:
    with pytest.raises(MalformedMessage, match="at most"):
        parse(SEALED + b" " * MESSAGE_BYTES_MAX)


def test_parsing_trusts_nothing() -> None:
    envelope = parse(seal(PAYLOAD, PayloadType.HELLO, OTHER))
    assert envelope.payload == PAYLOAD
    with pytest.raises(UntrustedMessage):
        check(envelope, PayloadType.HELLO, RING)


def test_only_verify_makes_what_is_verified() -> None:
    with pytest.raises(AssertionError, match="verify alone"):
        Verified("x", b"x", KeyId(""), seal=object())


@given(st.text(max_size=20), st.binary(max_size=40), st.text(max_size=20), st.binary(max_size=40))
def test_no_two_pairs_are_signed_alike(one: str, first: bytes, other: str, second: bytes) -> None:
    assert (pae(one, first) == pae(other, second)) is ((one, first) == (other, second))
