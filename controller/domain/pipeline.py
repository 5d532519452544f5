"""Definitions: what an operator writes, immutable once a run has taken its snapshot.

All spans are in milliseconds. A definition that reaches this module has been parsed by `controller.documents`;
what it means as a whole is judged by `controller.domain.validation`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from controller.domain import condition as conditions
from controller.domain.gates.checks import Check
from controller.domain.parameters import Input, Parameter, Value
from controller.domain.window import Window
from protocol.ids import AppName, DeviceId, StageName
from protocol.outputs import OutputName
from protocol.units import DAY, HOUR, MINUTE, SECOND, Millis

STAGES_MAX: Final = 256
APPROVALS_MAX: Final = 16
"""The most people whose approval one stage may ask for."""
PRIORITY_MAX: Final = 1_000
"""The highest priority of a job; the lowest is as far below 0."""
NAMES_SHOWN_MAX: Final = 12
DRY_RUNS_MAX: Final = 8
"""The most rules that one gate may have on trial."""
METRICS_MAX: Final = 8
"""The most metrics that one control group compares."""
METRICS_SOAK_MS_MIN: Final = 10 * SECOND
"""The shortest soak in which metrics are compared."""
METRICS_EVERY_MS_MIN: Final = 5 * SECOND
"""No device is asked for its numbers more often than that."""
Percent = Annotated[float, Meta(ge=0, le=100)]
Alpha = Annotated[float, Meta(ge=0.0001, le=50)]
"""A probability of being wrong, in percent."""
Positive = Annotated[int, Meta(ge=1)]


class Trigger(StrEnum):
    """What opens a stage once what it needs is met."""

    MANUAL = "manual"
    AUTOMATIC = "automatic"


class OnBreach(StrEnum):
    """What a breached gate does: it holds the run, fails the stage, or only says so, once."""

    PAUSE = "pause"
    FAIL = "fail"
    ALERT = "alert"


class OnModel(StrEnum):
    """What it means that devices of one model fail too often: the model is kept out of the run, or nothing."""

    QUARANTINE = "quarantine"
    IGNORED = "ignored"


class OnFailure(StrEnum):
    """What a failed verdict means for the rest of the run."""

    STOP_RUN = "stop_run"
    STOP_BRANCH = "stop_branch"
    CONTINUE = "continue"
    ROLLBACK = "rollback"


class Denominator(StrEnum):
    """What a share is a share of; rejected, removed and cancelled devices never count."""

    TARGETS = "targets"
    SENT = "sent"
    STARTED = "started"
    FINISHED = "finished"


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """Who: devices for which all of this holds; with nothing given, every device.

    Its labels equal all of `labels`; it belongs to one of `groups` or to a group below one; `query` holds
    (`controller.domain.query`); it is one of the listed `devices`; it is none of `exclude`. `percent` keeps a sticky
    share of these: the same salt and device always fall on the same side, so 5 → 25 → 100 extend each other. With
    `include_new` the stage also takes devices for which it comes to hold while it is rolling out.
    """

    query: str = ""
    groups: tuple[str, ...] = ()
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    devices: tuple[DeviceId, ...] = ()
    exclude: tuple[DeviceId, ...] = ()
    percent: Percent = 100.0
    include_new: bool = False


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """A rate that grows: `start` devices a minute, times `factor` for each `every` that succeeded, `max` at most."""

    start: Positive
    factor: Annotated[float, Meta(gt=1)]
    every: Positive
    max: Positive


class PerSite(msgspec.Struct, frozen=True, kw_only=True):
    """At most `max` devices of the stage at work among those that have one value of a label; without it none counts."""

    label: str
    max: Positive


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """Devices go in rounds, each as large as what is known by then pays for (`controller.domain.gates.ramp`).

    The promise: with a probability of at least 1 - `delta_percent`, failures never exceed `risk` and the share that the
    gate's sequential test tolerates of the devices that have begun. Without a `risk` it follows from the stage's size.
    A round is over once all its devices are done and `soak_ms` have gone by since.
    """

    risk: Positive | None = None
    delta_percent: Alpha = 1.0
    rounds: Annotated[int, Meta(ge=1, le=100)] = 15
    soak_ms: Annotated[int, Meta(ge=0)] = 0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices may be at work at once, in all and at one site, and how many may go in a minute or in a round.

    See `controller.domain.pace` for the rate.
    """

    max_in_flight: Positive = 50
    per_minute: Positive | Growth | None = None
    per_site: PerSite | None = None
    ramp: Ramp | None = None


