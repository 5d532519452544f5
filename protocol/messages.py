"""Every message of the wire, as frozen data. Integers stay below 2**53; times are milliseconds.

Signed ones travel in an `protocol.envelope`; `PAYLOAD_TYPES` names each one's exact type. Unknown fields are
ignored, so a newer peer may add some.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.health import Mark
from protocol.ids import Digest, Name
from protocol.lifecycle import AttemptState, Left
from protocol.outputs import Outputs, check_size
from protocol.reasons import RejectCode
from protocol.units import INTEGER_MAX, Instant, Millis

Count = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Time = Annotated[Instant, Meta(ge=0, le=INTEGER_MAX)]
Span = Annotated[Millis, Meta(ge=0, le=INTEGER_MAX)]
Word = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=1_000)]
Hash = Annotated[Digest, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
Nonce = Annotated[str, Meta(pattern="^[0-9a-f]{32}$", max_length=32)]
Incarnation = Annotated[str, Meta(pattern="^[0-9a-f]{16}$", max_length=16)]
"""The length is bounded too, because ``$`` alone lets a line end follow."""


class Message(msgspec.Struct, frozen=True):
    """What all messages share: frozen."""


class Op(StrEnum):
    """What a command asks for; `watch` touches nothing, and the last three act on work in hand."""

    INSTALL = "install"
    UNINSTALL = "uninstall"
    RUN = "run"
    CONFIGURE = "configure"
    WATCH = "watch"
    HOLD = "hold"
    GO = "go"
    CANCEL = "cancel"

    @property
    def is_control(self) -> bool:
        """Say whether the command acts on work in hand instead of starting some."""
        return self in {Op.HOLD, Op.GO, Op.CANCEL}


class Mode(StrEnum):
    """Whether a device may begin the irreversible step of a run's work."""

    GO = "go"
    HOLD = "hold"
    CANCEL = "cancel"


class ReleaseRef(Message, frozen=True, kw_only=True):
    """A release as the director names it; path, hash, length and counter must equal the release file's."""

    path: Annotated[str, Meta(min_length=1, max_length=255)]
    sha256: Hash
    length: Count
    counter: Count


class StepLimits(Message, frozen=True, kw_only=True):
    """How long the device may spend in each step before it gives up by itself, in milliseconds."""

    download_ms: Span = Millis(3_600_000)
    install_ms: Span = Millis(600_000)
    verify_ms: Span = Millis(300_000)


class Command(Message, frozen=True, kw_only=True):
    """One signed instruction to one device. Its bytes are stored before they are ever sent.

    `exp` bounds acceptance, `not_after` the start of the irreversible step. For control commands `attempt` is 0,
    `releases` is empty, and a ``go`` renews `epoch` and `not_after` of the run's work in hand. URLs in `urls` are
    hints only: what is fetched is checked against the release file. `watch_ms` is how long the device watches the
    releases after their success, 0 for not at all. For a ``watch``, `releases` is empty and `apps` are
    the installed ones that are watched; for all else `apps` is empty. `measure_ms` is how long after the
    success the device first tells the outputs of what it watches, and how long after that again; 0 for never.
    """

    tenant: Word
    device: Word
    seq: Count
    op: str
    run: Word
    stage: str = ""
    attempt: Count = 0
    epoch: Count = 0
    iat: Time
    exp: Time
    not_after: Time
    releases: Annotated[tuple[ReleaseRef, ...], Meta(max_length=16)] = ()
    urls: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    params: Mapping[str, str] = msgspec.field(default_factory=dict)
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)
    steps: StepLimits = StepLimits()
    watch_ms: Span = Millis(0)
    measure_ms: Span = Millis(0)
    apps: Annotated[tuple[Word, ...], Meta(max_length=16)] = ()
    traceparent: str = ""


class InstalledRelease(Message, frozen=True, kw_only=True):
    """One app that is active on a device."""

    app: Word
    version: Word
    path: str = ""
    sha256: str = ""
    counter: Count = 0
    floor: Count = 0


class WorkInHand(Message, frozen=True, kw_only=True):
    """The unit of work that a device has accepted and not ended."""

    command: Hash
    run: Word
    attempt: Count
    state: AttemptState
    epoch: Count
    mode: Mode = Mode.GO


class RootVersions(Message, frozen=True, kw_only=True):
    """The newest root documents one side holds."""

    fleet: Count = 0
    release: Count = 0


class Hello(Message, frozen=True, kw_only=True):
    """What a device says on every connect, signed by the device.

    `hello_seq` strictly increases within an `incarnation` (random, born with the journal), so that a recorded hello
    is worth nothing. `connection` names the connection, as its will does. `generation` and `seq` are those of the
    last command it took note of.
    """

    device: Name
    nonce: Nonce
    incarnation: Incarnation
    hello_seq: Count
    connection: Annotated[str, Meta(max_length=64)] = ""
    generation: Count = 0
    seq: Count = 0
    roots: RootVersions = RootVersions()
    installed: Annotated[tuple[InstalledRelease, ...], Meta(max_length=256)] = ()
    work: WorkInHand | None = None
    agent: Word
    capabilities: Annotated[tuple[Word, ...], Meta(max_length=64)] = ()
    facts: Mapping[str, str] = msgspec.field(default_factory=dict)


