"""What the API takes and answers of pipelines, jobs and previews."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from controller.documents import JobTriggerPart, to_document, trigger_document
from controller.domain.parameters import Given
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.trigger import TRIGGERS_MAX, OnRelease, OnSchedule, StartRequest
from controller.http.schemas import Answer, Body, Time


def _document(definition: Any) -> Any:
    return to_document(definition) if isinstance(definition, Pipeline) else definition


class PipelineAnswer(Answer):
    """One revision of a pipeline; `definition` has the shape of a pipeline file."""

    name: str
    revision: int
    definition: Annotated[dict[str, Any], BeforeValidator(_document)]
    author: str
    created_at: Time


class Revision(Answer):
    """One revision of a pipeline; `change` says in one line what it changed. The newest may be archived."""

    revision: int
    change: str
    author: str
    created_at: Time
    archived_at: Time | None


class Change(Answer):
    """One field that has another value; null stands for its default."""

    place: str
    old: Any
    new: Any


class Edge(Answer):
    """One stage that needs another."""

    stage: str
    needs: str


class Difference(Answer):
    """What is different between two revisions of a pipeline: in one line, as text, and as data."""

    summary: str
    text: str
    stages_added: list[str]
    stages_removed: list[str]
    edges_added: list[Edge]
    edges_removed: list[Edge]
    changed: list[Change]
    is_reordered: bool


class LeftOut(Answer):
    """How many devices a stage would not get, and why; `stage` is the earlier one that gets them, if that is it."""

    reason: str
    stage: str
    devices: int


class PreviewStage(Answer):
    """What one stage would get, the first devices to be released, and how many it would not get for which reason."""

    name: str
    needs: list[str]
    devices: int
    first: list[str]
    left_out: list[LeftOut]
    control: int


class Preview(Answer):
    """What a run would do: of all `devices`, `placed` get into a stage; compared with the stages of `last_run`."""

    job: str | None
    pipeline: str
    revision: int | None
    salt: str
    devices: int
    placed: int
    stages: list[PreviewStage]
    last_run: str | None
    new: int
    gone: int
    moved: int
    no_way_back_to: list[str] = Field(default_factory=list)


class PreviewDevice(Answer):
    """One device: the stage it would get into and the one it was in `before`, empty where there is none.

    `reason` is why the stage that was asked about would not get it, `in_stage` the earlier one that would.
    """

    device: str
    stage: str
    reason: str
    in_stage: str
    before: str


class SecretAnswer(BaseModel):
    """A variable whose value is a secret, by the secret's name."""

    secret: str


Values = dict[str, str | int | bool | list[str]]
Variables = dict[str, str | SecretAnswer]


def _variables(given: Operation | Given) -> dict[str, Any]:
    """Return variables with the secrets among them, as in files."""
    return {**given.env, **{name: {"secret": key} for name, key in given.secrets.items()}}


def _operation(operation: Any) -> Any:
    if not isinstance(operation, Operation):
        return operation
    fields = {name: getattr(operation, name) for name in ("app", "version", "params")}
    return {**fields, "env": _variables(operation)}


def _trigger(trigger: Any) -> Any:
    return trigger_document(trigger) if isinstance(trigger, OnRelease | OnSchedule) else trigger


def _waiting(request: Any) -> Any:
    if not isinstance(request, StartRequest):
        return request
    fields = {name: getattr(request, name) for name in ("by", "at", "version", "reason")}
    return {**fields, "parameters": request.given.parameters, "env": _variables(request.given)}


class OperationAnswer(Answer):
    """What a job does: install one app."""

    app: str
    version: str
    params: dict[str, str]
    env: Variables


class Waiting(Answer):
    """What begins when the active run has ended, and who or what asked for it."""

    by: str
    at: Time
    version: str | None
    parameters: Values
    env: Variables
    reason: str


class Job(Answer):
    """An operation bound to a pipeline; `active_run` is the id of its run that has not ended.

    `triggers` have the shape of a job file; `next_at` is when the first schedule comes, `waiting` what begins when the
    active run has ended.
    """

    name: str
    pipeline: str
    operation: Annotated[OperationAnswer, BeforeValidator(_operation)]
    priority: int
    parameters: Values
    active_run: str | None
    created_at: Time
    triggers: list[Annotated[dict[str, str], BeforeValidator(_trigger)]]
    next_at: Time | None
    waiting: Annotated[Waiting | None, BeforeValidator(_waiting)]
    has_hook: bool


class Triggers(Body):
    """All triggers of a job; those that are not named are removed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"triggers": [{"cron": "0 2 * * MON-FRI", "zone": "Europe/Berlin"}]}]}
    )

    triggers: Annotated[list[JobTriggerPart], Field(max_length=TRIGGERS_MAX)]


class HookAnswer(Answer):
    """What a delivery led to: the run, or null while it waits for the end of the active one."""

    run: str | None
    waits: bool
