"""What the use cases answer: plain frozen data for API, CLI and console. Times in milliseconds since 1970, UTC."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.trigger import JobTrigger, StartRequest
from protocol.units import Instant

V = TypeVar("V")


class View(msgspec.Struct, frozen=True):
    """What all views share."""


class Page(View, Generic[V], frozen=True, kw_only=True):
    """One page of a list; `cursor` is opaque and None on the last page."""

    items: tuple[V, ...]
    cursor: str | None = None


class Counters(View, frozen=True, kw_only=True):
    """The eight counters of a stage; they always sum to its targets."""

    queued: int = 0
    in_progress: int = 0
    succeeded: int = 0
    failed: int = 0
    rejected: int = 0
    timed_out: int = 0
    cancelled: int = 0
    removed: int = 0


class StageView(View, frozen=True, kw_only=True):
    """One stage of a run. `started` and `failures` are the n and k of its gate; `gate` says it in words.

    `blocked` counts the devices that were judged and may not begin, by reason; in lists of runs it is left out.
    """

    name: str
    needs: tuple[str, ...]
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
    blocked: Mapping[str, int] = {}
    opened_at: Instant | None
    ended_at: Instant | None


class RunView(View, frozen=True, kw_only=True):
    """One run. `paused` while `pause_reasons` is not empty; `waiting` when every open stage awaits a person."""

    id: str
    job: str
    pipeline: str
    revision: int
    app: str
    version: str
    state: str
    paused: bool
    waiting: bool
    pause_reasons: tuple[str, ...]
    reason: str
    epoch: int
    salt: str
    parameters: Mapping[str, Value] = {}
    started_by: str = ""
    created_at: Instant
    ended_at: Instant | None
    stages: tuple[StageView, ...]


class TargetView(View, frozen=True, kw_only=True):
    """One device in one run. `done` of `total` is the progress of the step at hand, in the step's unit.

    `blocked` is the reason why it may not begin, empty where none is known, and `check_at` when that is judged anew.
    """

    device: str
    stage: str
    state: str
    attempt: int
    attempt_state: str
    reason: str
    detail: str
    left: str
    waits_for: str
    blocked: str = ""
    check_at: Instant | None = None
    done: int
    total: int
    updated_at: Instant


class EventView(View, frozen=True, kw_only=True):
    """One entry of a run's timeline."""

    id: int
    at: Instant
    kind: str
    data: Mapping[str, str | int]


class InstalledView(View, frozen=True, kw_only=True):
    """One app on a device, as the device last reported."""

    app: str
    version: str
    sha256: str
    counter: int


class HoldView(View, frozen=True, kw_only=True):
    """An order that a device gets no work; `ends_at` is None where it has no end."""

    by: str
    reason: str
    at: Instant
    ends_at: Instant | None


class PinView(View, frozen=True, kw_only=True):
    """An order that a device gets no version of an app outside a range."""

    app: str
    versions: str
    by: str
    reason: str
    at: Instant


class DeviceView(View, frozen=True, kw_only=True):
    """One device."""

    device: str
    name: str
    model: str
    labels: Mapping[str, str]
    facts: Mapping[str, str]
    installed: tuple[InstalledView, ...]
    online: bool
    blocked: bool
    broken: bool
    agent: str
    enrolled_at: Instant
    last_seen_at: Instant | None
    certificate_expires_at: Instant
    hold: HoldView | None = None
    pins: tuple[PinView, ...] = ()


class GroupView(View, frozen=True, kw_only=True):
    """One group. `devices` counts its own members; `devices_below` those of groups below it, too, each once."""

    path: str
    devices: int
    devices_below: int
    created_at: Instant


class GroupChange(View, frozen=True, kw_only=True):
    """What became of a request for members: how many devices it meant, and for how many it changed something."""

    path: str
    found: int
    changed: int


class ReleaseView(View, frozen=True, kw_only=True):
    """One release as the release key signed it."""

    app: str
    version: str
    path: str
    sha256: str
    length: int
    counter: int
    floor: int
    installer: str
    hardware: tuple[str, ...]
    published_at: Instant
    channels: tuple[str, ...] = ()


