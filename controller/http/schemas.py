"""What the API takes and answers, as pydantic models; answers are built from the views of `controller.app`."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from controller.app.access import Role
from controller.app.groups import NAMED_MAX
from controller.documents.models import (
    PARAMETERS_MAX,
    VARIABLES_MAX,
    Environment,
    Open,
    ParameterName,
    plain_of,
    secrets_of,
)
from controller.domain.parameters import Given
from controller.domain.query import LENGTH_MAX
from protocol.profiles import Profile
from protocol.trust import instant_of

V = TypeVar("V")

KEY_BYTES = 32
REASON_LENGTH_MAX = 500
PEM_LENGTH_MAX = 16_384
GROUP_PATH_LENGTH_MAX = 600


def rfc3339(instant: int) -> str:
    """Return a time as text.

    >>> rfc3339(1767225600123)
    '2026-01-01T00:00:00.123Z'
    """
    moment = datetime.fromtimestamp(instant // 1000, tz=UTC).replace(microsecond=instant % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("expected base64 text")  # noqa: TRY004 - pydantic reads ValueError
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64 text") from error
    if len(raw) != KEY_BYTES:
        raise ValueError(f"expected {KEY_BYTES} bytes, found {len(raw)}")
    return raw


Time = Annotated[
    int,
    PlainSerializer(rfc3339),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
Moment = Annotated[AwareDatetime, AfterValidator(instant_of)]
Key = Annotated[bytes, BeforeValidator(_key), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Base64 = Annotated[
    bytes,
    PlainSerializer(lambda raw: base64.b64encode(raw).decode()),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}, mode="serialization"),
]
Reason = Annotated[str, Field(min_length=1, max_length=REASON_LENGTH_MAX)]
Word = Annotated[str, Field(min_length=1, max_length=128)]
Pem = Annotated[str, Field(max_length=PEM_LENGTH_MAX)]


class Answer(BaseModel):
    """What all answers share: they are built from the attributes of a view."""

    model_config = ConfigDict(from_attributes=True)


class Body(BaseModel):
    """What all request bodies share: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Page(Answer, Generic[V]):
    """One page of a list; `cursor` leads to the next one and is null on the last."""

    items: list[V]
    cursor: str | None


# --- runs -------------------------------------------------------------------------------------------------------


class Counters(Answer):
    """The eight counters of a stage; they always sum to its targets."""

    queued: int
    in_progress: int
    succeeded: int
    failed: int
    rejected: int
    timed_out: int
    cancelled: int
    removed: int


class Stage(Answer):
    """One stage of a run. `started` and `failures` are the n and k of its gate; `gate` says it in words."""

    name: str
    needs: list[str]
    trigger: str
    state: str
    reason: str
    counters: Counters
    started: int
    failures: int
    failures_allowed: int
    gate: str
    bricked: int
    max_in_flight: int
    opened_at: Time | None
    ended_at: Time | None


class Run(Answer):
    """One run: paused while `pause_reasons` is not empty, waiting when every open stage awaits a person."""

    id: str
    job: str
    pipeline: str
    revision: int
    app: str
    version: str
    state: str
    paused: bool
    waiting: bool
    pause_reasons: list[str]
    reason: str
    epoch: int
    salt: str
    parameters: dict[str, str | int | bool | list[str]] = {}
    started_by: str
    created_at: Time
    ended_at: Time | None
    stages: list[Stage]


class Target(Answer):
    """One device in one run; `done` of `total` is the progress of the step at hand."""

    device: str
    stage: str
    state: str
    attempt: int
    attempt_state: str
    reason: str
    detail: str
    left: str
    waits_for: str
    done: int
    total: int
    updated_at: Time


class Event(Answer):
    """One entry of a run's timeline."""

    id: int
    at: Time
    kind: str
    data: dict[str, str | int]


class StartRun(Body):
    """Start a run of a job, at the job's version or another one; `salt` is that of a preview.

    `parameters` and `env` override those of the job and of the pipeline.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"job": "shop-update", "version": "2.1.0"}]})

    job: Word
    version: Word | None = None
    salt: Word | None = None
    parameters: Annotated[dict[ParameterName, Open], Field(max_length=PARAMETERS_MAX)] = {}
    env: Annotated[Environment, Field(max_length=VARIABLES_MAX)] = {}

    def given(self) -> Given:
        """Return what is given for this run alone."""
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in self.parameters.items()}
        return Given(parameters=values, env=plain_of(self.env), secrets=secrets_of(self.env))


class WithReason(Body):
    """Why; it is kept in the audit log."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "support reports crashes"}]})

    reason: Reason


class SkipStage(Body):
    """The stage to pass over, and why; it is kept in the audit log."""

    stage: str
    reason: Reason


