"""How pipeline files say how fast devices go: at once, in a minute, at one site, in a round."""

from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, field_validator, model_validator

from controller.documents.fields import COUNT_MAX, Count, Probability, Span, Word, percent_field, span_field
from controller.documents.part import Part
from controller.documents.units import shown
from controller.domain import pipeline as domain

FACTOR_MAX: Final = 100


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
