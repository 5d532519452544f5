"""What the use cases answer: plain frozen data for API, CLI and console. Times in milliseconds since 1970, UTC."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec

from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.trigger import JobTrigger, StartRequest
from protocol.outputs import Outputs
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


class SummaryView(View, frozen=True, kw_only=True):
    """The numbers, `count` of them, that devices of a stage told under one name."""

    count: int
    min: float
    max: float
    avg: float


class ApprovalView(View, frozen=True, kw_only=True):
    """Who approved a stage, when and why."""

    by: str
    at: Instant
    reason: str


class NotTakenView(View, frozen=True, kw_only=True):
    """How many devices of an earlier run a run over it does not take, for one reason; `first` names some of them."""

    reason: str
    devices: int
    first: tuple[str, ...] = ()


class StageView(View, frozen=True, kw_only=True):
    """One stage of a run. `started` and `failures` are the n and k of its gate; `gate` says it in words.

    `outputs` sums up what its devices told, by name, as far as conditions of other stages ask for it.
    `per_minute` is its present rate, and before `paced_until` that lets nobody go; None where nothing does.
    `approvals_missing` are those without which it is not promoted.
    `left_out` are devices of an earlier run that this one, over that run, does not take.
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
    outputs: Mapping[str, SummaryView] = {}
    max_in_flight: int
    per_minute: int | None = None
    paced_until: Instant | None = None
    blocked: Mapping[str, int] = {}
    opened_at: Instant | None
    ended_at: Instant | None
    approvals: tuple[ApprovalView, ...] = ()
    approvals_missing: int = 0
    left_out: tuple[NotTakenView, ...] = ()


class StandingFreeze(View, frozen=True, kw_only=True):
    """The freeze in which a run stands."""

    name: str
    ends_at: Instant
    reason: str


class RunView(View, frozen=True, kw_only=True):
    """One run. `paused` while `pause_reasons` is not empty; `waiting` when every open stage awaits a person.

    `frozen` is the freeze of the calendar in which it stands, if it does.
    `source` is the run that this one is over, for the `purpose` of a retry or a rollback. `rolling_back` while a
    rollback begins when this run has ended; `rolled_back_by` is the run that it became.
    """

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
    frozen: StandingFreeze | None = None
    reason: str
    epoch: int
    salt: str
    parameters: Mapping[str, Value] = {}
    started_by: str = ""
    created_at: Instant
    ended_at: Instant | None
    stages: tuple[StageView, ...]
    source: str = ""
    purpose: str = ""
    rolling_back: bool = False
    rolled_back_by: str = ""


class VersionView(View, frozen=True, kw_only=True):
    """How many devices go to a version."""

    version: str
    devices: int


class RollbackView(View, frozen=True, kw_only=True):
    """What a rollback would do to the devices that a run has reached; more are reached until it has `ended`."""

    run: str
    ended: bool
    devices: int
    versions: tuple[VersionView, ...]
    left_out: tuple[NotTakenView, ...]


class TargetView(View, frozen=True, kw_only=True):
    """One device in one run. `done` of `total` is the progress of the step at hand, in the step's unit.

    `outputs` are what the release told of itself at the end of the last attempt.
    `previous` is the version that it had before, `wanted` the one it goes to where that is not the run's.
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
    outputs: Outputs = {}
    waits_for: str
    blocked: str = ""
    check_at: Instant | None = None
    done: int
    total: int
    updated_at: Instant
    previous: str = ""
    wanted: str = ""


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


class FactView(View, frozen=True, kw_only=True):
    """One fact about why a device is not updated; see `controller.domain.why.Fact`."""

    code: str
    text: str
    change: str
    until: Instant | None


class WhyView(View, frozen=True, kw_only=True):
    """Why a device is not updated by one run, the most decisive fact first. `stage` is empty where none has it."""

    run: str
    job: str
    app: str
    version: str
    state: str
    stage: str
    facts: tuple[FactView, ...]


class DeviceWhyView(View, frozen=True, kw_only=True):
    """The same for all runs that matter; `facts` are those that hold without a run."""

    device: str
    installed: tuple[InstalledView, ...]
    facts: tuple[FactView, ...]
    runs: tuple[WhyView, ...]


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
    removed_at: Instant | None = None
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
    """One release as the release key signed it, and its state: who made it so, when and why."""

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
    state: str = "published"
    state_reason: str = ""
    state_by: str = ""
    state_at: Instant | None = None


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

    `new`, `gone` and `moved` compare with the stages that `last_run` has opened. `no_way_back_to` are the published
    versions that the floor of the job's release forbids to devices that install it.
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
    no_way_back_to: tuple[str, ...] = ()


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


class FreezeView(View, frozen=True, kw_only=True):
    """One freeze of the calendar, for the runs of some `pipelines`, or of all; `is_over` once its end has passed."""

    name: str
    starts_at: Instant
    ends_at: Instant
    reason: str
    pipelines: tuple[str, ...]
    by: str
    created_at: Instant
    is_over: bool = False


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
