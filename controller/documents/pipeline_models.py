"""The shape of pipeline files: stages, what they leave open, and how devices are taken back."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controller.documents.fields import LongerSpan, Name, Probability, Text, percent_field, span_field
from controller.documents.gate_models import RollbackGatePart
from controller.documents.pace_models import PacePart
from controller.documents.parameter_models import (
    PARAMETERS_MAX,
    VARIABLES_MAX,
    Environment,
    InputPart,
    ParameterName,
    ParameterPart,
    Variable,
    plain_of,
    secrets_of,
)
from controller.documents.part import Part
from controller.documents.stage_models import RetryPart, StagePart, TimeoutsPart
from controller.documents.windows import TimeZone
from controller.domain import pipeline as domain
from controller.domain.parameters import Input


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
