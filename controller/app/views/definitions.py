"""Pipelines, jobs and previews."""

from collections.abc import Mapping

from controller.app.views.parts import View
from controller.domain.parameters import Value
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.trigger import JobTrigger, StartRequest
from protocol.units import Instant


class PipelineView(View, frozen=True, kw_only=True):
    """One revision of a pipeline."""

    name: str
    revision: int
    definition: Pipeline
    author: str
    created_at: Instant


class RevisionView(View, frozen=True, kw_only=True):
    """One revision of a pipeline with the one before it, so that it can be said what was changed."""

    revision: int
    definition: Pipeline
    previous: Pipeline | None
    author: str
    created_at: Instant
    archived_at: Instant | None


class LeftOutView(View, frozen=True, kw_only=True):
    """How many devices a stage would not get for one reason; `stage` is the earlier one that gets them, if any."""

    reason: str
    stage: str
    devices: int


class PreviewStage(View, frozen=True, kw_only=True):
    """What one stage would get: how many devices, the first ones to be released, and why not the others.

    Of its devices, `control` would be held back until the stage has passed.
    """

    name: str
    needs: tuple[str, ...]
    devices: int
    first: tuple[str, ...]
    left_out: tuple[LeftOutView, ...]
    control: int = 0


class PreviewView(View, frozen=True, kw_only=True):
    """What a run would do. Of all `devices`, `placed` would get into a stage.

    `new`, `gone` and `moved` compare with the stages that `last_run` has opened. `no_way_back_to` are the published
    versions that the floor of the job's release forbids to devices that install it.
    """

    job: str | None
    pipeline: str
    revision: int | None
    salt: str
    devices: int
    placed: int
    stages: tuple[PreviewStage, ...]
    last_run: str | None
    new: int
    gone: int
    moved: int
    no_way_back_to: tuple[str, ...] = ()


class PreviewDevice(View, frozen=True, kw_only=True):
    """One device of a preview: the stage it would get into, the one it was in `before`; each empty where there is none.

    `reason` is why the stage that was asked about would not get it, `in_stage` the earlier one that would.
    """

    device: str
    stage: str
    reason: str
    in_stage: str
    before: str


class JobView(View, frozen=True, kw_only=True):
    """A job: an operation bound to a pipeline; `active_run` is the id of its run that has not ended.

    `next_at` is when the first of its schedules comes, `waiting` what begins when the active run has ended.
    """

    name: str
    pipeline: str
    operation: Operation
    priority: int
    active_run: str | None
    parameters: Mapping[str, Value] = {}
    created_at: Instant
    triggers: tuple[JobTrigger, ...] = ()
    next_at: Instant | None = None
    waiting: StartRequest | None = None
    has_hook: bool = False


class DeliveryView(View, frozen=True, kw_only=True):
    """What a delivery to a hook led to: a run, or one that begins when the active one has ended."""

    run: str | None
    waits: bool
