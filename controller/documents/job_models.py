"""The shape of job files: an operation bound to a pipeline, and what starts its runs."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from controller.app import schedules
from controller.app.errors import InvalidRequest
from controller.app.schedules import CRON_LENGTH_MAX
from controller.documents.fields import Name, Text, Word
from controller.documents.parameter_models import (
    PARAMETERS_MAX,
    VARIABLES_MAX,
    Environment,
    Open,
    ParameterName,
    frozen,
    plain_of,
    secrets_of,
)
from controller.documents.part import Part
from controller.domain import pipeline as domain
from controller.domain.parameters import Value
from controller.domain.trigger import TRIGGERS_MAX, UTC, JobTrigger, OnRelease, OnSchedule

REQUIRED_MAX: Final = 16


class OperationPart(Part):
    """What a job does: install one app at a version."""

    app: Name
    """The app to install."""
    version: Word
    """Its version; a run may be started with another."""
    requires: Annotated[list[Word], Field(max_length=REQUIRED_MAX)] = []
    """What an agent must be able to do, by the names of capabilities; a device whose agent cannot is not begun."""
    params: dict[Word, Text] = {}
    """Parameters for the installer."""
    env: Annotated[Environment, Field(max_length=VARIABLES_MAX)] = {}
    """Environment variables, laid over those of the pipeline."""

    def to_domain(self) -> domain.Operation:
        """Return the domain's own."""
        variables = {"env": plain_of(self.env), "secrets": secrets_of(self.env)}
        return self.into(domain.Operation, requires=tuple(self.requires), **variables)


class JobTriggerPart(Part):
    """What starts runs by itself: a release in a `channel`, or a schedule, `cron` on the clocks of `zone`."""

    channel: Name | None = None
    """Start when a release of the app comes into this channel."""
    cron: Annotated[str, StringConstraints(max_length=CRON_LENGTH_MAX)] | None = None
    """Start by this schedule: minute, hour, day of the month, month, day of the week."""
    zone: Word | None = None
    """The time zone of `cron`, such as `Europe/Berlin`; UTC when left out."""

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
    """Says that this is a job; needed in a file."""
    name: Name
    """What it is called."""
    pipeline: Name
    """The pipeline that its runs go through."""
    operation: OperationPart
    """What is done."""
    priority: Annotated[int, Field(ge=-domain.PRIORITY_MAX, le=domain.PRIORITY_MAX)] = 0
    """Where several runs wait for one device, the one with the highest number gets it first."""
    parameters: Annotated[dict[ParameterName, Open], Field(max_length=PARAMETERS_MAX)] = {}
    """Values for what the pipeline leaves open, by name."""
    triggers: Annotated[list[JobTriggerPart], Field(max_length=TRIGGERS_MAX)] = []
    """What starts runs without a person."""

    def given(self) -> dict[str, Value]:
        """Return the values of parameters as the domain has them."""
        return {name: frozen(value) for name, value in self.parameters.items()}
