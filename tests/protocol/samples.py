"""One full example of each message, and keys."""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.health import Mark
from protocol.ids import Digest, Name, digest_of
from protocol.keys import Ed25519Signing
from protocol.lifecycle import AttemptState, Left
from protocol.messages import (
    Ack,
    Command,
    DeviceRequest,
    Gone,
    HealthReport,
    Hello,
    HelloReply,
    InstalledRelease,
    MeasureReport,
    Message,
    Mode,
    PayloadType,
    Progress,
    RefusalReport,
    Refused,
    ReleaseRef,
    RootVersions,
    StateReport,
    StepLimits,
    Tick,
    WorkInHand,
    WorkPermit,
)
from protocol.outputs import OUTPUTS_MAX
from protocol.reasons import RejectCode
from protocol.units import INTEGER_MAX, Instant, Millis

NAME: Final = Name("acme:kiosk-17")
AT: Final = Instant(1_767_225_600_000)
DIGEST: Final = digest_of(b"payload")
SHOP: Final = InstalledRelease(app="shop", version="2.1", path="shop/2.1", sha256=DIGEST, counter=7, floor=3)
NONCE: Final = "0123456789abcdef" * 2
INCARNATION: Final = "00112233445566ff"

RFC8032_KEY: Final = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
"""The secret key of RFC 8032, section 7.1, test 1: known to everybody, fit for tests alone."""


STRANGE_KEY_PEM = b"""\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2UMBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
-----END PRIVATE KEY-----
"""
"""A whole private key of a kind that nobody has: 1.3.101.12, where Ed25519 is 1.3.101.112 (RFC 8410, 3)."""


def signing_key() -> Ed25519Signing:
    return Ed25519Signing(Ed25519PrivateKey.from_private_bytes(RFC8032_KEY))


def other_key() -> Ed25519Signing:
    return Ed25519Signing(Ed25519PrivateKey.from_private_bytes(bytes(32)))


