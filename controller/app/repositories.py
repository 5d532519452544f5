"""What the use cases ask of the database. The SQL store implements it; the simulation has one in memory.

All methods are synchronous and run inside one transaction: a `Transaction` writes, a `Snapshot` only reads. Nothing
here commits; `Store.write` does, once, when the work returned, and rolls everything back when it raised.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from controller.app.ports import Priority
from controller.app.records import (
    AnswerRecord,
    AuditRecord,
    Candidate,
    ChannelRecord,
    ClaimRecord,
    CommandRecord,
    DeviceRecord,
    Enrolled,
    EventRecord,
    GivenCommand,
    GroupRecord,
    JobRecord,
    PipelineRecord,
    ReleaseRecord,
    ReportRecord,
    RunRecord,
    SecurityRecord,
    Sender,
    Sighted,
    StandstillRecord,
    TargetRecord,
    TokenRecord,
)
from controller.domain.pipeline import Pipeline
from controller.domain.pipeline import Targets as Wanted
from controller.domain.query import Formula
from controller.domain.target import TargetState
from protocol.ids import DeviceId, Digest, Name
from protocol.messages import InstalledRelease
from protocol.units import Instant

T = TypeVar("T")

ReportKey = tuple[int, str, int]
"""(device id, incarnation, report_seq)"""


class Devices(Protocol):
    """Enrolled devices."""

    def add(self, device: DeviceRecord) -> int:
        """Insert a device, or enrol one of the same name anew (its id, labels and seq stay); return its id."""

    def by_names(self, names: Collection[Name]) -> dict[Name, DeviceRecord]:
        """Return those that exist."""

    def senders(self, names: Collection[Name]) -> dict[Name, Sender]:
        """Return what decides about the messages of those that exist."""

    def page(
        self,
        *,
        labels: Mapping[str, str],
        online: bool | None,
        instance: int,
        app: str | None,
        version: str | None,
        after: str,
        limit: int,
        where: Formula | None = None,
    ) -> list[DeviceRecord]:
        """Return up to *limit* devices whose id sorts after *after*, in that order, that match every filter."""

    def matching(self, targets: Wanted) -> list[Candidate]:
        """Return the devices for which `formula_of` *targets* holds, by id; none that is blocked or broken.

        Exclusions and the share are left to the caller.
        """

    def roll(self) -> list[Enrolled]:
        """Return every device, by id."""

    def ids(self, where: Formula) -> list[int]:
        """Return the ids of all devices that match, in their order."""

    def allocate_seqs(self, ids: Collection[int], *, at: Instant) -> dict[int, int]:
        """Give each device its next command sequence number: max(last + 1, *at*), stored."""

    def save_hello(self, device: DeviceRecord) -> None:
        """Store what a hello said: all but who the device is, its labels and its certificate."""

    def save_installed(self, told: Sequence[tuple[int, Sequence[InstalledRelease], bool | None]]) -> None:
        """Store what terminal reports said: (device id, what is installed, is the device broken), later ones win.

        None leaves it as it is whether the device is broken.
        """

    def save_gone(self, device_id: int, *, connection: str, at: Instant) -> bool:
        """Mark the device offline if *connection* is that of its newest hello; say whether it was."""

    def sighted(self, partitions: Collection[int], *, after: int, limit: int) -> list[Sighted]:
        """Return up to *limit* devices of these partitions with an id above *after*, in that order, that were online.

        Those are devices whose presence was noted in any life of the transport, and not taken back since.
        """

    def set_gone(self, ids: Collection[int]) -> None:
        """Mark devices offline, whatever their connection."""

    def set_labels(self, device: DeviceId, labels: Mapping[str, str]) -> None:
        """Replace a device's labels."""

    def set_blocked(self, device: DeviceId, *, is_blocked: bool) -> None:
        """Block or unblock a device."""

    def set_certificate(self, device_id: int, *, serial: str, expires_at: Instant) -> None:
        """Store a renewed certificate's particulars."""

    def count(self) -> int:
        """Return the number of devices; costs the same for any number of them."""

    def installed_counts(self, app: str) -> dict[str, int]:
        """Return the number of devices on each version of *app*."""


