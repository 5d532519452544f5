"""How pipeline files say when a stage or a rollback passes, and when it must stop."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from controller.documents.checks import CheckPart
from controller.documents.faults import METRIC_TYPE, RULES_TYPE
from controller.documents.fields import (
    Count,
    Enumerated,
    HeldBack,
    Limit,
    LongerSpan,
    MetricName,
    Name,
    Percent,
    Probability,
    Ratio,
    Span,
    Tolerated,
    percent_field,
    span_field,
)
from controller.documents.part import Part
from controller.documents.units import parse_percent, render_span, shown
from controller.domain import pipeline as domain
from controller.domain.gates.checks import CHECKS_MAX
from controller.domain.pipeline import Denominator, OnBreach, OnHealth, OnModel, Worse
from protocol.units import MINUTE

HELD_BACK_MAX: Final = 50
"""The largest share of a stage that may be held back, in percent."""
SILENT_AFTER_MS_MIN: Final = 20 * MINUTE
"""The shortest silence that may count: who is well and idle says hello every 15 minutes, or dials for up to 5."""
IGNORED: Final = "ignored"
"""What a gate says for which no number of failures is too many."""


def _silent_after(span_ms: int) -> int:
    if span_ms < SILENT_AFTER_MS_MIN:
        least = render_span(SILENT_AFTER_MS_MIN)
        raise ValueError(f"expected at least {least}: a device that is well and idle may say nothing for 15m")
    return span_ms


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


class ProofPart(Part):
    """What must be evident for a stage to pass. Who is not heard of counts as failed."""

    below: Tolerated = percent_field(domain.Proof().below)
    """The share of failures that would be too many: the stage passes once it is evident that fewer fail."""
    beta: Probability = percent_field(domain.Proof().beta_percent)
    """With what probability a build may pass of which as many fail as that, however often one looks."""
    renamed: ClassVar[dict[str, str]] = {"beta": "beta_percent"}

    def to_domain(self) -> domain.Proof:
        """Return the domain's own."""
        return self.into(domain.Proof)


def _metrics_schema(schema: dict[str, Any]) -> None:
    name = MetricPart.model_json_schema()["properties"]["name"]
    schema["items"] = {"anyOf": [{key: name[key] for key in ("type", "pattern", "examples")}, schema["items"]]}


class MetricPart(Part):
    """A number that devices tell among their outputs, and that a build must not make worse."""

    name: MetricName
    """What the output is called."""
    worse: Annotated[Worse, Enumerated] = Worse.HIGHER
    """Which of two numbers speaks against the build: the `higher` one, as of a time, or the `lower` one."""
    alpha: Probability | None = None
    """How likely its comparison may be wrong. When left out, its share of the pipeline's `alpha`."""
    renamed: ClassVar[dict[str, str]] = {"alpha": "alpha_percent"}

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if not isinstance(value, str | Mapping):
            raise PydanticCustomError(METRIC_TYPE, "expected a name or rules")
        return {"name": value} if isinstance(value, str) else value

    def to_domain(self) -> domain.Metric:
        """Return the domain's own."""
        return self.into(domain.Metric)


class ControlPart(Part):
    """A share of the stage's devices is held back on what it has, and only watched, while the others are updated.

    Updated devices that crash more than those of their model that are held back stop the stage. What befalls all alike
    does not. Once the stage has passed, those that were held back are updated, too.
    """

    share: HeldBack = percent_field(domain.Control().share_percent)
    """The share that is held back at most; of two devices it is one. `control: 5%` says only that."""
    tolerated: Ratio = domain.Control().tolerated
    """How many times as often updated devices may crash: 1 is no more than those held back."""
    alpha: Probability | None = None
    """How likely the comparison of crashes may be wrong. When left out, its share of the pipeline's `alpha`."""
    metrics: Annotated[list[MetricPart], Field(max_length=domain.METRICS_MAX, json_schema_extra=_metrics_schema)] = []
    """Numbers of the devices' outputs that are compared as well, each updated device's with those of one that is held
    back: the name of each, or rules. A metric that is worse too often stops the stage."""
    renamed: ClassVar[dict[str, str]] = {"share": "share_percent", "alpha": "alpha_percent"}

    def to_domain(self) -> domain.Control:
        """Return the domain's own."""
        return self.into(domain.Control, metrics=tuple(metric.to_domain() for metric in self.metrics))


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


