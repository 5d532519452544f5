"""Runs, their stages, devices and timelines."""

from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
)

from controller.documents.parameter_models import (
    PARAMETERS_MAX,
    VARIABLES_MAX,
    Environment,
    Open,
    ParameterName,
    plain_of,
    secrets_of,
)
from controller.domain.parameters import Given
from controller.http.schemas.gates import Breach, Evidence, Gate
from controller.http.schemas.parts import REASON_LENGTH_MAX, Answer, Body, Reason, Time, Word


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


class Summary(Answer):
    """The numbers, `count` of them, that devices of a stage told under one name."""

    count: int
    min: float
    max: float
    avg: float


class Approval(Answer):
    """Who approved a stage, when and why."""

    by: str
    at: Time
    reason: str


class NotTaken(Answer):
    """How many devices a run does not take for one reason, most of them of the run it is over; `first` names some."""

    reason: str
    devices: int
    first: list[str]


class Check(Answer):
    """A check of a stage: the `verdict` that its answers come to, and `asked` once it is asked at all.

    The verdict is `pass`, `wait`, `fail` or `no_data`. `said` says it in words; `oks` and `failures` are in a row.
    `failed_at` is when it breached the gate last, and `evidence` what was known then. What a `dry_run` finds has no
    effect.
    """

    name: str
    kind: str
    asked: bool
    verdict: str
    said: str
    oks: int
    failures: int
    last_at: Time | None
    failed_at: Time | None
    evidence: str
    dry_run: bool


class Stage(Answer):
    """One stage of a run. `started` devices have begun, and `failures` are those that failed by the build's fault.

    `unwell` are those that succeeded, and told of harm or fell silent afterwards.
    `outputs` sums up what its devices told, by name, as far as conditions of other stages ask for it.
    `per_minute` is its present rate, and before `paced_until` that lets nobody go.
    `ramp` says where its ramp stands, if it has one, and `checks` what others say that are asked.
    `approvals_missing` are those without which it is not promoted.
    `left_out` are devices of quarantined models, and those of the run that this one is over, that it does not take.
    """

    name: str
    needs: list[str]
    trigger: str
    state: str
    reason: str
    counters: Counters
    started: int
    failures: int
    gate: Gate
    bricked: int
    unwell: int
    outputs: dict[str, Summary]
    max_in_flight: int
    per_minute: int | None
    ramp: str
    checks: list[Check] = Field(default_factory=list)
    paced_until: Time | None
    blocked: dict[str, int]
    opened_at: Time | None
    ended_at: Time | None
    approvals: list[Approval]
    approvals_missing: int
    left_out: list[NotTaken] = Field(default_factory=list)


class StandingFreeze(Answer):
    """The freeze in which a run stands."""

    name: str
    ends_at: Time
    reason: str


class Run(Answer):
    """One run: paused while `pause_reasons` is not empty, waiting when every open stage awaits a person.

    `source` is the run that this one is over, for the `purpose` of a `retry` or a `rollback`. `rolling_back` while a
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
    pause_reasons: list[str]
    frozen: StandingFreeze | None
    reason: str
    epoch: int
    salt: str
    parameters: dict[str, str | int | bool | list[str]] = Field(default_factory=dict)
    started_by: str
    created_at: Time
    ended_at: Time | None
    stages: list[Stage]
    source: str = ""
    purpose: str = ""
    rolling_back: bool = False
    rolled_back_by: str = ""


class VersionCount(Answer):
    """How many devices go to a version."""

    version: str
    devices: int


class Rollback(Answer):
    """What a rollback would do to the devices that a run has reached; more are reached until it has `ended`."""

    run: str
    ended: bool
    devices: int
    versions: list[VersionCount]
    left_out: list[NotTaken]


class Target(Answer):
    """One device in one run; `done` of `total` is the progress of the step at hand.

    `outputs` are what the release told of itself at the end of the last attempt.
    `previous` is the version that it had before, `wanted` the one it goes to where that is not the run's.
    `health` is the mark that it told after its success: `crashed`, `unwell`, `well`, or `ended` where newer work ended
    the watch early; empty where it told none.
    While `is_control` it is held back, and its attempts are watches of what it has.
    `is_silent` says that it was offline for too long after its success, and counts as failed for that.
    `measures` are the numbers that it told of what its stage compares, `is_paired` once they are.
    """

    device: str
    stage: str
    state: str
    attempt: int
    attempt_state: str
    reason: str
    detail: str
    left: str
    outputs: dict[str, int | float | str]
    waits_for: str
    blocked: str
    check_at: Time | None
    done: int
    total: int
    updated_at: Time
    previous: str
    wanted: str
    model: str
    is_control: bool
    health: str
    health_detail: str
    is_silent: bool
    measures: dict[str, float] = Field(default_factory=dict)
    is_paired: bool = False


class Event(Answer):
    """One entry of a run's timeline."""

    id: int
    at: Time
    kind: str
    data: dict[str, str | int]