class Groups(Protocol):
    """Named sets of devices, in a tree by their paths."""

    def paths(self) -> set[str]:
        """Return the path of every group."""

    def counted(self) -> list[GroupRecord]:
        """Return every group with its counts, by path."""

    def add(self, paths: Sequence[str], *, at: Instant) -> None:
        """Insert groups that there are not."""

    def remove(self, path: str) -> None:
        """Delete a group and all below it, with their memberships."""

    def add_members(self, path: str, ids: Collection[int]) -> int:
        """Make devices members of a group that exists; return how many were none."""

    def drop_members(self, path: str, ids: Collection[int]) -> int:
        """Take devices out of a group; return how many were members."""

    def groups_of(self, device_id: int) -> list[str]:
        """Return the paths of a device's groups, in order."""

    def ids_of(self, devices: Collection[DeviceId]) -> dict[DeviceId, int]:
        """Return the ids of those devices that exist."""


class Runs(Protocol):
    """Runs and their stages."""

    def add(self, run: RunRecord) -> RunRecord:
        """Insert a run and its stages; return it with its ids.

        Raises:
            controller.app.errors.Conflict: when its job has an active run (a partial unique index says so).
        """

    def get(self, run_id: int) -> RunRecord:
        """Return a run that exists."""

    def by_uid(self, uid: str) -> RunRecord | None:
        """Return a run, or None."""

    def save(self, run: RunRecord) -> None:
        """Store state, projected columns, each stage's state and counters, wake_at and ended_at."""

    def page(self, *, job: str | None, active: bool | None, before: int | None, limit: int) -> list[RunRecord]:
        """Return up to *limit* runs with an id below *before*, newest first."""

    def active_ids(self) -> list[int]:
        """Return the ids of runs that have not ended."""

    def waking(self, at: Instant) -> list[int]:
        """Return the ids of active runs whose `wake_at` has come."""

    def next_wake(self) -> Instant | None:
        """Return the earliest `wake_at`."""


class Targets(Protocol):
    """Devices in runs."""

    def add(self, targets: Sequence[TargetRecord]) -> None:
        """Insert the frozen membership of a stage."""

    def members(self, run_id: int) -> set[int]:
        """Return the ids of the devices that some stage of the run has frozen."""

    def placed(self, run_id: int) -> dict[int, int]:
        """Return the stage id of every device that some stage of the run has frozen, by device id."""

    def get(self, ids: Collection[int]) -> dict[int, TargetRecord]:
        """Return those that exist, by id."""

    def ready(self, stage_id: int, *, instance: int, now: int, limit: int) -> list[TargetRecord]:
        """Return up to *limit* queued devices of a stage in dispatch order that may go now.

        They are online in *instance*, their `due` (run time) is None or not after *now*, and they are at work in no
        run, not blocked and not broken.
        """

    def in_stage(self, stage_id: int, state: TargetState) -> list[TargetRecord]:
        """Return a stage's devices in *state*."""

    def in_flight(self, run_id: int) -> list[TargetRecord]:
        """Return a run's devices at work."""

    def find(self, run_id: int, device_id: int) -> TargetRecord | None:
        """Return a device's row in a run, or None where it is no member."""

    def at_work(self, device_id: int) -> TargetRecord | None:
        """Return the one run's row in which the device is at work."""

    def due(self, run_id: int, now: int, *, limit: int) -> list[TargetRecord]:
        """Return up to *limit* devices of a run whose `due` (run time) is not after *now*, earliest first.

        Queued ones that only wait for a retry are included.
        """

    def next_due(self, run_id: int) -> int | None:
        """Return the earliest `due` of a run, in run time."""

    def save(self, targets: Sequence[TargetRecord]) -> None:
        """Store `target` and `updated_at` of each; `ready` is `set_ready`'s."""

    def set_ready(self, device_ids: Collection[int], instance: int) -> list[int]:
        """Set `ready` on the queued rows of devices; return the ids of the active runs that have such rows."""

    def page(
        self, run_id: int, *, stage: int | None, state: TargetState | None, after: int, limit: int
    ) -> list[TargetRecord]:
        """Return up to *limit* rows with an id above *after*, in that order."""


