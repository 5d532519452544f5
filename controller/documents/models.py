"""The shape of pipeline and job files, and how each part becomes the domain's own data.

Defaults are the domain's; a field's name differs from the domain's only where people write a unit (``10m``).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from controller.documents.fields import (
    COUNT_MAX,
    Count,
    Enumerated,
    GroupPath,
    Limit,
    LongerSpan,
    Name,
    Percent,
    Probability,
    Span,
    Text,
    Tolerated,
    Word,
    percent_field,
    span_field,
)
from controller.documents.patterns import checker_of
from controller.documents.templates import NAME as PARAMETER_NAME
from controller.documents.units import render_percent, shown
from controller.documents.windows import Begin, End, TimeZone
from controller.domain import pipeline as domain
from controller.domain.condition import LENGTH_MAX
from controller.domain.parameters import Input, Parameter, Type
from controller.domain.pipeline import Denominator, OnBreach, OnFailure, Trigger
from controller.domain.query import LENGTH_MAX as QUERY_LENGTH_MAX
from controller.domain.window import WINDOWS_MAX, Day, Window

T = TypeVar("T")

FACTOR_MAX: Final = 100
IGNORED: Final = "ignored"
"""What a gate says for which no number of failures is too many."""
DEVICES_MAX: Final = 5_000
GROUPS_MAX: Final = 256
NEEDS_MAX: Final = 32
ENUM_MAX: Final = 256
PARAMETERS_MAX: Final = 64
VARIABLES_MAX: Final = 256
PATTERN_LENGTH_MAX: Final = 200


class Part(BaseModel):
    """What all parts of a file share: unknown fields are faults, and text is never taken for a number."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )
    renamed: ClassVar[dict[str, str]] = {}
    only_here: ClassVar[frozenset[str]] = frozenset()

    def into(self, kind: type[T], **parts: object) -> T:
        """Make the domain's *kind* from the fields of this part, with *parts* in place of nested ones."""
        names = type(self).model_fields.keys() - self.only_here
        own = {self.renamed.get(name, name): getattr(self, name) for name in names}
        return kind(**{**own, **parts})


class TargetsPart(Part):
    """Which devices: those for which all of this holds; all devices where nothing is given."""

    query: Annotated[
        str,
        Field(
            max_length=QUERY_LENGTH_MAX,
            json_schema_extra={"examples": ['labels.region == "eu" && app("shop").version < "2.1"']},
        ),
    ] = ""
    """A query over labels, facts, installed versions and groups, which must hold for the device."""
    groups: Annotated[list[GroupPath], Field(max_length=GROUPS_MAX)] = []
    """Paths of groups; the device must belong to one of them, or to a group below one."""
    labels: dict[Word, Text] = {}
    """Labels that the device must have, with these values."""
    devices: Annotated[list[Name], Field(max_length=DEVICES_MAX)] = []
    """The only devices that may belong; with none listed, all may."""
    exclude: Annotated[list[Name], Field(max_length=DEVICES_MAX)] = []
    """Devices that do not belong."""
    percent: Percent = percent_field(domain.Targets().percent)
    """The share of the devices for which the rest holds. In one run the same devices stay in when it grows."""
    include_new: bool = False
    """Whether devices belong, too, for which all of this comes to hold while the stage is rolling out."""

    def to_domain(self) -> domain.Targets:
        """Return the domain's own."""
        lists = {"groups": self.groups, "devices": self.devices, "exclude": self.exclude}
        return self.into(domain.Targets, **{name: tuple(entries) for name, entries in lists.items()})


class TriggerPart(Part):
    """What opens a stage once what it needs is met: a person (`manual`), or nobody after a delay.

    With `approvals`, so many others must have approved before a person may promote it.
    """

    type: Annotated[Trigger, Enumerated] = Trigger.AUTOMATIC
    """`manual`: somebody promotes the stage. `automatic`: it opens by itself."""
    approvals: Annotated[int, Field(ge=0, le=domain.APPROVALS_MAX)] = 0
    """How many others than who wrote the revision or started the run must approve before a stage is promoted."""
    delay: Span = span_field(0)
    """How long after what it needs was met."""