class WorkPermit(Message, frozen=True, kw_only=True):
    """The epoch floor and mode of the run that a device has work in hand for."""

    run: Word
    epoch: Count
    mode: Mode


class HelloReply(Message, frozen=True, kw_only=True):
    """The controller's answer to one hello, bound to it by `nonce`; signed with the time key."""

    nonce: str
    device: Name
    time: Time
    latest_seq: Count = 0
    roots: RootVersions = RootVersions()
    work: WorkPermit | None = None
    max_silence_ms: Span = Millis(900_000)
    spread_ms: Span = Millis(0)


class StateReport(Message, frozen=True, kw_only=True, tag_field="kind", tag="state"):
    """An attempt reached `state`; `command` is the SHA-256 of the command's payload bytes.

    A terminal state also says why (`reason`), what the device was `left` with, what is now installed, and the `outputs`
    that the release told.
    """

    device: Name
    incarnation: Incarnation
    report_seq: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    at: Time
    command: Hash
    run: Word
    attempt: Count
    state: AttemptState
    mode: Mode = Mode.GO
    reason: str = ""
    detail: Text = ""
    left: Left | None = None
    installed: Annotated[tuple[InstalledRelease, ...], Meta(max_length=256)] = ()
    outputs: Outputs = {}

    def __post_init__(self) -> None:
        """Bound the outputs together; the limits of each are in their type."""
        check_size(self.outputs)


class RefusalReport(Message, frozen=True, kw_only=True, tag_field="kind", tag="refused"):
    """The device refused the command with this digest (of its payload, or of the raw bytes where it has none)."""

    device: Name
    incarnation: Incarnation
    report_seq: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    at: Time
    command: Hash
    code: RejectCode
    detail: Text = ""


class HealthReport(Message, frozen=True, kw_only=True, tag_field="kind", tag="health"):
    """What became of a release that the device watched; `command` is the SHA-256 of the command's payload bytes.

    `count` is how often it was seen, 0 for ``well``. A device tells one of these for an attempt (`protocol.health`).
    """

    device: Name
    incarnation: Incarnation
    report_seq: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    at: Time
    command: Hash
    run: Word
    attempt: Count
    mark: Mark
    count: Count = 0
    detail: Text = ""


class MeasureReport(Message, frozen=True, kw_only=True, tag_field="kind", tag="measure"):
    """What the apps that the device watches tell of themselves now; `command` is that of the attempt being watched.

    `detail` says why there are no `outputs` where some are.
    """

    device: Name
    incarnation: Incarnation
    report_seq: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    at: Time
    command: Hash
    run: Word
    attempt: Count
    outputs: Outputs = {}
    detail: Text = ""

    def __post_init__(self) -> None:
        """Bound the outputs together; the limits of each are in their type."""
        check_size(self.outputs)


Report = StateReport | RefusalReport | HealthReport | MeasureReport


class Refused(Message, frozen=True, kw_only=True):
    """A report that the controller will never store; the device drops it."""

    report_seq: Count
    code: Word


class Ack(Message, frozen=True, kw_only=True):
    """Reports that are in the database for ever (`stored`), or never will be (`refused`); signed, time key.

    With `hello_within_ms` above 0 the controller also asks the device to say hello, at an instant of its choice
    within that span: it has lost sight of who is connected.
    """

    device: Name
    incarnation: str
    stored: Annotated[tuple[Count, ...], Meta(max_length=256)] = ()
    refused: Annotated[tuple[Refused, ...], Meta(max_length=256)] = ()
    hello_within_ms: Span = Millis(0)


class Progress(Message, frozen=True, kw_only=True):
    """How far one step of an attempt is; `total` 0 means not known."""

    run: Word
    attempt: Count
    state: AttemptState
    done: Count
    total: Count = 0


class Tick(Message, frozen=True, kw_only=True):
    """Unsigned progress, QoS 0, several in one message; the latest wins and none is stored one by one."""

    progress: Annotated[tuple[Progress, ...], Meta(max_length=64)]


class Gone(Message, frozen=True, kw_only=True):
    """The will of a connection; `connection` is that of the connection's hellos, so that a stale will is ignored."""

    connection: Annotated[str, Meta(max_length=64)]


class DeviceRequest(Message, frozen=True, kw_only=True):
    """An HTTP request of a device, signed by it; `body_sha256` is that of the request's other content."""

    device: Name
    method: Word
    path: Annotated[str, Meta(max_length=512)]
    at: Time
    nonce: Nonce
    body_sha256: Hash


class PayloadType(StrEnum):
    """The exact `payloadType` of each signed message."""

    COMMAND = "application/vnd.tidegate.command.v1+json"
    HELLO = "application/vnd.tidegate.hello.v1+json"
    HELLO_REPLY = "application/vnd.tidegate.hello-reply.v1+json"
    REPORT = "application/vnd.tidegate.report.v1+json"
    ACK = "application/vnd.tidegate.ack.v1+json"
    REQUEST = "application/vnd.tidegate.request.v1+json"


MESSAGE_BYTES_MAX: Final = 16_384
"""The size cap of every message, applied before anything is parsed."""

PACKET_BYTES_MAX: Final = MESSAGE_BYTES_MAX + 1_024
"""The size cap of every MQTT packet: a message with its header, topic and properties."""