class Commands(Protocol):
    """Commands, with their exact bytes."""

    def add(self, commands: Sequence[CommandRecord]) -> list[CommandRecord]:
        """Insert commands; return them with their ids."""

    def given(self, digests: Collection[Digest]) -> dict[Digest, GivenCommand]:
        """Return what those that exist are about."""

    def open_for(self, target_id: int) -> list[CommandRecord]:
        """Return the target's commands that are unsent or sent, the oldest first."""

    def controls_for(self, device_ids: Collection[int]) -> list[CommandRecord]:
        """Return the control commands of devices that are unsent, the oldest first."""

    def due(self, at: Instant, *, limit: int) -> list[CommandRecord]:
        """Return up to *limit* unsent or sent commands whose `send_at` has come, earliest first."""

    def next_due(self) -> Instant | None:
        """Return the earliest `send_at` of a command that is unsent or sent."""

    def mark_sent(self, ids: Collection[int], *, again_at: Instant) -> None:
        """Mark install commands sent, to be sent again at *again_at*; control commands become done."""

    def drop(self, ids: Collection[int]) -> None:
        """Mark open commands done: nobody is to be told of them any more."""

    def postpone(self, ids: Collection[int], *, until: Instant) -> None:
        """Try commands that are unsent or sent again at *until*."""

    def close(self, target_ids: Collection[int]) -> None:
        """Mark every open command of these targets done: the device has accepted it, or its attempt is over."""

    def void(self, *, run_id: int, stage: int | None) -> list[int]:
        """Void the open install commands of a run, or of one of its stages, for good; return their ids."""

    def unsent_count(self) -> int:
        """Return the number of unsent commands."""


class Catalog(Protocol):
    """Pipelines, jobs and releases."""

    def pipeline(self, name: str, revision: int | None = None) -> PipelineRecord | None:
        """Return a revision, or None; by default the newest of a pipeline that is not archived."""

    def pipelines(self) -> list[PipelineRecord]:
        """Return the newest revision of each that is not archived, by name."""

    def revisions(self, name: str, *, before: int | None, limit: int) -> list[PipelineRecord]:
        """Return up to *limit* revisions below *before*, the newest first; those of an archived pipeline too."""

    def add_revision(self, name: str, definition: Pipeline, *, author: str, at: Instant) -> PipelineRecord:
        """Insert the next revision of a pipeline; that of an archived one brings it back."""

    def archive_pipeline(self, name: str, *, at: Instant) -> None:
        """Archive a pipeline that exists."""

    def job(self, name: str) -> JobRecord | None:
        """Return a job, or None; an archived one is none."""

    def jobs(self) -> list[JobRecord]:
        """Return all jobs that are not archived, by name."""

    def add_job(self, job: JobRecord) -> JobRecord:
        """Insert a job, or bring an archived one of the same name back with what is written in this one.

        Raises:
            controller.app.errors.Conflict: when the name is taken.
        """

    def save_job(self, job: JobRecord) -> None:
        """Store all of a job that exists but its name and when it was made."""

    def archive_job(self, name: str, *, at: Instant) -> None:
        """Archive a job that exists and has no active run."""

    def startable(self, at: Instant) -> list[JobRecord]:
        """Return, in the order of their ids, the jobs that a start is due of; no archived ones.

        Their `next_at` has come, or they have a `waiting` run and no active one.
        """

    def next_start(self) -> Instant | None:
        """Return the earliest `next_at`, or 0 where a waiting run may begin now; no archived job counts."""

    def channels(self, app: str | None = None) -> list[ChannelRecord]:
        """Return which releases are in which channels, by app and channel, the latest first, then by version."""

    def add_to_channel(self, record: ChannelRecord) -> None:
        """Insert a release into a channel that it is not in."""

    def remove_from_channel(self, app: str, channel: str, version: str) -> bool:
        """Take a release out of a channel; say whether it was in it."""

    def release(self, app: str, version: str) -> ReleaseRecord | None:
        """Return a release, or None."""

    def releases(self, app: str | None = None) -> list[ReleaseRecord]:
        """Return releases, by app and counter."""

    def add_releases(self, releases: Sequence[ReleaseRecord]) -> None:
        """Insert newly published releases."""

    def release_document(self) -> tuple[int, bytes] | None:
        """Return the newest release file and its version."""

    def add_release_document(self, version: int, document: bytes, *, at: Instant) -> None:
        """Insert a release file."""