class ResumeRun(Body):
    """Resume a run; going on over a breached gate takes `override` and a reason."""

    reason: Annotated[str, Field(max_length=REASON_LENGTH_MAX)] = ""
    override: bool = False


class PromoteStage(Body):
    """Open a stage that awaits a person."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"stage": "rest"}]})

    stage: Word


# --- devices ----------------------------------------------------------------------------------------------------


class Installed(Answer):
    """One app on a device, as the device last reported."""

    app: str
    version: str
    sha256: str
    counter: int


class Device(Answer):
    """One device."""

    device: str
    name: str
    model: str
    labels: dict[str, str]
    facts: dict[str, str]
    installed: list[Installed]
    online: bool
    blocked: bool
    broken: bool
    agent: str
    enrolled_at: Time
    last_seen_at: Time | None
    certificate_expires_at: Time


class Labels(Body):
    """All labels of a device; those not named are removed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"labels": {"region": "eu", "ring": "canary"}}]})

    labels: dict[Word, Annotated[str, Field(max_length=256)]]


class Group(Answer):
    """One group. `devices` counts its own members; `devices_below` those of groups below it, too, each once."""

    path: str
    devices: int
    devices_below: int
    created_at: Time


class NewGroup(Body):
    """A group, named by its path; groups above it are made with it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "eu/berlin"}]})

    path: Annotated[str, Field(max_length=GROUP_PATH_LENGTH_MAX)]


class Members(Body):
    """Devices by their ids, those that a query finds now, or both."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"devices": ["kiosk-1"]}, {"query": 'labels.city == "berlin"'}]}
    )

    devices: Annotated[list[Word], Field(max_length=NAMED_MAX)] = []
    query: Annotated[str, Field(max_length=LENGTH_MAX)] | None = None


class MembersChanged(Answer):
    """How many devices were meant, and how many of them were not as asked for before."""

    path: str
    found: int
    changed: int


class Enrol(Body):
    """A device's request to join, with its claim token, certificate request and public keys."""

    token: Word
    device: Word
    model: Word
    hardware_id: Word
    csr: Pem
    signing_key: Key
    sealing_key: Key


class Enrolled(BaseModel):
    """What a device gets when it joins."""

    name: str
    certificate: str
    ca_chain: str
    fleet_root: Base64
    release_root: Base64
    mqtt_host: str
    mqtt_port: int
    mqtt_profile: Profile


class Renew(Body):
    """A device's request for its next certificate."""

    csr: Pem


class Renewed(BaseModel):
    """A device's next certificate and the chain to the tenant's CA, in PEM."""

    certificate: str
    ca_chain: str


# --- releases ---------------------------------------------------------------------------------------------------


class Release(Answer):
    """One release as the release key signed it."""

    app: str
    version: str
    path: str
    sha256: str
    length: int
    counter: int
    floor: int
    installer: str
    hardware: list[str]
    published_at: Time
    channels: list[str]


class NewChannel(Body):
    """The channel to put a release into."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"channel": "stable"}]})

    channel: Word


class Channel(Answer):
    """A release in a channel of its app, and the runs that its appearance started."""

    app: str
    channel: str
    version: str
    at: Time
    actor: str
    runs: list[str]


class Artifact(BaseModel):
    """Bytes that are stored."""

    sha256: str
    length: int


# --- tokens and system ------------------------------------------------------------------------------------------


class Token(Answer):
    """An API token, without its secret."""

    id: str
    name: str
    role: str
    created_at: Time
    expires_at: Time | None
    revoked: bool


class NewSecret(Answer):
    """A token that was just made; its secret is shown this once."""

    id: str
    secret: str


class NewToken(Body):
    """A token for a person or program."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ci", "role": "releaser", "expires_at": "2027-01-01T00:00:00Z"}]}
    )

    name: Word
    role: Role
    expires_at: Moment | None = None


class NewClaim(Body):
    """A token that devices enrol with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"uses": 100, "expires_at": "2027-01-01T00:00:00Z"}]})

    uses: Annotated[int, Field(ge=1, le=1_000_000)]
    expires_at: Moment


class SecurityEvent(Answer):
    """Something that a device refused, or that was refused of a device."""

    id: int
    at: Time
    device: str
    code: str
    digest: str
    detail: str


class AuditEntry(Answer):
    """One act of an operator, chained by hash to the one before."""

    id: int
    at: Time
    actor: str
    verb: str
    subject: str
    reason: str
    hash: str


class Standstill(Answer):
    """Whether everything is stopped; `since`, `by` and `reason` tell of the one who did."""

    stopped: bool
    since: Time | None
    by: str
    reason: str


class Health(Answer):
    """Whether the controller can do its work; `faults` says in words why not."""

    ready: bool
    faults: list[str]
    online: int
    unsent: int