class UpgradePathView(View, frozen=True, kw_only=True):
    """From which versions a release may be installed; all empty where nobody has ordered anything."""

    app: str
    version: str
    allowed: str
    forbidden: str
    through: tuple[str, ...]
    reason: str
    by: str
    at: Instant | None


class PipelineView(View, frozen=True, kw_only=True):
    """One revision of a pipeline."""

    name: str
    revision: int
    definition: Pipeline
    author: str
    created_at: Instant


class RevisionView(View, frozen=True, kw_only=True):
    """One revision of a pipeline with the one before it, so that it can be said what was changed."""

    revision: int
    definition: Pipeline
    previous: Pipeline | None
    author: str
    created_at: Instant
    archived_at: Instant | None


class LeftOutView(View, frozen=True, kw_only=True):
    """How many devices a stage would not get for one reason; `stage` is the earlier one that gets them, if any."""

    reason: str
    stage: str
    devices: int


class PreviewStage(View, frozen=True, kw_only=True):
    """What one stage would get: how many devices, the first ones to be released, and why not the others."""

    name: str
    needs: tuple[str, ...]
    devices: int
    first: tuple[str, ...]
    left_out: tuple[LeftOutView, ...]


class PreviewView(View, frozen=True, kw_only=True):
    """What a run would do. Of all `devices`, `placed` would get into a stage.

    `new`, `gone` and `moved` compare with the stages that `last_run` has opened.
    """

    job: str | None
    pipeline: str
    revision: int | None
    salt: str
    devices: int
    placed: int
    stages: tuple[PreviewStage, ...]
    last_run: str | None
    new: int
    gone: int
    moved: int


class PreviewDevice(View, frozen=True, kw_only=True):
    """One device of a preview: the stage it would get into, the one it was in `before`; each empty where there is none.

    `reason` is why the stage that was asked about would not get it, `in_stage` the earlier one that would.
    """

    device: str
    stage: str
    reason: str
    in_stage: str
    before: str


class JobView(View, frozen=True, kw_only=True):
    """A job: an operation bound to a pipeline; `active_run` is the id of its run that has not ended.

    `next_at` is when the first of its schedules comes, `waiting` what begins when the active run has ended.
    """

    name: str
    pipeline: str
    operation: Operation
    priority: int
    active_run: str | None
    parameters: Mapping[str, Value] = {}
    created_at: Instant
    triggers: tuple[JobTrigger, ...] = ()
    next_at: Instant | None = None
    waiting: StartRequest | None = None
    has_hook: bool = False


class DeliveryView(View, frozen=True, kw_only=True):
    """What a delivery to a hook led to: a run, or one that begins when the active one has ended."""

    run: str | None
    waits: bool


class ChannelView(View, frozen=True, kw_only=True):
    """A release in a channel of its app, and the runs that its appearance started."""

    app: str
    channel: str
    version: str
    at: Instant
    actor: str
    runs: tuple[str, ...] = ()


class TokenView(View, frozen=True, kw_only=True):
    """An API token, without its secret."""

    id: str
    name: str
    role: str
    created_at: Instant
    expires_at: Instant | None
    revoked: bool


class NewSecret(View, frozen=True, kw_only=True):
    """A token that was just made: the only time its secret is shown."""

    id: str
    secret: str


class Enrolment(View, frozen=True, kw_only=True):
    """What a device gets when it enrols."""

    name: str
    certificate_pem: str
    chain_pem: str
    fleet_root: bytes
    release_root: bytes


class SecurityEventView(View, frozen=True, kw_only=True):
    """Something that a device refused, or that was refused of a device."""

    id: int
    at: Instant
    device: str
    code: str
    digest: str
    detail: str


class AuditView(View, frozen=True, kw_only=True):
    """One act of an operator, chained by hash to the one before."""

    id: int
    at: Instant
    actor: str
    verb: str
    subject: str
    reason: str
    hash: str


class StandstillView(View, frozen=True, kw_only=True):
    """Whether everything is stopped; `since`, `by` and `reason` tell of the one who did."""

    stopped: bool
    since: Instant | None
    by: str
    reason: str


class Health(View, frozen=True, kw_only=True):
    """Whether the controller can do its work; `faults` says in words why not."""

    ready: bool
    faults: tuple[str, ...]
    online: int
    unsent: int
