"""How pipeline files say when a stage or a rollback passes, and when it must stop."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from controller.documents.checks import CheckPart
from controller.documents.faults import RULES_TYPE
from controller.documents.fields import (
    Count,
    Enumerated,
    Limit,
    Name,
    Percent,
    Probability,
    Span,
    Tolerated,
    percent_field,
    span_field,
)
from controller.documents.part import Part
from controller.domain import pipeline as domain
from controller.domain.gates.checks import CHECKS_MAX
from controller.domain.pipeline import Denominator, OnBreach, OnModel

IGNORED: Final = "ignored"
"""What a gate says for which no number of failures is too many."""


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
    models: Annotated[OnModel, Enumerated] = domain.Gate().models
    """`quarantine`: where the stage has devices of several models, each model has a test of its own beside that of all
    together. One that fails too often is kept out of the run, and the rest goes on. They share the alpha: half of it is
    for the test of all together, half for those of the models. `ignored`: there is only the test of all together."""
    dry_run: Annotated[list[DryRunPart], Field(max_length=domain.DRY_RUNS_MAX)] = []
    """Rules on trial. They never stop anything: the run's timeline says once when each would have, and sums it up."""
    checks: Annotated[list[CheckPart], Field(max_length=CHECKS_MAX)] = []
    """What others must say before the stage passes: pages, Prometheus, or a build system."""
    renamed: ClassVar[dict[str, str]] = {
        "success": "success_percent",
        "straggler_after": "straggler_after_ms",
        "soak": "soak_ms",
    }

    @field_validator("failures", mode="before")
    @classmethod
    def _said(cls, value: object) -> object:
        if value != IGNORED and not isinstance(value, Mapping):
            raise PydanticCustomError(RULES_TYPE, "expected rules")
        return None if value == IGNORED else value

    def to_domain(self) -> domain.Gate:
        """Return the domain's own."""
        test, limit = (self.failures.sequential(), self.failures.limit()) if self.failures else (None, None)
        tried = tuple(rule.to_domain() for rule in self.dry_run)
        checks = tuple(check.to_domain() for check in self.checks)
        return self.into(domain.Gate, sequential=test, failures=limit, dry_run=tried, checks=checks)


class RollbackGatePart(GatePart):
    """When a rollback is done, and when it must stop; unlike that of a stage it pauses where it must."""

    on_breach: Annotated[OnBreach, Enumerated] = domain.Rollback().gate.on_breach
    """`pause`: the rollback is paused, for a person to decide. `fail`: it fails, and the rest keeps what it has.
    `alert`: its timeline says so, once, and it goes on."""