class RatePart(Part):
    """A rate that grows: `start` devices a minute, times `factor` for each `every` that succeeded, `max` at most.

    Short for one that does not: the number alone.
    """

    start: Count
    """How many devices may go in the first minute, and in every other one where the rate does not grow."""
    factor: Annotated[float, Field(gt=1, le=FACTOR_MAX)] | None = None
    """By what the rate is multiplied."""
    every: Count | None = None
    """For how many devices that succeeded it is multiplied once more."""
    max: Count | None = None
    """What it never exceeds."""

    @model_validator(mode="after")
    def _is_whole(self) -> "RatePart":
        missing = [name for name in ("factor", "every", "max") if getattr(self, name) is None]
        if 0 < len(missing) < len(type(self).model_fields) - 1:
            raise ValueError(f"a rate that grows needs {', '.join(missing)}, too")
        return self

    def to_domain(self) -> int | domain.Growth:
        """Return the domain's own."""
        return self.start if self.factor is None else self.into(domain.Growth)


def _rate_schema(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "integer", "minimum": 1, "maximum": COUNT_MAX})
    schema["examples"] = [30, {"start": 10, "factor": 2, "every": 100, "max": 1000}]


class PerSitePart(Part):
    """How many devices of a stage may be at work among those that have the same value of a label."""

    label: Word
    """The label whose value names the site; a device without it belongs to none."""
    max: Count
    """How many devices of one site may be at work at once."""


class RampPart(Part):
    """Devices go in rounds, each as large as the evidence so far pays for. With no more to risk the run is held."""

    risk: Count | None = None
    """How many failures above the tolerated share are risked at most. When left out, a quarter of a percent of the
    stage's devices, but 10 at least and 50 at most."""
    delta: Probability = percent_field(domain.Ramp().delta_percent)
    """How likely it may be that more fail than that, whatever share of devices the build breaks."""
    rounds: Annotated[int, Field(ge=1, le=100)] = domain.Ramp().rounds
    """How many rounds there may be."""
    soak: Span = span_field(domain.Ramp().soak_ms)
    """How long after its last device is done a round is over."""
    renamed: ClassVar[dict[str, str]] = {"delta": "delta_percent", "soak": "soak_ms"}


class PacePart(Part):
    """How many devices may be at work at once, in all and at one site, and how many may go in a minute or a round."""

    max_in_flight: Count = domain.Pace().max_in_flight
    """How many devices of the stage may be at work at once."""
    per_minute: Annotated[RatePart | None, Field(json_schema_extra=_rate_schema)] = None
    """How many of them may go in a minute: a number, or a rate that grows with success."""
    per_site: PerSitePart | None = None
    """How many of them may be at work at once at one site."""
    ramp: RampPart | None = None
    """Let devices go in rounds that grow with the evidence; `{}` takes every default."""

    @field_validator("per_minute", mode="before")
    @classmethod
    def _short_rate(cls, value: object) -> object:
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        if not 1 <= value <= COUNT_MAX:
            raise ValueError(f"expected a number of devices from 1 to {COUNT_MAX}, found {shown(value)}")
        return {"start": value}

    def to_domain(self) -> domain.Pace:
        """Return the domain's own."""
        return self.into(
            domain.Pace,
            per_minute=None if self.per_minute is None else self.per_minute.to_domain(),
            per_site=self.per_site and self.per_site.into(domain.PerSite),
            ramp=self.ramp and self.ramp.into(domain.Ramp),
        )


