"""The shape of pipeline and job files, and how each part becomes the domain's own data.

Defaults are the domain's; a field's name differs from the domain's only where people write a unit (``10m``).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec
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

from controller.app import schedules
from controller.app.errors import InvalidRequest
from controller.app.schedules import CRON_LENGTH_MAX
from controller.documents.patterns import checker_of
from controller.documents.templates import NAME as PARAMETER_NAME
from controller.documents.units import parse_percent, parse_span, render_percent, render_span, shown
from controller.documents.windows import Begin, End, TimeZone
from controller.domain import pipeline as domain
from controller.domain.condition import LENGTH_MAX
from controller.domain.group import parse_path
from controller.domain.parameters import Input, Parameter, Type, Value
from controller.domain.pipeline import Denominator, OnBreach, OnFailure, Trigger
from controller.domain.query import LENGTH_MAX as QUERY_LENGTH_MAX
from controller.domain.trigger import TRIGGERS_MAX, UTC, JobTrigger, OnRelease, OnSchedule
from controller.domain.window import WINDOWS_MAX, Day, Window
from protocol.ids import parse_part

T = TypeVar("T")

COUNT_MAX: Final = 10_000_000
DEVICES_MAX: Final = 5_000
GROUPS_MAX: Final = 256
NEEDS_MAX: Final = 32
ENUM_MAX: Final = 256
REQUIRED_MAX: Final = 16
PARAMETERS_MAX: Final = 64
VARIABLES_MAX: Final = 256
PATTERN_LENGTH_MAX: Final = 200
TEXT_LENGTH_MAX: Final = 2_000
_SPAN: Final = {
    "type": "string",
    "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$",
    "examples": ["10m", "2h"],
}
_PERCENT: Final = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 100},
        {"type": "string", "pattern": "^[0-9.]+ ?%?$"},
    ],
    "examples": ["95%", 5],
}
_LIMIT: Final = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9.]+ ?%$"}],
    "examples": ["5%", 3],
}


class Share(msgspec.Struct, frozen=True):
    """How many failures are too many: a count of devices, or a percentage."""

    count: int | None = None
    percent: float | None = None


def _name(text: str) -> str:
    return parse_part(text, what="name")


def _positive(span_ms: int) -> int:
    if span_ms < 1:
        raise ValueError("expected a span longer than nothing")
    return span_ms


def _share(value: object) -> Share:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= COUNT_MAX:
            raise ValueError(f"expected a count from 0 to {COUNT_MAX}, found {shown(value)}")
        return Share(count=value)
    if not isinstance(value, str) or not value.endswith("%"):
        raise ValueError(f"expected a share such as '5%' or a count of devices such as 3, found {shown(value)}")
    percent = parse_percent(value)
    if percent > 100:  # noqa: PLR2004 - per cent
        raise ValueError(f"expected at most 100%, found {shown(value)}")
    return Share(percent=percent)


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"})]
GroupPath = Annotated[
    str,
    AfterValidator(parse_path),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9-]{0,62}(/[a-z0-9][a-z0-9-]{0,62}){0,7}$",
            "examples": ["eu/berlin"],
        }
    ),
]
Text = Annotated[str, StringConstraints(max_length=TEXT_LENGTH_MAX)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Count = Annotated[int, Field(ge=1, le=COUNT_MAX)]
Span = Annotated[int, BeforeValidator(parse_span), WithJsonSchema(_SPAN)]
LongerSpan = Annotated[int, BeforeValidator(parse_span), AfterValidator(_positive), WithJsonSchema(_SPAN)]
Percent = Annotated[float, BeforeValidator(parse_percent), Field(ge=0, le=100), WithJsonSchema(_PERCENT)]
Limit = Annotated[Share, BeforeValidator(_share), WithJsonSchema(_LIMIT)]
_Word = Field(strict=False)


def _span(span_ms: int) -> Any:
    return Field(default=span_ms, json_schema_extra={"default": render_span(span_ms)})


def _percent(percent: float) -> Any:
    return Field(default=percent, json_schema_extra={"default": render_percent(percent)})


class Part(BaseModel):
    """What all parts of a file share: unknown fields are faults, and text is never taken for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)
    renamed: ClassVar[dict[str, str]] = {}
    only_here: ClassVar[frozenset[str]] = frozenset()

    def into(self, kind: type[T], **parts: object) -> T:
        """Make the domain's *kind* from the fields of this part, with *parts* in place of nested ones."""
        names = type(self).model_fields.keys() - self.only_here
        own = {self.renamed.get(name, name): getattr(self, name) for name in names}
        return kind(**{**own, **parts})


