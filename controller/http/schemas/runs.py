"""Runs, their stages, devices and timelines."""

from typing import Annotated

from pydantic import (
    ConfigDict,
    Field,
)

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
    blocked: dict[str, int]
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
    parameters: dict[str, str | int | bool | list[str]] = Field(default_factory=dict)
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
    blocked: str
    check_at: Time | None
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
    parameters: Annotated[dict[ParameterName, Open], Field(max_length=PARAMETERS_MAX)] = Field(default_factory=dict)
    env: Annotated[Environment, Field(max_length=VARIABLES_MAX)] = Field(default_factory=dict)

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
