"""What the database keeps, as frozen data: integer ids inside, text ids at the edge. Times are wall clock."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from controller.domain.admission import BlockReason
from controller.domain.course import Moment
from controller.domain.freeze import Freeze
from controller.domain.model import Plan, Run
from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.states import ReleaseState
from controller.domain.target import Delta, Target, delta
from controller.domain.trigger import JobTrigger, StartRequest
from protocol.ids import DeviceId, Digest, Name
from protocol.messages import InstalledRelease, Op
from protocol.units import Instant


class Record(msgspec.Struct, frozen=True, gc=False):
    """What all records share. None is part of a cycle, so garbage collection need not walk them by the thousand."""


class DeviceRecord(Record, frozen=True, kw_only=True):
    """One enrolled device.

    `seq` is the last command sequence number given out for it. `instance` is the transport's life in which it last
    said hello, 0 once it is gone: the device is online while that is the live one. `is_broken` devices are left out
    of further runs until they report a whole installation. One that was removed (`removed_at`) is blocked, too, and in
    no list, until it is enrolled anew.
    """

    id: int = 0
    device: DeviceId
    name: Name
    model: str
    hardware_id: str
    signing_key: bytes
    sealing_key: bytes
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    facts: Mapping[str, str] = msgspec.field(default_factory=dict)
    installed: tuple[InstalledRelease, ...] = ()
    is_blocked: bool = False
    is_broken: bool = False
    removed_at: Instant | None = None
    agent: str = ""
    capabilities: tuple[str, ...] = ()
    incarnation: str = ""
    hello_seq: int = 0
    seq: int = 0
    instance: int = 0
    connection: str = ""
    certificate_serial: str
    certificate_expires_at: Instant
    enrolled_at: Instant
    last_seen_at: Instant | None = None


class Sender(Record, frozen=True):
    """What of a device decides whether its messages are believed, and whether it is online; as the store selects it."""

    id: int
    device: DeviceId
    name: Name
    signing_key: bytes
    is_blocked: bool
    instance: int


class Sighted(Record, frozen=True):
    """What of a device it takes to ask it for a hello; as the store selects it."""

    id: int
    name: Name
    incarnation: str


class Candidate(Record, frozen=True):
    """A device that fulfils what a stage asks for; as the store selects it."""

    id: int
    device: DeviceId
    name: Name
    instance: int
    model: str


class Enrolled(Record, frozen=True):
    """A device, and what keeps it out of every stage; as the store selects it."""

    id: int
    device: DeviceId
    is_blocked: bool
    is_broken: bool


class GroupRecord(Record, frozen=True):
    """One group. `devices` counts its own members, `devices_below` those of all groups below it, too, each once."""

    path: str
    created_at: Instant
    devices: int
    devices_below: int


class TargetRecord(Record, frozen=True, kw_only=True):
    """One device in one run. `id` is ``stage_id << 32 | position``, so that what is dispatched together is adjacent.

    `ready` is the transport's life in which the device was last seen online, 0 when it is not; only queued rows use it.
    `blocked` is why a queued device may not begin, `block_text` that in words, and `check_at` when to judge it anew,
    None where only an event can change that. `site` is where it was judged to be, empty where sites do not matter.
    `previous` is the version of the app that the device had when its first command was committed, empty where it had
    none, and None before that. `wanted` is the version that it goes to, None where that is the run's. `model` is the
    device's when it joined, None in rows of earlier versions of this program.
    """

    id: int
    run_id: int
    stage: int
    device_id: int
    name: Name
    target: Target
    ready: int = 0
    blocked: BlockReason | None = None
    block_text: str = ""
    check_at: Instant | None = None
    site: str = ""
    updated_at: Instant
    previous: str | None = None
    wanted: str | None = None
    model: str | None = None

    def delta(self, after: Target) -> Delta:
        """Return how it shows in the stage that its device stands as *after* says now."""
        return delta(self.target, after, model=self.model)

    def became(self, target: Target, at: Instant) -> "TargetRecord":
        """Return the row as it is once its device stands as *target* says."""
        return msgspec.structs.replace(self, target=target, updated_at=at)


class OfModel(Record, frozen=True):
    """Devices of one model, or of any model but some."""

    model: str
    apart_from: tuple[str, ...] = ()

    def is_met(self, model: str | None) -> bool:
        """Say whether a device of *model* is meant."""
        return model is not None and (model not in self.apart_from if self.apart_from else model == self.model)


class PastTarget(Record, frozen=True):
    """A device of an ended run, and what decides whether another run takes it up; as the store selects it."""

    id: int
    device_id: int
    name: Name
    previous: str | None
    wanted: str | None
    instance: int
    is_blocked: bool
    is_broken: bool
    installed: tuple[InstalledRelease, ...]
    model: str


class CommandState(StrEnum):
    """What became of a command."""

    UNSENT = "unsent"
    SENT = "sent"
    DONE = "done"
    VOID = "void"


class CommandRecord(Record, frozen=True, kw_only=True):
    """One command, with the exact bytes that are signed and sent as often as needed.

    `target_id` is None for control commands. It is sent at or after `send_at`, and again each time that passes,
    while it is unsent or sent.
    """

    id: int = 0
    run_id: int
    target_id: int | None
    device_id: int
    name: Name
    op: Op
    attempt: int
    epoch: int
    seq: int
    digest: Digest
    payload: bytes
    state: CommandState = CommandState.UNSENT
    sends: int = 0
    send_at: Instant
    expires_at: Instant
    created_at: Instant


class GivenCommand(Record, frozen=True, kw_only=True):
    """What of a command that was given to a device tells what a report is about."""

    digest: Digest
    run_id: int
    target_id: int | None
    device_id: int
    op: Op
    attempt: int
    seq: int
    state: CommandState
    created_at: Instant

    @property
    def is_open(self) -> bool:
        """Say whether the command may still be sent."""
        return self.state in {CommandState.UNSENT, CommandState.SENT}


class RunRecord(Record, frozen=True, kw_only=True):
    """One run. `id` is inside, `uid` what people see. `stage_ids` are those of its stages, in the plan's order."""

    id: int = 0
    uid: str
    job_id: int
    job: str
    plan: Plan
    run: Run
    stage_ids: tuple[int, ...] = ()
    wake_at: Instant | None = None
    created_at: Instant
    ended_at: Instant | None = None

    def wall(self, run_time: int | None) -> Instant | None:
        """Return a moment of the run's own time as wall time; pauses since then shift it by their length.

        While the run is paused, pauses before that one do.
        """
        if run_time is None:
            return None
        clock = self.run.clock
        began_at = self.created_at if clock.since is None else clock.since - clock.base
        return Instant(began_at + run_time)