class TargetsPart(Part):
    """Which devices: those for which all of this holds; all devices where nothing is given.

    `query` is over labels, facts and installed versions; `groups` are those of which a device must belong to one, or to
    one below it; `labels` must be equal; `devices` are the only ones that may belong, `exclude` those that do not.
    """

    query: Annotated[
        str,
        Field(
            max_length=QUERY_LENGTH_MAX,
            json_schema_extra={"examples": ['labels.region == "eu" && app("shop").version < "2.1"']},
        ),
    ] = ""
    groups: Annotated[list[GroupPath], Field(max_length=GROUPS_MAX)] = []
    labels: dict[Word, Text] = {}
    devices: Annotated[list[Name], Field(max_length=DEVICES_MAX)] = []
    exclude: Annotated[list[Name], Field(max_length=DEVICES_MAX)] = []
    percent: Percent = _percent(domain.Targets().percent)

    def to_domain(self) -> domain.Targets:
        """Return the domain's own."""
        lists = {"groups": self.groups, "devices": self.devices, "exclude": self.exclude}
        return self.into(domain.Targets, **{name: tuple(entries) for name, entries in lists.items()})


class TriggerPart(Part):
    """What opens a stage once what it needs is met: a person (`manual`), or nobody after a delay."""

    type: Annotated[Trigger, _Word] = Trigger.AUTOMATIC
    delay: Span = _span(0)


class PerSitePart(Part):
    """How many devices of a stage may be at work among those that have the same value of a label."""

    label: Word
    max: Count


class PacePart(Part):
    """How many devices may be at work at once, in all and at one site."""

    max_in_flight: Count = domain.Pace().max_in_flight
    per_site: PerSitePart | None = None

    def to_domain(self) -> domain.Pace:
        """Return the domain's own."""
        return self.into(domain.Pace, per_site=self.per_site and self.per_site.into(domain.PerSite))


class FailuresPart(Part):
    """How many failures that the build is to blame for are too many."""

    more_than: Limit
    of: Annotated[Denominator, _Word] = Denominator.STARTED
    min_sample: Count = domain.FailureLimit().min_sample
    only_here: ClassVar[frozenset[str]] = frozenset({"more_than"})

    def to_domain(self) -> domain.FailureLimit:
        """Return the domain's own."""
        return self.into(domain.FailureLimit, count=self.more_than.count, percent=self.more_than.percent)


class GatePart(Part):
    """When a stage passes, and when it must stop."""

    success: Percent = _percent(domain.Gate().success_percent)
    straggler_after: Span | None = None
    soak: Span = _span(domain.Gate().soak_ms)
    failures: FailuresPart | None = None
    on_breach: Annotated[OnBreach, _Word] = domain.Gate().on_breach
    renamed: ClassVar[dict[str, str]] = {
        "success": "success_percent",
        "straggler_after": "straggler_after_ms",
        "soak": "soak_ms",
    }

    def to_domain(self) -> domain.Gate:
        """Return the domain's own."""
        failures = self.failures.to_domain() if self.failures else domain.Gate().failures
        return self.into(domain.Gate, failures=failures)


class TimeoutsPart(Part):
    """Clocks of a stage; they stand still while the run is paused."""

    accept: LongerSpan = _span(domain.Timeouts().accept_ms)
    lease: LongerSpan = _span(domain.Timeouts().lease_ms)
    stage: LongerSpan = _span(domain.Timeouts().stage_ms)
    renamed: ClassVar[dict[str, str]] = {"accept": "accept_ms", "lease": "lease_ms", "stage": "stage_ms"}


class RetryPart(Part):
    """How many attempts a device gets, and the wait before the second; it doubles."""

    attempts: Annotated[int, Field(ge=1, le=20)] = domain.Retry().attempts_max
    backoff: LongerSpan = _span(domain.Retry().backoff_ms)
    renamed: ClassVar[dict[str, str]] = {"attempts": "attempts_max", "backoff": "backoff_ms"}


class WindowPart(Part):
    """Hours in which devices may begin, on each one's own clock; from 22:00 to 04:00 goes on past midnight."""

    days: Annotated[list[Annotated[Day, _Word]], Field(max_length=len(Day))] = []
    begin: Begin = Field(alias="from")
    end: End = Field(alias="to")

    def to_domain(self) -> Window:
        """Return the domain's own."""
        return self.into(Window, days=tuple(sorted(set(self.days), key=list(Day).index)))


