"""What the agent's core knows: durable state, session, work in hand, and what it is given to judge by.

The rules this module keeps:

1. `Durable` is everything that must survive a power cut; it is journalled as one value, before any effect.
2. `Session` is what a restart may forget; changing it alone costs no write.
3. Every list has a limit with a name.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from protocol.ids import AppName, Digest, KeyId, Name, RunId
from protocol.lifecycle import AttemptState, Left
from protocol.messages import Command, InstalledRelease, Mode, Op, ReleaseRef, StepLimits, WorkInHand
from protocol.outputs import Outputs
from protocol.reasons import Reason, RejectCode
from protocol.trust import FleetRoot, ReleaseFile, ReleaseInfo
from protocol.units import Instant, Millis

NOTED_MAX: Final = 32
"""Digests of commands that are remembered, so that a late duplicate is known as one."""
FINALS_MAX: Final = 16
"""Ended attempts whose last report can be repeated."""
RUNS_MAX: Final = 32
"""Runs whose epoch floor, mode and last ended attempt are remembered."""
REFUSED_MAX: Final = 64
"""Digests of refused commands that are remembered, so that each is reported once."""
REFUSED_UNSIGNED_MAX: Final = 16
"""The same for bytes that nobody we trust signed: a list of its own, so garbage drives out nothing else."""
REFUSALS_OPEN_MAX: Final = 32
"""Unacknowledged refusals of signed commands."""
REFUSALS_UNSIGNED_OPEN_MAX: Final = 8
"""Unacknowledged refusals of bytes that nobody we trust signed."""
REPEATS_OPEN_MAX: Final = 16
"""Unacknowledged repeated reports."""
MEASURES_OPEN_MAX: Final = 1
"""Unacknowledged measures: of a device that is offline, older ones say nothing that the next one does not."""
REPORTS_OPEN_MAX: Final = 200
"""Unacknowledged reports; at this many, new work is refused as busy."""
PENDING_MAX: Final = 8
"""Commands that wait for the release file to be refreshed; the controller sends again what is dropped."""
TRANSITIONS_MAX: Final = 28
"""Saved transitions of one work (Mender's figure); more is a loop, and ends."""
DETAIL_LENGTH_MAX: Final = 1_000


class Phase(StrEnum):
    """Where work in hand stands; the phase alone says what to do after a restart."""

    DOWNLOADING = "downloading"
    WAITING = "waiting"
    INSTALLING = "installing"
    INSPECTING = "inspecting"
    VERIFYING = "verifying"
    COMMITTING = "committing"
    ROLLING_BACK = "rolling_back"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a step of the work failed."""

    reason: Reason
    detail: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What releases told when they were verified; a `remark` says why there are no `outputs` where some are."""

    outputs: Outputs = {}
    remark: str = ""


NOTHING_TOLD: Final = Told()


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The one unit of work: an admitted install or watch command and how far it is.

    `digest`, `epoch` and `not_after` are those of the newest command for the same attempt; `apps` are those that a
    watch command names, which has no releases; `verdict` is why it is being rolled back; `told` is what its releases
    told; `transitions` counts saved transitions.
    """

    digest: Digest
    run: RunId
    attempt: int
    epoch: int
    not_after: Instant
    refs: tuple[ReleaseRef, ...]
    releases: tuple[ReleaseInfo, ...]
    urls: tuple[str, ...] = ()
    params: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    steps: StepLimits = StepLimits()
    watch_ms: Millis = Millis(0)
    measure_ms: Millis = Millis(0)
    apps: tuple[AppName, ...] = ()
    phase: Phase = Phase.DOWNLOADING
    state: AttemptState = AttemptState.ACCEPTED
    verdict: Fault | None = None
    told: Told = NOTHING_TOLD
    transitions: int = 0

    def is_of(self, run: str, attempt: int) -> bool:
        """Say whether this is the work of that attempt."""
        return (self.run, self.attempt) == (run, attempt)

    @property
    def op(self) -> Op:
        """What its command asks for: a watch names apps, and nothing else does."""
        return Op.WATCH if self.apps else Op.INSTALL

    @property
    def watched(self) -> tuple[AppName, ...]:
        """The apps that are watched once it has succeeded, where its command asks for that."""
        return self.apps or tuple(release.app for release in self.releases)


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt whose apps are watched after its success, for `span_ms`; see `agent.core.watch`.

    `digest` is that of the attempt's command. `until` is a trusted time; None until one was heard since the success.
    Every `measure_ms` the apps are measured, 0 for never, next at the trusted time `measure_at`; see
    `agent.core.measures`.
    """

    digest: Digest
    run: RunId
    attempt: int
    apps: tuple[AppName, ...]
    span_ms: Millis
    measure_ms: Millis = Millis(0)
    until: Instant | None = None
    measure_at: Instant | None = None

    def is_of(self, other: "Watch") -> bool:
        """Say whether both are of the same attempt."""
        return (self.run, self.attempt) == (other.run, other.attempt)

    def is_over(self, now: Instant | None) -> bool:
        """Say whether its time is over at the trusted time *now*."""
        return self.until is not None and now is not None and now >= self.until


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was admitted: what its duplicate is answered by."""

    digest: Digest
    run: RunId
    attempt: int


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended; `outputs` are remembered of the last one alone."""

    run: RunId
    attempt: int
    state: AttemptState
    reason: str = ""
    detail: str = ""
    left: Left | None = None
    outputs: Outputs = {}


class RunNote(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run: its epoch floor, its mode, and the last attempt that ended here (0: none)."""

    epoch: int = 0
    mode: Mode = Mode.GO
    ended: int = 0


class RefusedNote(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was refused and reported as such."""

    digest: Digest
    code: RejectCode


class FiledKind(StrEnum):
    """What kind of report waits for its acknowledgement; the kinds have limits of their own."""

    STATE = "state"
    REPEAT = "repeat"
    REFUSAL = "refusal"
    REFUSAL_UNSIGNED = "refusal_unsigned"
    MEASURE = "measure"


class Filed(msgspec.Struct, frozen=True, kw_only=True):
    """A report in the outbox."""

    report_seq: int
    kind: FiledKind
    digest: Digest


class ClockBase(msgspec.Struct, frozen=True, kw_only=True):
    """A trusted time and the boot-time clock's reading that belongs to it; worthless in another boot."""

    boot: str
    time: Instant
    at: int


class Durable(msgspec.Struct, frozen=True, kw_only=True):
    """All that must survive a power cut.

    `generation`, `seq` and `digest` are those of the newest command taken note of; `key_generations` holds
    the version of the fleet root that first listed each key; `floors` the lowest counter an app may have;
    `is_broken` says that work left neither the old nor the new release whole, and none was made final since.
    """

    name: Name
    incarnation: str
    hello_seq: int = 0
    report_seq: int = 0
    generation: int = 0
    seq: int = 0
    digest: Digest = Digest("")
    fleet_version: int = 0
    release_version: int = 0
    key_generations: Mapping[KeyId, int] = {}
    time_floor: Instant = Instant(0)
    time_generation: int = 0
    clock: ClockBase | None = None
    floors: Mapping[AppName, int] = {}
    installed: tuple[InstalledRelease, ...] = ()
    is_broken: bool = False
    work: Work | None = None
    watch: Watch | None = None
    runs: Mapping[RunId, RunNote] = {}
    noted: tuple[Noted, ...] = ()
    finals: tuple[Ended, ...] = ()
    refused: tuple[RefusedNote, ...] = ()
    refused_unsigned: tuple[RefusedNote, ...] = ()
    filed: tuple[Filed, ...] = ()

    def run(self, run: str) -> RunNote:
        """Return what is known of a run."""
        return self.runs.get(RunId(run), RunNote())

    @property
    def untouched(self) -> Left:
        """What work leaves that has changed nothing, or has taken back what it changed."""
        return Left.BROKEN if self.is_broken else Left.OLD

    def work_in_hand(self) -> WorkInHand | None:
        """Return the work as the hello tells it."""
        work = self.work
        if work is None:
            return None
        return WorkInHand(
            command=work.digest,
            run=work.run,
            attempt=work.attempt,
            state=work.state,
            epoch=work.epoch,
            mode=self.run(work.run).mode,
        )


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a restart may forget. All `_at` are readings of the boot-time clock, in milliseconds.

    `connection` is the nonce of the connection's first hello, `nonce` that of the hello that is open;
    `asked_due_at` is when the hello that the controller asked for is due, `asked_at` when the last such one was said;
    `deadline_at` is when the current step of the work is given up; `pending` are commands that wait for the
    release file; `refusals_left` and `unsigned_left` say how many refusals the rate window from `window_at`
    on still allows; `is_measuring` says that a measure was asked for and has not ended.
    """

    boot: str = ""
    started_at: int = 0
    is_connected: bool = False
    connection: str = ""
    nonce: str = ""
    hello_at: int = 0
    hello_due_at: int | None = None
    asked_due_at: int | None = None
    asked_at: int | None = None
    max_silence_ms: int = 900_000
    spread_ms: Millis = Millis(0)
    is_stale: bool = False
    deadline_at: int | None = None
    pending: tuple[bytes, ...] = ()
    tick_at: int | None = None
    window_at: int | None = None
    refusals_left: int = 0
    unsigned_left: int = 0
    is_measuring: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of the core."""

    durable: Durable
    session: Session = Session()

    @property
    def base(self) -> ClockBase | None:
        """The trusted time that was heard in this boot, if any."""
        base = self.durable.clock
        return base if base is not None and base.boot == self.session.boot else None

    def now(self, at: int) -> Instant | None:
        """Return the trusted time when the boot-time clock reads *at*, or None where none was heard."""
        return None if self.base is None else Instant(self.base.time + max(0, at - self.base.at))

    def at(self, time: Instant) -> int | None:
        """Return what the boot-time clock reads at the trusted *time*, or None where none was heard."""
        return None if self.base is None else self.base.at + time - self.base.time

    @property
    def silent_at(self) -> int:
        """When the silence of the control plane becomes too long, on the boot-time clock."""
        heard_at = self.session.started_at if self.base is None else self.base.at
        return heard_at + self.session.max_silence_ms


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """What the device judges by: the pinned fleet root, and the verified release file."""

    fleet: FleetRoot
    release_root_version: int = 0
    releases: ReleaseFile | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What the device is: model, agent version, installers, capabilities, facts."""

    model: str
    agent: str
    installers: frozenset[str] = frozenset()
    capabilities: tuple[str, ...] = ()
    facts: Mapping[str, str] = {}


def work_of(command: Command, digest: Digest, releases: tuple[ReleaseInfo, ...]) -> Work:
    """Return the work that an admitted install or watch *command* asks for."""
    return Work(
        digest=digest,
        run=RunId(command.run),
        attempt=command.attempt,
        epoch=command.epoch,
        not_after=command.not_after,
        refs=command.releases,
        releases=releases,
        urls=command.urls,
        params=command.params,
        env=command.env,
        secrets=command.secrets,
        steps=command.steps,
        watch_ms=command.watch_ms,
        measure_ms=command.measure_ms,
        apps=tuple(AppName(app) for app in command.apps),
    )
