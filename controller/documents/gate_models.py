"""How pipeline files say when a stage or a rollback passes, and when it must stop."""

from typing import Annotated, ClassVar

from controller.documents.fields import Count, Enumerated, Limit, Percent, Span, percent_field, span_field
from controller.documents.part import Part
from controller.domain import pipeline as domain
from controller.domain.pipeline import Denominator, OnBreach


class FailuresPart(Part):
    """How many failures that the build is to blame for are too many."""

    more_than: Limit
    """The limit itself: a count of devices, or a share of those named by `of`. One more is a breach."""
    of: Annotated[Denominator, Enumerated] = Denominator.STARTED
    """What a share is a share of: all `targets`, those that were `sent` a command, those that `started`, or those that
    `finished`. Rejected, removed and cancelled devices never count."""
    min_sample: Count = domain.FailureLimit().min_sample
    """Of how many devices a share is taken at least, or of all that the stage has where those are fewer."""
    only_here: ClassVar[frozenset[str]] = frozenset({"more_than"})

    def to_domain(self) -> domain.FailureLimit:
        """Return the domain's own."""
        return self.into(domain.FailureLimit, count=self.more_than.count, percent=self.more_than.percent)


class GatePart(Part):
    """When a stage passes, and when it must stop."""

    success: Percent = percent_field(domain.Gate().success_percent)
    """The share of the devices that must have succeeded for the stage to pass."""
    straggler_after: Span | None = None
    """Pass with devices still at work or queued, once the share is reached and this long has gone by since the stage
    opened. Without it the stage waits for all of them."""
    soak: Span = span_field(domain.Gate().soak_ms)
    """How long the stage must hold after its success before it passes; failures still count."""
    failures: FailuresPart | None = None
    """The limit on failures; when left out, more than 5% of the started devices, or of 20 while fewer have started."""
    on_breach: Annotated[OnBreach, Enumerated] = domain.Gate().on_breach
    """`fail`: the stage fails. `pause`: the run is paused, for a person to decide."""
    renamed: ClassVar[dict[str, str]] = {
        "success": "success_percent",
        "straggler_after": "straggler_after_ms",
        "soak": "soak_ms",
    }

    def to_domain(self) -> domain.Gate:
        """Return the domain's own."""
        failures = self.failures.to_domain() if self.failures else domain.Gate().failures
        return self.into(domain.Gate, failures=failures)


class RollbackGatePart(GatePart):
    """When a rollback is done, and when it must stop; unlike that of a stage it pauses where it must."""

    on_breach: Annotated[OnBreach, Enumerated] = domain.Rollback().gate.on_breach
    """`pause`: the rollback is paused, for a person to decide. `fail`: it fails, and the rest keeps what it has."""