class StartRun(Body):
    """Start a run of a job, at the job's version or another one; `salt` is that of a preview.

    `parameters` and `env` override those of the job and of the pipeline. A deprecated release takes `allow_deprecated`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"job": "shop-update", "version": "2.1.0"}]})

    job: Word
    version: Word | None = None
    salt: Word | None = None
    parameters: Annotated[dict[ParameterName, Open], Field(max_length=PARAMETERS_MAX)] = Field(default_factory=dict)
    env: Annotated[Environment, Field(max_length=VARIABLES_MAX)] = Field(default_factory=dict)
    allow_deprecated: bool = False

    def given(self) -> Given:
        """Return what is given for this run alone."""
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in self.parameters.items()}
        return Given(parameters=values, env=plain_of(self.env), secrets=secrets_of(self.env))


class WithReason(Body):
    """Why; it is kept in the audit log."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "support reports crashes"}]})

    reason: Reason


class RetryRun(Body):
    """Try again at another version than the run's, where one is given.

    `with_cancelled` takes the devices, too, that were cancelled by a terminate, a skip or the failure of a stage.
    """

    version: Word | None = None
    with_cancelled: bool = False


class RollBackRun(Body):
    """Why; it is kept in the audit log. With a `version` all devices go to that one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "tills crash at start"}]})

    reason: Reason
    version: Word | None = None


class SkipStage(Body):
    """The stage to pass over, and why; it is kept in the audit log."""

    stage: str
    reason: Reason


class ResumeRun(Body):
    """Resume a run; going on over a breached gate takes `override` and a reason."""

    reason: Annotated[str, Field(max_length=REASON_LENGTH_MAX)] = ""
    override: bool = False


class ReadmitModel(Body):
    """The model to let begin again, and why; it is kept in the audit log.

    An empty name stands for the models that have no test of their own.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "kiosk-3", "reason": "its power supply failed"}]}
    )

    model: Annotated[str, Field(max_length=128)]
    reason: Reason


class ApproveStage(Body):
    """Consent to the promotion of a stage; the reason, if any, is kept in the audit log."""

    reason: Annotated[str, Field(max_length=REASON_LENGTH_MAX)] = ""


class AnswerCheck(Body):
    """Say how a check went; the reason is kept in the audit log."""

    answer: Literal["ok", "failed"]
    reason: Reason


class PromoteStage(Body):
    """Open a stage that awaits a person."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"stage": "rest"}]})

    stage: Word


class Verdict(Answer):
    """What one gate says of a stage: where it stops first, and the most evidence that its test had, with its counts."""

    stop: Breach | None
    evidence: float | None
    evidence_failed: int
    evidence_exposed: int


class Replayed(Answer):
    """A stage of a run judged by its own gate and by another; `said` says in words what the other one does.

    `spared` devices began after the other gate would have stopped. Where it stops nowhere and the own one did, at most
    `exposed_more` others would have begun. `now` is what it says of the stage as it stands. A stage of a run of an
    earlier version of the controller is not `known`, nor is one that ended more than 90 days ago: only `now` says
    something of it, and the rest what came from `known_from` on.
    """

    stage: str
    said: str
    known: bool
    known_from: Time | None = None
    own: Verdict
    other: Verdict
    spared: int
    exposed_more: int
    now: str
    evidence_now: Evidence | None


class Replay(Answer):
    """A run judged again by another gate, stage by stage; `notes` say what of the gates is not judged."""

    run: str
    stages: list[Replayed]
    notes: list[str] = Field(default_factory=list)