class FailuresPart(Part):
    """How many failures that the build is to blame for are too many: a test of what is known, a fixed limit, or both.

    The test, `above`, stops as soon as what has failed is evidence enough that more devices fail than that.
    """

    above: Tolerated | None = None
    """The share of failures that is tolerated, 2% unless told otherwise; there is no test where only `more_than` is
    given. A build that fails no more often is stopped with the probability `alpha` at most, however often one
    looks, and however late devices report."""
    alpha: Probability | None = None
    """How likely the test may be wrong. When left out, the stage's share of the pipeline's `alpha`."""
    more_than: Limit | None = None
    """A fixed limit: a count of devices, or a share of those named by `of`. One more is a breach."""
    of: Annotated[Denominator, Enumerated] = Denominator.STARTED
    """What a fixed share is a share of: all `targets`, those that were `sent` a command, those that `started`, or those
    that `finished`. Rejected, removed and cancelled devices never count."""
    min_sample: Count = domain.FailureLimit().min_sample
    """Of how many devices a fixed share is taken at least, or of all that the stage has where those are fewer."""

    @model_validator(mode="after")
    def _is_of_a_test(self) -> "FailuresPart":
        if self.alpha is not None and self.sequential() is None:
            raise ValueError("'alpha' is of the test that 'above' asks for")
        return self

    def sequential(self) -> domain.Sequential | None:
        """Return the test, in the domain's own; there is one unless only a fixed limit is asked for."""
        if self.above is None and self.more_than is not None:
            return None
        above = domain.Sequential().above if self.above is None else self.above
        return domain.Sequential(above=above, alpha_percent=self.alpha)

    def limit(self) -> domain.FailureLimit | None:
        """Return the fixed limit, in the domain's own."""
        if self.more_than is None:
            return None
        count, percent = self.more_than.count, self.more_than.percent
        return domain.FailureLimit(count=count, percent=percent, of=self.of, min_sample=self.min_sample)


class DryRunPart(Part):
    """A rule of failures on trial: judged beside the gate, as if in its place, it tells when it would have stopped."""

    name: Name
    """What the rule is called, within its gate."""
    failures: FailuresPart = FailuresPart()
    """How many failures would be too many, as in the gate itself."""

    def to_domain(self) -> domain.DryRun:
        """Return the domain's own."""
        return domain.DryRun(name=self.name, sequential=self.failures.sequential(), failures=self.failures.limit())


def _failures_schema(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"const": IGNORED}, *(one for one in schema["anyOf"] if one.get("type") != "null")]


class GatePart(Part):
    """When a stage passes, and when it must stop."""

    success: Percent = percent_field(domain.Gate().success_percent)
    """The share of the devices that must have succeeded for the stage to pass."""
    straggler_after: Span | None = None
    """Pass with devices still at work or queued, once the share is reached and this long has gone by since the stage
    opened. Without it the stage waits for all of them."""
    soak: Span = span_field(domain.Gate().soak_ms)
    """How long the stage must hold after its success before it passes; failures still count."""
    failures: Annotated[FailuresPart | None, Field(json_schema_extra=_failures_schema)] = FailuresPart()
    """How many failures are too many; when left out, the test `{above: 2%}`. `ignored`: no number is."""
    on_breach: Annotated[OnBreach, Enumerated] = domain.Gate().on_breach
    """`fail`: the stage fails. `pause`: the run is paused, for a person to decide. `alert`: the run's timeline says so,
    once, and the run goes on."""
    dry_run: Annotated[list[DryRunPart], Field(max_length=domain.DRY_RUNS_MAX)] = []
    """Rules on trial. They never stop anything: the run's timeline says once when each would have, and sums it up."""
    renamed: ClassVar[dict[str, str]] = {
        "success": "success_percent",
        "straggler_after": "straggler_after_ms",
        "soak": "soak_ms",
    }

    @field_validator("failures", mode="before")
    @classmethod
    def _said(cls, value: object) -> object:
        if value is None:
            raise ValueError(f"expected rules such as {{above: 2%}}, or {IGNORED!r}")
        return None if value == IGNORED else value

    def to_domain(self) -> domain.Gate:
        """Return the domain's own."""
        test, limit = (self.failures.sequential(), self.failures.limit()) if self.failures else (None, None)
        tried = tuple(rule.to_domain() for rule in self.dry_run)
        return self.into(domain.Gate, sequential=test, failures=limit, dry_run=tried)