class Tenant(Protocol):
    """What holds for everything at once."""

    def standstill(self) -> StandstillRecord | None:
        """Return the standstill, or None while nothing stops everything."""

    def stand_still(self, record: StandstillRecord) -> None:
        """Store that everything is stopped; there must be no standstill."""

    def lift_standstill(self) -> None:
        """Store that nothing stops everything any more."""


class Credentials(Protocol):
    """Tokens of people and programs, and claims of devices."""

    def token_by_hash(self, secret_sha256: str) -> TokenRecord | None:
        """Return a token, or None."""

    def tokens(self) -> list[TokenRecord]:
        """Return all tokens, newest first."""

    def add_token(self, token: TokenRecord) -> None:
        """Insert a token."""

    def revoke_token(self, token_id: str, *, at: Instant) -> bool:
        """Revoke a token; say whether there was one."""

    def add_claim(self, claim: ClaimRecord) -> None:
        """Insert a claim."""

    def spend_claim(self, secret_sha256: str, *, at: Instant) -> bool:
        """Take one use of an unexpired claim; say whether there was one left. Rolled back with the transaction."""


class Log(Protocol):
    """What is only ever added to: reports, run timelines, security events, audit."""

    def known_reports(self, keys: Collection[ReportKey]) -> set[ReportKey]:
        """Return those that are stored."""

    def add_reports(self, reports: Sequence[ReportRecord]) -> None:
        """Insert reports."""

    def add_events(self, events: Sequence[EventRecord]) -> None:
        """Insert timeline entries."""

    def events(self, run_id: int, *, after: int, limit: int) -> list[EventRecord]:
        """Return timeline entries with an id above *after*."""

    def add_security(self, events: Sequence[SecurityRecord]) -> None:
        """Insert security events."""

    def security(self, *, after: int, limit: int) -> list[SecurityRecord]:
        """Return security events with an id above *after*."""

    def last_audit(self) -> AuditRecord | None:
        """Return the newest audit entry."""

    def answer(self, actor: str, key: str) -> AnswerRecord | None:
        """Return what *actor* was answered under *key*, or None."""

    def add_answer(self, answer: AnswerRecord) -> None:
        """Insert an answer; there must be none under its actor and key."""

    def forget_answers(self, *, before: Instant) -> None:
        """Delete the answers given before an instant."""

    def add_audit(self, entry: AuditRecord) -> None:
        """Insert an audit entry."""

    def audit(self, *, after: int, limit: int) -> list[AuditRecord]:
        """Return audit entries with an id above *after*."""

    def heartbeat(self) -> Instant | None:
        """Return when the controller last said that it lives."""

    def beat(self, at: Instant) -> None:
        """Say that the controller lives."""


class Transaction(Protocol):
    """Everything, within one transaction."""

    @property
    def devices(self) -> Devices:
        """Enrolled devices."""

    @property
    def groups(self) -> Groups:
        """Groups of devices."""

    @property
    def runs(self) -> Runs:
        """Runs and their stages."""

    @property
    def targets(self) -> Targets:
        """Devices in runs."""

    @property
    def commands(self) -> Commands:
        """Commands."""

    @property
    def catalog(self) -> Catalog:
        """Pipelines, jobs and releases."""

    @property
    def tenant(self) -> Tenant:
        """What holds for everything at once."""

    @property
    def credentials(self) -> Credentials:
        """Tokens and claims."""

    @property
    def log(self) -> Log:
        """What is only added to."""


class Store(Protocol):
    """The database."""

    async def write(self, work: Callable[[Transaction], T], *, priority: Priority) -> T:
        """Run *work* in one transaction, alone, and commit durably before returning.

        Raises:
            controller.app.errors.StorageUnavailable: when the database cannot be written; nothing of *work* stays.
        """

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run *work*, which only reads, on one consistent snapshot beside the writer.

        Raises:
            controller.app.errors.StorageUnavailable: when the database cannot be read.
        """
