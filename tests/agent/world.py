"""A controller, a release team and a device made of values: what the tests of the agent share."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core.events import AnswerReceived, CommandReceived, Connected, Started
from agent.core.machine import Stepped, step
from agent.core.model import Durable, Profile, State, Trust
from protocol.codec import encode
from protocol.envelope import SigningKey, seal
from protocol.ids import AppName, Digest, Name, digest_of
from protocol.keys import Ed25519Signing, ring_of
from protocol.messages import Ack, Command, HelloReply, PayloadType, ReleaseRef
from protocol.trust import FleetRoot, ReleaseFile, ReleaseInfo, instant_of
from protocol.units import DAY, HOUR, Instant

NAME = Name("acme:kiosk-17")
INCARNATION = "00112233aabbccdd"
BOOT = "boot-1"
NONCE = "0123456789abcdef0123456789abcdef"
NONCE_2 = "fedcba9876543210fedcba9876543210"
T0 = instant_of(datetime(2026, 6, 1, tzinfo=UTC))


def new_key() -> Ed25519Signing:
    return Ed25519Signing(Ed25519PrivateKey.generate())


DIRECTOR, TIME, DEVICE, STRANGER = new_key(), new_key(), new_key(), new_key()

SHOP_1 = ReleaseInfo(
    app=AppName("shop"),
    version="1.0",
    path="shop/1.0.tar.gz",
    sha256=digest_of(b"shop 1.0"),
    length=8,
    counter=10,
    floor=5,
    installer="archive",
)
SHOP_2 = msgspec.structs.replace(
    SHOP_1, version="2.0", path="shop/2.0.tar.gz", sha256=digest_of(b"shop 2.0"), counter=20, floor=10
)
BIG = msgspec.structs.replace(
    SHOP_1, app=AppName("big"), path="big/1.tar", sha256=digest_of(b"big"), hardware=("server-1",)
)
WHEEL = msgspec.structs.replace(
    SHOP_1, app=AppName("wheel"), path="wheel/1.whl", sha256=digest_of(b"wheel"), installer="python"
)
RELEASES = {release.path: release for release in (SHOP_1, SHOP_2, BIG, WHEEL)}

FLEET = FleetRoot(
    version=1,
    issued=Instant(T0 - 30 * DAY),
    expires=Instant(T0 + 300 * DAY),
    director=ring_of(DIRECTOR.public),
    time=ring_of(TIME.public),
)
TRUST = Trust(
    fleet=FLEET,
    release_root_version=1,
    releases=ReleaseFile(version=3, expires=Instant(T0 + 90 * DAY), releases=RELEASES),
)
PROFILE = Profile(model="kiosk-1", agent="0.1.0", installers=frozenset({"archive"}))


def ref(release: ReleaseInfo, **changes: Any) -> ReleaseRef:
    wanted = ReleaseRef(path=release.path, sha256=release.sha256, length=release.length, counter=release.counter)
    return msgspec.structs.replace(wanted, **changes)


def command(**changes: Any) -> Command:
    """Return an install of shop 2.0; *changes* replace fields."""
    base = Command(
        tenant="acme",
        device="kiosk-17",
        seq=T0,
        op="install",
        run="run-1",
        stage="canary",
        attempt=1,
        epoch=1,
        iat=T0,
        exp=Instant(T0 + HOUR),
        not_after=Instant(T0 + 2 * HOUR),
        releases=(ref(SHOP_2),),
    )
    return msgspec.structs.replace(base, **changes)


def control(op: str, *, seq: int, epoch: int, **changes: Any) -> Command:
    return command(op=op, seq=seq, epoch=epoch, attempt=0, releases=(), **changes)


def watching(**changes: Any) -> Command:
    """Return a command to watch the shop that is there, for an hour; *changes* replace fields."""
    return command(**{"op": "watch", "releases": (), "apps": ("shop",), "watch_ms": HOUR, **changes})


def signed(wanted: Command, *, key: SigningKey = DIRECTOR) -> bytes:
    return seal(encode(wanted), PayloadType.COMMAND, key)


def digest(wanted: Command) -> Digest:
    return digest_of(encode(wanted))


def reply(*, nonce: str = NONCE, key: SigningKey = TIME, **changes: Any) -> bytes:
    base = HelloReply(nonce=nonce, device=NAME, time=T0)
    return seal(encode(msgspec.structs.replace(base, **changes)), PayloadType.HELLO_REPLY, key)


def ack(*report_seqs: int, key: SigningKey = TIME, **changes: Any) -> bytes:
    base = Ack(device=NAME, incarnation=INCARNATION, stored=report_seqs)
    return seal(encode(msgspec.structs.replace(base, **changes)), PayloadType.ACK, key)


def run(state: State, *events: Any, trust: Trust = TRUST, profile: Profile = PROFILE) -> Stepped:
    """Fold events; return the last state and the effects of them all."""
    effects: list[Any] = []
    for event in events:
        stepped = step(state, event, trust=trust, profile=profile)
        state = stepped.state
        effects += stepped.effects
    return Stepped(state, effects)


def new_state(**durable: Any) -> State:
    """Return a device that was just enrolled."""
    return State(durable=Durable(name=NAME, incarnation=INCARNATION, **durable))


def ready(*, trust: Trust = TRUST, **durable: Any) -> State:
    """Return a device that is connected and has fresh time; its boot-time clock reads 1,000 then."""
    events = (
        Started(at=500, boot=BOOT),
        Connected(at=1_000, nonce=NONCE),
        AnswerReceived(at=1_000, raw=reply()),
    )
    return run(new_state(**durable), *events, trust=trust).state


def received(wanted: Command, *, at: int = 2_000, key: SigningKey = DIRECTOR) -> CommandReceived:
    return CommandReceived(at=at, raw=signed(wanted, key=key))


def kinds(effects: Sequence[Any]) -> list[str]:
    """Return the names of effects; reports by what they say."""
    return [_kind(effect) for effect in effects]


def _kind(effect: Any) -> str:
    report = getattr(effect, "report", None)
    if report is None:
        return type(effect).__name__
    if hasattr(report, "mark"):
        return f"health:{report.mark}"
    if hasattr(report, "code"):
        return f"refused:{report.code}"
    if not hasattr(report, "state"):
        return "measure"
    return f"report:{report.state}" + (f":{report.reason or 'ok'}:{report.left}" if report.left else "")
