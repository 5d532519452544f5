"""Runs, their stages, their devices and their timelines."""

from collections.abc import Mapping

import msgspec

from controller.app.views.gates import BreachView, EvidenceView, GateView
from controller.app.views.parts import Counters, View
from controller.domain.parameters import Value
from protocol.outputs import Outputs
from protocol.units import Instant


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
    """How many devices a run does not take for one reason, most of them of the run it is over; `first` names some."""

    reason: str
    devices: int
    first: tuple[str, ...] = ()


class CheckView(View, frozen=True, kw_only=True):
    """A check of a stage: the `verdict` that its answers come to, and `asked` once it is asked at all.

    `said` says it in words; `oks` and `failures` are in a row, and `last_at` is when an answer came last.
    `failed_at` is when it breached the gate last, and `evidence` what was known then. What a `dry_run` finds has no
    effect.
    """

    name: str
    kind: str
    asked: bool
    verdict: str
    said: str
    oks: int = 0
    failures: int = 0
    last_at: Instant | None = None
    failed_at: Instant | None = None
    evidence: str = ""
    dry_run: bool = False


class StageView(View, frozen=True, kw_only=True):
    """One stage of a run. `started` devices have begun, and `failures` are those that failed by the build's fault.

    `unwell` are those that succeeded, and told of harm or fell silent afterwards.
    `outputs` sums up what its devices told, by name, as far as conditions of other stages ask for it.
    `per_minute` is its present rate, and before `paced_until` that lets nobody go; None where nothing does.
    `ramp` says where its ramp stands, if it has one, and `checks` what others say that are asked.
    `approvals_missing` are those without which it is not promoted.
    `left_out` are devices of quarantined models, and those of the run that this one is over, that it does not take.
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
    gate: GateView
    bricked: int
    unwell: int = 0
    outputs: Mapping[str, SummaryView] = {}
    max_in_flight: int
    per_minute: int | None = None
    ramp: str = ""
    checks: tuple[CheckView, ...] = ()
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
    `previous` is the version that it had before, `wanted` the one it goes to where that is not the run's. `model` is
    what it was when it joined. While `is_control` it is held back, and its attempts are watches of what it has.
    `health` is the mark that it told after its success (`ended`: newer work began first), `health_detail` what it said
    to that.
    `is_silent` says that it was offline for too long after its success, and counts as failed for that.
    `measures` are the numbers that it told of what its stage compares, `is_paired` once they are.
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
    outputs: Outputs = msgspec.field(default_factory=dict)
    waits_for: str
    blocked: str = ""
    check_at: Instant | None = None
    done: int
    total: int
    updated_at: Instant
    previous: str = ""
    wanted: str = ""
    model: str = ""
    is_control: bool = False
    health: str = ""
    health_detail: str = ""
    is_silent: bool = False
    measures: Mapping[str, float] = {}
    is_paired: bool = False


class EventView(View, frozen=True, kw_only=True):
    """One entry of a run's timeline."""

    id: int
    at: Instant
    kind: str
    data: Mapping[str, str | int]


class VerdictView(View, frozen=True, kw_only=True):
    """What one gate says of a stage: where it stops first, and the most evidence that its test had, with its counts."""

    stop: BreachView | None
    evidence: float | None
    evidence_failed: int
    evidence_exposed: int


class ReplayedView(View, frozen=True, kw_only=True):
    """A stage of a run judged by its own gate and by another; see `controller.domain.gates.replay.Replayed`.

    `said` says it in words, and `now` what the other gate says of the stage as it stands. What earlier versions of the
    controller ran is not `known`, but for that and for what came from `known_from` on; nor is what was long ago.
    """

    stage: str
    said: str
    known: bool
    known_from: Instant | None = None
    own: VerdictView
    other: VerdictView
    spared: int
    exposed_more: int
    now: str
    evidence_now: EvidenceView | None


class ReplayView(View, frozen=True, kw_only=True):
    """A run judged again by another gate, stage by stage; `notes` say what of the gates is not judged."""

    run: str
    stages: tuple[ReplayedView, ...]
    notes: tuple[str, ...] = ()