class ReportRecord(Record, frozen=True, kw_only=True):
    """One signed report, stored for ever under (device, incarnation, report_seq); the device's timeline."""

    device_id: int
    incarnation: str
    report_seq: int
    command: Digest
    target_id: int | None
    attempt: int
    state: str
    mode: str
    reason: str
    detail: str
    device_at: Instant
    received_at: Instant


class PipelineRecord(Record, frozen=True, kw_only=True):
    """One revision of a pipeline. The newest one says whether, and since when, the pipeline is archived."""

    id: int = 0
    name: str
    revision: int
    definition: Pipeline
    author: str
    created_at: Instant
    archived_at: Instant | None = None


class JobRecord(Record, frozen=True, kw_only=True):
    """One job; `active_run` is the uid of its run that has not ended. An archived one is kept for its runs.

    `next_at` is when the first of its schedules comes, `waiting` the run that begins when the active one has ended, and
    `hook` the id of the hook from which its secret is derived.
    """

    id: int = 0
    name: str
    pipeline: str
    operation: Operation
    priority: int = 0
    parameters: Mapping[str, Value] = {}
    triggers: tuple[JobTrigger, ...] = ()
    next_at: Instant | None = None
    waiting: StartRequest | None = None
    hook: str | None = None
    active_run: str | None = None
    created_at: Instant
    archived_at: Instant | None = None


class ReleaseRecord(Record, frozen=True, kw_only=True):
    """One published release. All but its state is signed; `state_by` says since `state_at` why it is no plain one."""

    app: str
    version: str
    path: str
    sha256: Digest
    length: int
    counter: int
    floor: int
    installer: str
    hardware: tuple[str, ...]
    published_at: Instant
    state: ReleaseState = ReleaseState.PUBLISHED
    state_reason: str = ""
    state_by: str = ""
    state_at: Instant | None = None


class ChannelRecord(Record, frozen=True, kw_only=True):
    """One release in one channel of its app."""

    app: str
    channel: str
    version: str
    at: Instant
    actor: str


class FreezeRecord(Record, frozen=True, kw_only=True):
    """One freeze of the calendar, under the name that it has there."""

    name: str
    freeze: Freeze
    actor: str
    created_at: Instant


class StandstillRecord(Record, frozen=True, kw_only=True):
    """Everything is stopped: since when, by whom, and why."""

    at: Instant
    actor: str
    reason: str


class AnswerRecord(Record, frozen=True, kw_only=True):
    """What a request with an Idempotency-Key was answered; `answer` is None where it held a secret."""

    actor: str
    key: str
    fingerprint: str
    answer: bytes | None
    at: Instant


class TokenRecord(Record, frozen=True, kw_only=True):
    """An API token: SHA-256 of its secret, never the secret."""

    id: str
    name: str
    role: str
    secret_sha256: str
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None = None


class ClaimRecord(Record, frozen=True, kw_only=True):
    """A claim token with which devices enrol: counted, expiring, stored hashed."""

    id: str
    secret_sha256: str
    uses_left: int
    expires_at: Instant


class EventRecord(Record, frozen=True, kw_only=True):
    """One entry of a run's timeline."""

    id: int = 0
    run_id: int
    at: Instant
    kind: str
    data: Mapping[str, str | int]


class MomentRecord(Record, frozen=True, kw_only=True):
    """A turning point of a stage, by its position, in the eyes of its gate; `at` is wall time, that inside run time."""

    run_id: int
    stage: int
    at: Instant
    moment: Moment


class SecurityRecord(Record, frozen=True, kw_only=True):
    """Something that a device refused, or that was refused of a device."""

    id: int = 0
    at: Instant
    name: str
    code: str
    digest: str
    detail: str


class AuditRecord(Record, frozen=True, kw_only=True):
    """One act of an operator. `hash` is SHA-256 over the hash before and this entry's own fields."""

    id: int = 0
    at: Instant
    actor: str
    verb: str
    subject: str
    reason: str
    previous: str
    hash: str
