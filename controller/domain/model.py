"""A run as data: its plan, its stages, and the only functions that change a state.

Times in a `Run` are in its own run time (`controller.domain.clock`).
"""

from collections.abc import Mapping

import msgspec

from controller.domain.clock import RunClock
from controller.domain.control import ControlRun
from controller.domain.counters import Tally
from controller.domain.freeze import Freeze, in_force
from controller.domain.gates.checks import CheckRun
from controller.domain.outputs import Summary
from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.rerun import LeftOut, RollbackOrder, Source
from controller.domain.states import RUN_TRANSITIONS, STAGE_TRANSITIONS, RunState, StageState
from controller.domain.waves import Waves
from protocol.ids import StageName
from protocol.messages import ReleaseRef
from protocol.units import Instant


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One person's consent to promote a stage, `at` wall time, bound to what was to be done."""

    by: str
    at: Instant
    revision: int
    version: str
    salt: str
    reason: str = ""


class Breach(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate knew when it was breached, at a run time: k of n, and in words. Later reports change it no more."""

    at: int
    failed: int
    exposed: int
    evidence: str


class ModelRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The devices of one model in a stage. It is quarantined while there is a `breach` of its test.

    `accepted` is the k over which a person has gone on, by resuming the run or by readmitting the model.
    """

    tally: Tally = Tally()
    accepted: int = 0
    breach: Breach | None = None


class RampRun(msgspec.Struct, frozen=True, kw_only=True):
    """A ramp at work: in round `round` that many commands are `left`, which is over since `done_at`.

    A retry costs one as well. `risk` are the failures that it pays for. It counts from the devices, and the failures
    among them, that a person has accepted.
    """

    round: int
    left: int
    risk: int
    done_at: int | None = None
    accepted_exposed: int = 0
    accepted_failed: int = 0


class StageRun(msgspec.Struct, frozen=True, kw_only=True):
    """One stage at work.

    `outputs` sums up what its devices told, by name, as far as a condition of the plan asks for it;
    `is_frozen` once its membership is fixed; `is_recalled` once its devices were called back; `is_cut` while more
    devices may be ready than the last transaction released; before `paced_until` its rate lets nobody go, and it is
    None where that is over; `skipped` is why an operator passes it over; `accepted` is the k that an operator resumed
    over, `breach` the newest breach of the gate, and `dry_runs` the first one of each rule on trial. `ramp` is where
    its ramp stands, `checks` where those stand that were asked, by name; `is_soaked` once its soak is over while a
    check has not passed. `frozen_ms` is that of the run when the stage opened. `left_out` are devices of quarantined
    models, or of an earlier run, that this stage did not take. `models` are its devices by model, none where that is
    not known; see `controller.domain.quarantine`. `waves` are they in the order in which they began, if the gate asks
    for proof. `control` are those that are held back, which no other number here counts.
    """

    state: StageState = StageState.BLOCKED
    tally: Tally = Tally()
    outputs: Mapping[str, Summary] = {}
    reason: str = ""
    is_frozen: bool = False
    is_promoted: bool = False
    approvals: tuple[Approval, ...] = ()
    is_recalled: bool = False
    is_cut: bool = False
    paced_until: int | None = None
    skipped: str = ""
    accepted: int = 0
    breach: Breach | None = None
    dry_runs: Mapping[str, Breach] = {}
    ramp: RampRun | None = None
    checks: Mapping[str, CheckRun] = {}
    models: Mapping[str, ModelRun] = {}
    waves: Waves = ()
    control: ControlRun | None = None
    left_out: tuple[LeftOut, ...] = ()
    met_at: int | None = None
    opened_at: int | None = None
    soak_at: int | None = None
    is_soaked: bool = False
    ended_at: int | None = None
    frozen_ms: int = 0

    @property
    def is_over(self) -> bool:
        """Say whether it has a verdict and no device left; one that was opened is first told who belongs to it."""
        is_known = self.is_frozen or self.opened_at is None
        return self.state.is_verdict and is_known and self.is_settled

    @property
    def is_settled(self) -> bool:
        """Say whether no device of it is queued or at work, nor held back if it is to be updated after all."""
        group = self.control
        return self.tally.is_settled and (group is None or (group.tally.is_settled and not self.may_discharge))

    @property
    def may_discharge(self) -> bool:
        """Say whether devices are held back that are to be updated now: it has passed."""
        is_over = self.state is not StageState.PASSED or self.is_recalled
        return not is_over and self.control is not None and self.control.dischargeable > 0

    @property
    def is_comparing(self) -> bool:
        """Say whether numbers that devices tell count, beside those of devices that are held back."""
        return self.control is not None and not self.state.is_verdict

    @property
    def queued(self) -> int:
        """How many devices wait for their turn, those that are held back included."""
        return self.tally.queued + (0 if self.control is None else self.control.tally.queued)

    @property
    def tail_ms(self) -> int:
        """For how long it had been open when its tail was given its time: that begins anew with control devices."""
        return 0 if self.control is None else self.control.discharged_at or 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was started with, the signed release included; never changed afterwards. Nothing in it is left open.

    Where several runs wait for one device, it goes to that of highest `priority`, and then to the oldest. `started_by`
    names the person or the trigger, `author` who wrote the revision.

    A run over an earlier run names it as its `source`. Where each device goes to a version of its own, `releases` are
    the signed releases by version, and `release` is one of them.
    """

    pipeline: Pipeline
    revision: int
    operation: Operation
    release: ReleaseRef
    salt: str
    priority: int = 0
    parameters: Mapping[str, Value] = msgspec.field(default_factory=dict)
    started_by: str = ""
    author: str = ""
    source: Source | None = None
    releases: Mapping[str, ReleaseRef] = msgspec.field(default_factory=dict)

    @property
    def goes_back(self) -> bool:
        """Say whether it takes devices back, which the floor guards, and not the ways that lead forth to a version."""
        return bool(self.releases)

    def is_without_devices(self, stage: StageName) -> bool:
        """Say whether it is known from the beginning that a stage of a retry has no device."""
        return self.source is not None and stage in self.source.empty


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run at work; stored as versioned JSON. `stages` are in the plan's order.

    `freezes` are those of the calendar that concern it, `freeze` the one in which it stands since `frozen_at`, and
    `frozen_ms` the run time of those that are over for it.
    `rollback` is what begins when it has ended, `rolled_back_by` the run that takes its devices back.
    """

    version: int = 1
    state: RunState = RunState.PENDING
    stages: tuple[StageRun, ...]
    clock: RunClock = RunClock()
    pause_reasons: tuple[str, ...] = ()
    epoch: int = 1
    reason: str = ""
    freezes: tuple[Freeze, ...] = ()
    freeze: Freeze | None = None
    frozen_at: int | None = None
    frozen_ms: int = 0
    rollback: RollbackOrder | None = None
    rolled_back_by: str = ""

    @property
    def is_paused(self) -> bool:
        """Say whether anything holds the run."""
        return bool(self.pause_reasons)

    @property
    def is_stopped(self) -> bool:
        """Say whether something has ended the run for good; it may still wait for devices that were called back."""
        return bool(self.reason)

    def may_send(self, at: Instant) -> bool:
        """Say whether a device may be sent work at wall time *at*: nothing pauses the run, and no freeze holds."""
        return not self.is_paused and in_force(self.freezes, at) is None

    def frozen_for(self, now: int) -> int:
        """Return how much of its run time it has stood in freezes, at run time *now*."""
        return self.frozen_ms + (0 if self.frozen_at is None else now - self.frozen_at)

    def open_for(self, stage: int, now: int) -> int:
        """Return for how long a stage has been open, less freezes, at run time *now*."""
        at_work = self.stages[stage]
        return now - (at_work.opened_at or 0) - (self.frozen_for(now) - at_work.frozen_ms)

    def tail_for(self, stage: int, now: int) -> int:
        """Return for how much of its time the tail of a stage has been waited for, less freezes, at run time *now*."""
        return self.open_for(stage, now) - self.stages[stage].tail_ms

    @property
    def is_waiting(self) -> bool:
        """Say whether every stage that is not over awaits a person or another stage that does."""
        open_states = {stage.state for stage in self.stages if not stage.state.is_verdict}
        return StageState.AWAITING_PROMOTION in open_states and open_states <= {
            StageState.AWAITING_PROMOTION,
            StageState.BLOCKED,
        }


def create(plan: Plan, *, pause_reasons: tuple[str, ...] = (), freezes: tuple[Freeze, ...] = ()) -> Run:
    """Return the run of *plan* before its start; with *pause_reasons* it begins paused, in a freeze it waits."""
    stages = tuple(StageRun() for _ in plan.pipeline.stages)
    return Run(stages=stages, pause_reasons=pause_reasons, freezes=freezes)


def thawed(run: Run, now: int) -> Run:
    """Return *run* out of the freeze in which it stood, at run time *now*."""
    return msgspec.structs.replace(run, freeze=None, frozen_at=None, frozen_ms=run.frozen_for(now))


def run_changed(run: Run, **changes: object) -> Run:
    """Return *run* with *changes*; a state changes along its table alone."""
    state = changes.get("state", run.state)
    assert state is run.state or state in RUN_TRANSITIONS[run.state], f"run: {run.state} → {state} is not in the table"
    return msgspec.structs.replace(run, **changes)


def stage_changed(run: Run, index: int, **changes: object) -> Run:
    """Return *run* with *changes* to one stage; a state changes along its table alone."""
    stage = run.stages[index]
    state = changes.get("state", stage.state)
    is_legal = state is stage.state or state in STAGE_TRANSITIONS[stage.state]
    assert is_legal, f"stage: {stage.state} → {state} is not in the table"
    changed = msgspec.structs.replace(stage, **changes)
    return msgspec.structs.replace(run, stages=(*run.stages[:index], changed, *run.stages[index + 1 :]))