class Sequential(msgspec.Struct, frozen=True, kw_only=True):
    """A stage breaches on evidence that more than `above` percent of the devices that begin fail by the build's fault.

    A build that fails on no more is stopped with a probability of `alpha_percent` at most, however often one looks, and
    whatever the delay of reports (`controller.domain.gates.odds`). Without an alpha it has its share of the pipeline's.
    """

    above: Annotated[float, Meta(ge=0.01, le=50)] = 2.0
    alpha_percent: Alpha | None = None


class FailureLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A stage breaches when build-blamed failures exceed `more_than` and at least `min_sample` devices count.

    Exactly one of `count` (devices) and `percent` (of the denominator `of`) is set.
    """

    count: Annotated[int, Meta(ge=0)] | None = None
    percent: Percent | None = None
    of: Denominator = Denominator.STARTED
    min_sample: Positive = 1


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A stage passes on evidence that fewer than `below` percent of the devices that begin do not end well.

    Of builds of which as many as that fail, it lets pass no more than `beta_percent`, however often one looks and
    however late devices report: who is not heard of counts as failed (`controller.domain.gates.mirror`).
    """

    below: Annotated[float, Meta(ge=0.01, le=50)] = 5.0
    beta_percent: Alpha = 1.0


class Worse(StrEnum):
    """Which of two numbers speaks against a build."""

    HIGHER = "higher"
    LOWER = "lower"


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A number that devices tell among their outputs, and that a build must not make worse.

    Where it does not, its comparison stops the stage with a probability of `alpha_percent` at most, whatever the
    numbers are distributed like (`controller.domain.gates.sign`). Without an alpha it has its share of the pipeline's.
    """

    name: OutputName
    worse: Worse = Worse.HIGHER
    alpha_percent: Alpha | None = None


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the stage's devices is held back and only watched, at the same time as those that are updated.

    The stage breaches on evidence that updated devices crash more than `tolerated` times as often as those of the same
    model that are held back. Where they do not, it is stopped with a probability of `alpha_percent` at most, whatever
    befalls all devices alike (`controller.domain.gates.logrank`). Without an alpha it has its share of the pipeline's.
    It breaches on evidence, too, that one of the `metrics` is worse on updated devices.
    """

    share_percent: Annotated[float, Meta(gt=0, le=50)] = 5.0
    tolerated: Annotated[float, Meta(ge=1, le=100)] = 1.0
    alpha_percent: Alpha | None = None
    metrics: tuple[Metric, ...] = ()