class TimeoutsPart(Part):
    """Clocks of a stage; they stand still while the run is paused, and while no controller runs."""

    accept: LongerSpan = span_field(domain.Timeouts().accept_ms)
    """How long a device may take to accept its command."""
    lease: LongerSpan = span_field(domain.Timeouts().lease_ms)
    """How long a device at work may be silent."""
    attempt: LongerSpan = span_field(domain.Timeouts().attempt_ms)
    """How long a device may be at work on one attempt, whatever it says meanwhile."""
    queued: LongerSpan | None = None
    """How long a device may wait for its turn once the stage is open. Then it is timed out."""
    stage: LongerSpan = span_field(domain.Timeouts().stage_ms)
    """How long the stage may be open. Then it passes if its success is reached, and otherwise it is timed out."""
    renamed: ClassVar[dict[str, str]] = {
        "accept": "accept_ms",
        "lease": "lease_ms",
        "attempt": "attempt_ms",
        "queued": "queued_ms",
        "stage": "stage_ms",
    }


class RetryPart(Part):
    """How many attempts a device gets, and the wait before the second; it doubles."""

    attempts: Annotated[int, Field(ge=1, le=20)] = domain.Retry().attempts_max
    """How many attempts each device gets."""
    backoff: LongerSpan = span_field(domain.Retry().backoff_ms)
    """The wait before the second attempt; each further one is twice as long, with jitter."""
    renamed: ClassVar[dict[str, str]] = {"attempts": "attempts_max", "backoff": "backoff_ms"}


class WindowPart(Part):
    """Hours in which devices may begin, on each one's own clock; from 22:00 to 04:00 goes on past midnight."""

    days: Annotated[list[Annotated[Day, Enumerated]], Field(max_length=len(Day))] = []
    """The days on which it begins, of `mon`, `tue`, `wed`, `thu`, `fri`, `sat` and `sun`; with none, all."""
    begin: Begin = Field(alias="from")
    """When it begins, as 22:00."""
    end: End = Field(alias="to")
    """When it ends, as 04:00; 24:00 is the end of the day."""

    def to_domain(self) -> Window:
        """Return the domain's own."""
        return self.into(Window, days=tuple(sorted(set(self.days), key=list(Day).index)))


class RollbackGatePart(GatePart):
    """When a rollback is done, and when it must stop; unlike that of a stage it pauses where it must."""

    on_breach: Annotated[OnBreach, Enumerated] = domain.Rollback().gate.on_breach
    """`pause`: the rollback is paused, for a person to decide. `fail`: it fails, and the rest keeps what it has.
    `alert`: its timeline says so, once, and it goes on."""


class RollbackPart(Part):
    """How the devices that a run has reached are taken back; its default pace is that of the widest stage.

    No device goes below the floor of what it has. Where the release was published without `--floor`, that is the
    counter of the release before: one that came from an older one cannot go back at all.
    """

    pace: PacePart | None = None
    """How fast devices go back; when left out, as many at work as in the widest stage."""
    gate: RollbackGatePart = RollbackGatePart()
    """When the rollback is done, and when it must stop."""
    timeouts: TimeoutsPart = TimeoutsPart()
    """Its clocks."""
    retry: RetryPart = RetryPart()
    """What happens to a device whose attempt failed for a reason that is tried again."""

    def to_domain(self) -> domain.Rollback:
        """Return the domain's own."""
        return self.into(
            domain.Rollback,
            pace=self.pace.to_domain() if self.pace else None,
            gate=self.gate.to_domain(),
            timeouts=self.timeouts.into(domain.Timeouts),
            retry=self.retry.into(domain.Retry),
        )