def _control_schema(schema: dict[str, Any]) -> None:
    share = ControlPart.model_json_schema()["properties"]["share"]
    schema["anyOf"] = [{"anyOf": share["anyOf"], "examples": share["examples"]}, *schema["anyOf"]]


class GatePart(Part):
    """When a stage passes, and when it must stop."""

    success: Percent = percent_field(domain.Gate().success_percent)
    """The share of the devices that must have succeeded for the stage to pass."""
    proof: ProofPart | None = None
    """Pass as soon as it is evident that few enough fail, whoever is still at work or queued. It stands in the place of
    `success`, and a stage in which it is not there when all devices are done has failed."""
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
    models: Annotated[OnModel, Enumerated] = domain.Gate().models
    """`quarantine`: where the stage has devices of several models, each model has a test of its own beside that of all
    together. One that fails too often is kept out of the run, and the rest goes on. They share the alpha: half of it is
    for the test of all together, half for those of the models. `ignored`: there is only the test of all together."""
    health: Annotated[OnHealth, Enumerated] = domain.Gate().health
    """`counted`: each device watches its release for as long as the soak, from its success on. One whose service
    crashes, or whose probe fails again and again, counts as failed by the build, and no longer as a success. `ignored`:
    nobody watches."""
    control: Annotated[ControlPart | None, Field(json_schema_extra=_control_schema)] = None
    """Compare updated devices with some that are held back, instead of counting each crash against the build: a share
    such as `5%`, or rules. It needs a soak, in which devices watch."""
    silent_after: Annotated[LongerSpan, AfterValidator(_silent_after)] | None = None
    """A device that is offline for so long within the soak, counted from its own success, counts as failed by the
    build. It must be at least `20m`, and no longer than the soak. Where most other devices are gone as well, the run is
    held instead: then it is the way to them, and not the build. Without it nobody's silence counts."""
    dry_run: Annotated[list[DryRunPart], Field(max_length=domain.DRY_RUNS_MAX)] = []
    """Rules on trial. They never stop anything: the run's timeline says once when each would have, and sums it up."""
    checks: Annotated[list[CheckPart], Field(max_length=CHECKS_MAX)] = []
    """What others must say before the stage passes: pages, Prometheus, or a build system."""
    renamed: ClassVar[dict[str, str]] = {
        "success": "success_percent",
        "straggler_after": "straggler_after_ms",
        "soak": "soak_ms",
        "silent_after": "silent_after_ms",
    }

    @field_validator("failures", mode="before")
    @classmethod
    def _said(cls, value: object) -> object:
        if value != IGNORED and not isinstance(value, Mapping):
            raise PydanticCustomError(RULES_TYPE, "expected rules")
        return None if value == IGNORED else value

    @field_validator("control", mode="before")
    @classmethod
    def _short_control(cls, value: object) -> object:
        if value is None or isinstance(value, Mapping):
            return value
        share = parse_percent(value)
        if not 0 < share <= HELD_BACK_MAX:
            raise ValueError(f"expected a share above 0% and at most 50%, found {shown(value)}")
        return {"share": value}

    def to_domain(self) -> domain.Gate:
        """Return the domain's own."""
        test, limit = (self.failures.sequential(), self.failures.limit()) if self.failures else (None, None)
        tried = tuple(rule.to_domain() for rule in self.dry_run)
        checks = tuple(check.to_domain() for check in self.checks)
        proof = self.proof and self.proof.to_domain()
        parts = {"dry_run": tried, "checks": checks, "proof": proof}
        control = self.control and self.control.to_domain()
        return self.into(domain.Gate, sequential=test, failures=limit, control=control, **parts)


class RollbackGatePart(GatePart):
    """When a rollback is done, and when it must stop; unlike that of a stage it pauses where it must."""

    on_breach: Annotated[OnBreach, Enumerated] = domain.Rollback().gate.on_breach
    """`pause`: the rollback is paused, for a person to decide. `fail`: it fails, and the rest keeps what it has.
    `alert`: its timeline says so, once, and it goes on."""
