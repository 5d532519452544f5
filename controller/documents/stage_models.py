"""The shape of a stage in pipeline files: who, when, for how long, and how often again."""

from typing import Annotated, ClassVar, Final

from pydantic import Field, StringConstraints, field_validator

from controller.documents.fields import (
    Enumerated,
    GroupPath,
    LongerSpan,
    Name,
    Percent,
    Span,
    Text,
    Word,
    percent_field,
    span_field,
)
from controller.documents.gate_models import GatePart
from controller.documents.pace_models import PacePart
from controller.documents.part import Part
from controller.documents.windows import Begin, End
from controller.domain import pipeline as domain
from controller.domain.condition import LENGTH_MAX
from controller.domain.pipeline import OnFailure, Trigger
from controller.domain.query import LENGTH_MAX as QUERY_LENGTH_MAX
from controller.domain.window import WINDOWS_MAX, Day, Window

DEVICES_MAX: Final = 5_000
GROUPS_MAX: Final = 256
NEEDS_MAX: Final = 32


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