class OnHealth(StrEnum):
    """What a gate makes of the health of devices after their success."""

    COUNTED = "counted"
    IGNORED = "ignored"


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of failures on trial, which is judged beside the gate and never acts; see `controller.domain.dry_runs`."""

    name: str
    sequential: Sequential | None = Sequential()
    failures: FailureLimit | None = None


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """When a stage passes, and when it must stop.

    The success condition holds once at least `success_percent` of its targets succeeded and none is left at work or
    queued, or, with `straggler_after_ms`, once that share is reached and that long has passed since the stage opened.
    With a `proof` it holds as soon as that is there, instead, whoever is still at work or queued. Then the stage soaks
    for `soak_ms`, in which failures still count. It must stop as soon as its `sequential` test or its limit of
    `failures` is breached, or one of its `checks` fails, whichever is first. It passes only when all checks do. Each
    device watches its release for as long as the soak, from its success on; one that crashes or is unwell counts as
    failed, unless `health` is ignored. With a `control` group it counts as nothing of that, and is compared. With
    `silent_after_ms` one counts as failed, too, that is offline for that long within its soak
    (`controller.domain.target.silence`). Where devices of several models belong to it, each model has a test of its
    own, too, unless `models` are ignored (`controller.domain.quarantine`). The rules of `dry_run` only tell when they
    would have stopped it.
    """

    success_percent: Percent = 90.0
    proof: Proof | None = None
    straggler_after_ms: Annotated[int, Meta(ge=0)] | None = None
    soak_ms: Annotated[int, Meta(ge=0)] = 0
    sequential: Sequential | None = Sequential()
    failures: FailureLimit | None = None
    on_breach: OnBreach = OnBreach.FAIL
    checks: tuple[Check, ...] = ()
    models: OnModel = OnModel.QUARANTINE
    health: OnHealth = OnHealth.COUNTED
    control: Control | None = None
    silent_after_ms: Positive | None = None
    dry_run: tuple[DryRun, ...] = ()

    @property
    def watch_ms(self) -> Millis:
        """How long a device watches its release after its success."""
        return Millis(self.soak_ms if self.health is OnHealth.COUNTED else 0)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The numbers that are compared with those of devices that are held back."""
        return () if self.control is None else self.control.metrics

    @property
    def measure_ms(self) -> Millis:
        """How long after its success a device first tells what is compared: late in its soak, and once within it."""
        return Millis(self.watch_ms * 9 // 10 if self.metrics else 0)

    @property
    def remeasure_ms(self) -> Millis:
        """How long after its success, and then again, one tells that is held back: there is always something new."""
        return Millis(min(self.measure_ms, max(self.measure_ms // 6, METRICS_EVERY_MS_MIN)))


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks of a stage, in run time, which stands still while the run is paused.

    A device is given `accept_ms` to accept its command, and `lease_ms` from each sign of life on; `attempt_ms` after it
    accepted no sign of life helps any more. Devices that still wait `queued_ms` after the stage opened go without.
    """

    accept_ms: Positive = Millis(10 * MINUTE)
    lease_ms: Positive = Millis(HOUR)
    attempt_ms: Positive = Millis(DAY)
    queued_ms: Positive | None = None
    stage_ms: Positive = Millis(7 * DAY)


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How many attempts one device gets, and the wait before the second; it doubles, with jitter."""

    attempts_max: Annotated[int, Meta(ge=1, le=20)] = 3
    backoff_ms: Positive = Millis(30 * SECOND)


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """How the devices that a run has reached are taken back: all of them in one stage.

    Without a `pace` as many are at work at once as in the widest stage.
    """

    pace: Pace | None = None
    gate: Gate = Gate(on_breach=OnBreach.PAUSE)
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a pipeline. A manual one is promoted once `approvals` people have approved it."""

    name: StageName
    needs: tuple[StageName, ...] = ()
    targets: Targets = Targets()
    trigger: Trigger = Trigger.AUTOMATIC
    approvals: Annotated[int, Meta(ge=0, le=APPROVALS_MAX)] = 0
    delay_ms: Annotated[int, Meta(ge=0)] = 0
    pace: Pace = Pace()
    gate: Gate = Gate()
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    on_failure: OnFailure = OnFailure.STOP_RUN
    allow_empty: bool = False
    when: str = ""
    """The condition under which the stage opens, else it is skipped; see `controller.domain.condition`."""
    windows: tuple[Window, ...] = ()
    """The hours in which its devices may begin, on each one's own clock; at any time where there are none."""
    preconditions: str = ""
    """A query that must hold of a device when it begins; what it has not reported does not hold."""


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of stages; every edit makes a new revision of it.

    With `parameters`, `template` has the stages as they are written, in which ``${name}`` stands for a value; `stages`
    are those with the defaults, or with some value where there is none. `env` and `secrets` are the variables that
    all jobs get, a secret by its name. `timezone` is whose clocks windows go by where a device names none; UTC without.
    `alpha_percent` is how likely all sequential tests of a run together may stop a build that they should tolerate.
    """

    name: str
    stages: tuple[Stage, ...]
    timeout_ms: Positive = Millis(30 * DAY)
    timezone: str = ""
    description: str = ""
    parameters: Mapping[str, Parameter] = msgspec.field(default_factory=dict)
    template: tuple[Any, ...] = ()
    inputs: Mapping[str, Input] = msgspec.field(default_factory=dict)
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)
    rollback: Rollback = Rollback()
    alpha_percent: Alpha = 1.0


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What a job does: install one app. The version may be changed at the start of a run.

    `secrets` are variables whose values are secrets, by the secrets' names. `requires` is what agents must be able to
    do, as they list it in their hellos.
    """

    app: AppName
    version: str
    requires: tuple[str, ...] = ()
    params: Mapping[str, str] = msgspec.field(default_factory=dict)
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A definition in which nothing is left open, the values that made it, and the whole environment."""

    pipeline: Pipeline
    parameters: Mapping[str, Value]
    env: Mapping[str, str]


def outputs_asked(pipeline: Pipeline, stage: StageName) -> frozenset[str]:
    """Return the names of the outputs of *stage* that conditions of other stages ask for."""
    asked = [conditions.outputs_of(conditions.parse(other.when)) for other in pipeline.stages if other.when]
    return frozenset(name for outputs in asked for of, name in outputs if of == stage)
