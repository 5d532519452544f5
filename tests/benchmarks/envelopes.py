"""Signing and verifying envelopes, beside the bare signature."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.codec import encode
from protocol.envelope import seal, verify
from protocol.ids import digest_of
from protocol.keys import Ed25519Signing, Ed25519Verify, ring_of
from protocol.messages import Command, PayloadType, ReleaseRef
from protocol.units import Instant
from tests.benchmarks.measure import Figure, rate

COUNT = 1_000


def figures() -> Iterator[Figure]:
    """Measure both directions on a command of ordinary size."""
    key = Ed25519Signing(Ed25519PrivateKey.generate())
    public = Ed25519Verify(key.public)
    payload = encode(_command())
    raw, signature, ring = seal(payload, PayloadType.COMMAND, key), key.sign(payload), ring_of(key.public)

    bare_sign = rate(lambda: sum(bool(key.sign(payload)) for _ in range(COUNT)))
    signed = rate(lambda: sum(bool(seal(payload, PayloadType.COMMAND, key)) for _ in range(COUNT)))
    yield Figure("sign a command", signed, "bare Ed25519", bare_sign)

    bare_verify = rate(lambda: sum(public.is_signature(signature, payload) for _ in range(COUNT)))
    verified = rate(lambda: sum(bool(verify(raw, PayloadType.COMMAND, Command, ring)) for _ in range(COUNT)))
    yield Figure("verify and parse a command", verified, "bare Ed25519", bare_verify)


def _command() -> Command:
    release = ReleaseRef(path="shop/2.1.0/shop.tar.gz", sha256=digest_of(b""), length=10_000_000, counter=7)
    at = Instant(1_800_000_000_000)
    return Command(
        tenant="acme",
        device="kiosk-17",
        seq=at,
        op="install",
        run="r0123456789",
        stage="canary",
        attempt=1,
        epoch=1,
        iat=at,
        exp=at,
        not_after=at,
        releases=(release,),
        urls=(f"https://controller:8443/v1/artifacts/{release.sha256}",),
    )