class StagePart(Part):
    """One step of a pipeline."""

    name: Name
    needs: Annotated[list[Name], Field(max_length=NEEDS_MAX)] = []
    targets: TargetsPart = TargetsPart()
    trigger: TriggerPart = TriggerPart()
    pace: PacePart = PacePart()
    gate: GatePart = GatePart()
    timeouts: TimeoutsPart = TimeoutsPart()
    retry: RetryPart = RetryPart()
    on_failure: Annotated[OnFailure, _Word] = OnFailure.STOP_RUN
    allow_empty: bool = False
    when: Annotated[str, StringConstraints(max_length=LENGTH_MAX)] = ""
    windows: Annotated[list[WindowPart], Field(max_length=WINDOWS_MAX)] = []
    preconditions: Annotated[
        str, Field(max_length=QUERY_LENGTH_MAX, json_schema_extra={"examples": ["facts.battery >= 20"]})
    ] = ""

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

    type: Annotated[Type, _Word] = Type.STRING
    default: Open | None = None
    enum: Annotated[list[Open], Field(max_length=ENUM_MAX)] = []
    min: Open | None = None
    max: Open | None = None
    description: Text = ""

    def to_domain(self) -> Parameter:
        """Return the domain's own."""
        given = {name: _frozen(getattr(self, name)) for name in ("default", "min", "max")}
        return self.into(Parameter, enum=tuple(map(_frozen, self.enum)), **given)


class InputPart(Part):
    """An environment variable that is understood; all of its value must match the pattern, a regular expression."""

    required: bool = False
    pattern: Annotated[str, StringConstraints(max_length=PATTERN_LENGTH_MAX)] = ""
    description: Text = ""

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        checker_of(pattern)
        return pattern


class SecretPart(Part):
    """A variable whose value is a secret, by the secret's name."""

    secret: Name


Environment = dict[Variable, Annotated[Text, AfterValidator(_no_zero)] | SecretPart]


def _frozen(value: Any) -> Any:
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
    name: Name
    description: Text = ""
    timeout: LongerSpan = _span(domain.Pipeline(name="", stages=()).timeout_ms)
    timezone: TimeZone = ""
    parameters: Annotated[dict[ParameterName, ParameterPart], Field(max_length=PARAMETERS_MAX)] = {}
    inputs: Annotated[dict[Variable, InputPart], Field(max_length=VARIABLES_MAX)] = {}
    env: Annotated[Environment, Field(max_length=VARIABLES_MAX)] = {}
    stages: Annotated[list[StagePart], Field(max_length=domain.STAGES_MAX)]
    renamed: ClassVar[dict[str, str]] = {"timeout": "timeout_ms"}
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
        )


class OperationPart(Part):
    """What a job does: install one app at a version."""

    app: Name
    version: Word
    requires: Annotated[list[Word], Field(max_length=REQUIRED_MAX)] = []
    params: dict[Word, Text] = {}
    env: Annotated[Environment, Field(max_length=VARIABLES_MAX)] = {}

    def to_domain(self) -> domain.Operation:
        """Return the domain's own."""
        variables = {"env": plain_of(self.env), "secrets": secrets_of(self.env)}
        return self.into(domain.Operation, requires=tuple(self.requires), **variables)


class JobTriggerPart(Part):
    """What starts runs by itself: a release in a `channel`, or a schedule, `cron` on the clocks of `zone`."""

    channel: Name | None = None
    cron: Annotated[str, StringConstraints(max_length=CRON_LENGTH_MAX)] | None = None
    zone: Word | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "JobTriggerPart":
        if (self.channel is None) == (self.cron is None):
            raise ValueError("expected exactly one of 'channel' and 'cron'")
        if self.channel is not None and self.zone is not None:
            raise ValueError("expected 'zone' beside 'cron' alone")
        if self.cron is not None:
            _comes(self.to_domain())
        return self

    def to_domain(self) -> JobTrigger:
        """Return the domain's own."""
        if self.channel is not None:
            return OnRelease(channel=self.channel)
        return OnSchedule(cron=self.cron or "", zone=self.zone or UTC)


def _comes(trigger: JobTrigger) -> None:
    assert isinstance(trigger, OnSchedule)
    try:
        schedules.check(trigger)
    except InvalidRequest as error:
        raise ValueError(str(error)) from error


class JobFile(Part):
    """A job: an operation bound to a pipeline."""

    kind: Literal["Job"] = "Job"
    name: Name
    pipeline: Name
    operation: OperationPart
    priority: Annotated[int, Field(ge=-domain.PRIORITY_MAX, le=domain.PRIORITY_MAX)] = 0
    parameters: Annotated[dict[ParameterName, Open], Field(max_length=PARAMETERS_MAX)] = {}
    triggers: Annotated[list[JobTriggerPart], Field(max_length=TRIGGERS_MAX)] = []

    def given(self) -> dict[str, Value]:
        """Return the values of parameters as the domain has them."""
        return {name: _frozen(value) for name, value in self.parameters.items()}