class StagePart(Part):
    """One step of a pipeline."""

    name: Name
    """What the stage is called, within its pipeline."""
    needs: Annotated[list[Name], Field(max_length=NEEDS_MAX)] = []
    """The stages that must have passed, been skipped, or failed with `on_failure: continue`, before this one opens."""
    targets: TargetsPart = TargetsPart()
    """Which devices belong to it."""
    trigger: TriggerPart = TriggerPart()
    """What opens it once its needs are met; the type alone may be written as one word."""
    pace: PacePart = PacePart()
    """How fast devices are released."""
    gate: GatePart = GatePart()
    """When it passes, and when it must stop."""
    timeouts: TimeoutsPart = TimeoutsPart()
    """Its clocks."""
    retry: RetryPart = RetryPart()
    """What happens to a device whose attempt failed for a reason that is tried again."""
    on_failure: Annotated[OnFailure, Enumerated] = OnFailure.STOP_RUN
    """What its failure does. `stop_run`: every stage without a verdict is cancelled and the run ends. `stop_branch`:
    only stages that need it are cancelled. `continue`: stages that need it go on. `rollback`: as `stop_run`, and then
    a run of its own takes back what was reached."""
    allow_empty: bool = False
    """Whether a stage that no device belongs to is skipped; otherwise it fails."""
    when: Annotated[str, StringConstraints(max_length=LENGTH_MAX)] = ""
    """A condition on the stages it needs; when it does not hold as the stage would open, the stage is skipped."""
    windows: Annotated[list[WindowPart], Field(max_length=WINDOWS_MAX)] = []
    """The hours in which its devices may begin; with none, always."""
    preconditions: Annotated[
        str, Field(max_length=QUERY_LENGTH_MAX, json_schema_extra={"examples": ["facts.battery >= 20"]})
    ] = ""
    """A query that must hold for a device before it may begin; one that has not told what is asked may not."""

    @field_validator("trigger", mode="before")
    @classmethod
    def _short_trigger(cls, value: object) -> object:
        return {"type": value} if isinstance(value, str) else value

    def to_domain(self) -> domain.Stage:
        """Return the domain's own."""
        return self.into(
            domain.Stage,
            needs=tuple(self.needs),
            targets=self.targets.to_domain(),
            trigger=self.trigger.type,
            approvals=self.trigger.approvals,
            delay_ms=self.trigger.delay,
            pace=self.pace.to_domain(),
            gate=self.gate.to_domain(),
            timeouts=self.timeouts.into(domain.Timeouts),
            retry=self.retry.into(domain.Retry),
            windows=tuple(window.to_domain() for window in self.windows),
        )


def _text_of(value: object) -> object:
    """Return a number that a share may be as the text that all shares are kept as."""
    return render_percent(float(value)) if isinstance(value, float) else value


def _variable(name: str) -> str:
    if "=" in name or "\0" in name:
        raise ValueError("the name of a variable has neither '=' nor a zero byte")
    return name


def _no_zero(text: str) -> str:
    if "\0" in text:
        raise ValueError("the value of a variable has no zero byte")
    return text


Open = Annotated[
    str | int | bool | list[Text],
    BeforeValidator(_text_of),
    WithJsonSchema({"type": ["string", "number", "boolean", "array"], "items": {"type": "string"}}),
]
ParameterName = Annotated[str, StringConstraints(pattern=f"^{PARAMETER_NAME}$")]
Variable = Annotated[Word, AfterValidator(_variable)]