MESSAGES: Final[dict[str, Message]] = {
    "command": Command(
        tenant="acme",
        device="kiosk-17",
        seq=INTEGER_MAX,
        op="install",
        run="r-1",
        stage="canary",
        attempt=2,
        epoch=3,
        iat=AT,
        exp=Instant(AT + 600_000),
        not_after=Instant(AT + 3_600_000),
        releases=(ReleaseRef(path="shop/2.1", sha256=DIGEST, length=1_048_576, counter=7),),
        urls=("https://artifacts.invalid/shop",),
        params={"mode": "quick"},
        env={"LANG": "de_DE", "GREETING": 'grüß dich \\ "you" \u2028'},
        secrets={"token": "c2VhbGVk"},
        steps=StepLimits(download_ms=Millis(1), install_ms=Millis(2), verify_ms=Millis(3)),
        watch_ms=Millis(4),
        measure_ms=Millis(3),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    "watch-command": Command(
        tenant="acme",
        device="kiosk-17",
        seq=10,
        op="watch",
        run="r-1",
        stage="canary",
        attempt=1,
        epoch=3,
        iat=AT,
        exp=Instant(AT + 600_000),
        not_after=Instant(AT + 3_600_000),
        watch_ms=Millis(7_200_000),
        measure_ms=Millis(600_000),
        apps=("shop",),
    ),
    "hello": Hello(
        device=NAME,
        nonce=NONCE,
        incarnation=INCARNATION,
        hello_seq=5,
        connection="c-1",
        generation=1,
        seq=9,
        roots=RootVersions(fleet=2, release=1),
        installed=(SHOP,),
        work=WorkInHand(command=DIGEST, run="r-1", attempt=2, state=AttemptState.DOWNLOADING, epoch=3, mode=Mode.HOLD),
        agent="1.0.0",
        capabilities=("install", "hold"),
        facts={"os": "linux"},
    ),
    "hello-reply": HelloReply(
        nonce=NONCE,
        device=NAME,
        time=AT,
        latest_seq=9,
        roots=RootVersions(fleet=2, release=1),
        work=WorkPermit(run="r-1", epoch=4, mode=Mode.CANCEL),
        max_silence_ms=Millis(1_000),
        spread_ms=Millis(2_000),
    ),
    "state-report": StateReport(
        device=NAME,
        incarnation=INCARNATION,
        report_seq=1,
        at=AT,
        command=DIGEST,
        run="r-1",
        attempt=2,
        state=AttemptState.FAILED,
        mode=Mode.GO,
        reason="verify_failed",
        detail="probe said 503",
        left=Left.OLD,
        installed=(SHOP,),
        outputs={"boot_ms": 840, "load": -0.5, "kernel": "6.1 “LTS”"},
    ),
    "refusal-report": RefusalReport(
        device=NAME,
        incarnation=INCARNATION,
        report_seq=2,
        at=AT,
        command=DIGEST,
        code=RejectCode.STALE_EPOCH,
        detail="epoch 3 of 4",
    ),
    "health-report": HealthReport(
        device=NAME,
        incarnation=INCARNATION,
        report_seq=4,
        at=AT,
        command=DIGEST,
        run="r-1",
        attempt=2,
        mark=Mark.CRASHED,
        count=1,
        detail="shop: the service has ended; its last words: out of memory",
    ),
    "measure-report": MeasureReport(
        device=NAME,
        incarnation=INCARNATION,
        report_seq=5,
        at=AT,
        command=DIGEST,
        run="r-1",
        attempt=2,
        outputs={"scan_ms": 42.5, "free_mb": 118, "mode": "quick"},
    ),
    "ack": Ack(device=NAME, incarnation=INCARNATION, stored=(1, 2), refused=(Refused(report_seq=3, code="untrusted"),)),
    "tick": Tick(progress=(Progress(run="r-1", attempt=2, state=AttemptState.DOWNLOADING, done=512, total=1_024),)),
    "gone": Gone(connection="c-1"),
    "request": DeviceRequest(
        device=NAME,
        method="GET",
        path="/v1/releases/targets.json",
        at=AT,
        nonce=NONCE,
        body_sha256=Digest(digest_of(b"")),
    ),
}

SIGNED: Final[dict[str, PayloadType]] = {
    "command": PayloadType.COMMAND,
    "watch-command": PayloadType.COMMAND,
    "hello": PayloadType.HELLO,
    "hello-reply": PayloadType.HELLO_REPLY,
    "state-report": PayloadType.REPORT,
    "refusal-report": PayloadType.REPORT,
    "health-report": PayloadType.REPORT,
    "measure-report": PayloadType.REPORT,
    "ack": PayloadType.ACK,
    "request": PayloadType.REQUEST,
}

OUTPUTS_FULL = {f"n{number:02}": "x" * (119 if number else 118) for number in range(OUTPUTS_MAX)}
OUTPUTS_GOOD: list[dict[str, Any]] = [
    {},
    {"boot_ms": 840, "load": 0.25, "kernel": "6.1"},
    {"a" * 64: INTEGER_MAX, "b": -INTEGER_MAX, "c-1": float(INTEGER_MAX)},
    {"text": "“ü” 漢 " + "x" * 250},
    {f"n{number}": number for number in range(OUTPUTS_MAX)},
    OUTPUTS_FULL,
]
OUTPUTS_BAD: list[dict[Any, Any]] = [
    {"": 1},
    {"A": 1},
    {"1a": 1},
    {"a b": 1},
    {"a\n": 1},
    {"a" * 65: 1},
    {"ä": 1},
    {"a": None},
    {"a": True},
    {"a": [1]},
    {"a": {"b": 1}},
    {"a": INTEGER_MAX + 1},
    {"a": -INTEGER_MAX - 1},
    {"a": 1e300},
    {"a": 2**70},
    {"a": "x" * 257},
    {"a": "two\nlines"},
    {"a": "line\n"},
    {"a": "\x1b[31mred"},
    {"a": "\x9b31m"},
    {f"n{number}": number for number in range(OUTPUTS_MAX + 1)},
    {**OUTPUTS_FULL, "n00": "x" * 119},
]