class ParameterPart(Part):
    """What a job or a run decides: its type, what it is by default, and which values it may have."""

    type: Annotated[Type, Enumerated] = Type.STRING
    """What values it has: `string`, `int`, `percent`, `span`, `bool` or `list`."""
    default: Open | None = None
    """Its value when neither job nor run gives one; without a default one of them must."""
    enum: Annotated[list[Open], Field(max_length=ENUM_MAX)] = []
    """The only values that it may have."""
    min: Open | None = None
    """The least value, of an `int`, `percent` or `span`."""
    max: Open | None = None
    """The greatest value, of an `int`, `percent` or `span`."""
    description: Text = ""
    """What it is for, for people."""

    def to_domain(self) -> Parameter:
        """Return the domain's own."""
        given = {name: frozen(getattr(self, name)) for name in ("default", "min", "max")}
        return self.into(Parameter, enum=tuple(map(frozen, self.enum)), **given)


class InputPart(Part):
    """An environment variable that is understood; all of its value must match the pattern, a regular expression."""

    required: bool = False
    """Whether a run without it is refused."""
    pattern: Annotated[str, StringConstraints(max_length=PATTERN_LENGTH_MAX)] = ""
    """A regular expression, without look-around, that must match all of the value."""
    description: Text = ""
    """What it is for, for people."""

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        checker_of(pattern)
        return pattern


class SecretPart(Part):
    """A variable whose value is a secret, by the secret's name."""

    secret: Name
    """The name of the secret. Runs with secrets are refused for now."""


Environment = dict[Variable, Annotated[Text, AfterValidator(_no_zero)] | SecretPart]


def frozen(value: Any) -> Any:
    """Return a value as the domain keeps it: a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def plain_of(env: Mapping[str, str | SecretPart]) -> dict[str, str]:
    """Return the variables that are text."""
    return {name: value for name, value in env.items() if isinstance(value, str)}


def secrets_of(env: Mapping[str, str | SecretPart]) -> dict[str, str]:
    """Return the names of secrets by variable."""
    return {name: value.secret for name, value in env.items() if not isinstance(value, str)}


class PipelineFile(Part):
    """A pipeline: stages that need each other, each with its devices, pace and gate."""

    kind: Literal["Pipeline"] = "Pipeline"
    """Says that this is a pipeline; needed in a file."""
    name: Name
    """What it is called."""
    description: Text = ""
    """What it is for, for people."""
    timeout: LongerSpan = span_field(domain.Pipeline(name="", stages=()).timeout_ms)
    """How long a run may take before it is stopped as timed out."""
    timezone: TimeZone = ""
    """The time zone of devices that name none of their own, as Europe/Berlin; with none, UTC."""
    parameters: Annotated[dict[ParameterName, ParameterPart], Field(max_length=PARAMETERS_MAX)] = {}
    """What is left open to jobs and runs, by name; `${name}` stands for the value in the stages."""
    inputs: Annotated[dict[Variable, InputPart], Field(max_length=VARIABLES_MAX)] = {}
    """The environment variables that are understood, by name. With none listed, every variable is taken; otherwise
    others are refused."""
    env: Annotated[Environment, Field(max_length=VARIABLES_MAX)] = {}
    """Environment variables that every run gets, unless its job or the run itself says otherwise."""
    stages: Annotated[list[StagePart], Field(max_length=domain.STAGES_MAX)]
    """The stages, in any order; at least one."""
    rollback: RollbackPart = RollbackPart()
    """How a run that takes devices back goes."""
    alpha: Probability = percent_field(domain.Pipeline(name="", stages=()).alpha_percent)
    """How likely the tests of all gates of a run may, together, stop a build that they should tolerate."""
    renamed: ClassVar[dict[str, str]] = {"timeout": "timeout_ms", "alpha": "alpha_percent"}
    only_here: ClassVar[frozenset[str]] = frozenset({"kind"})

    def to_domain(self) -> domain.Pipeline:
        """Return the domain's own."""
        return self.into(
            domain.Pipeline,
            stages=tuple(stage.to_domain() for stage in self.stages),
            parameters={name: parameter.to_domain() for name, parameter in self.parameters.items()},
            inputs={name: one.into(Input) for name, one in self.inputs.items()},
            env=plain_of(self.env),
            secrets=secrets_of(self.env),
            rollback=self.rollback.to_domain(),
        )
