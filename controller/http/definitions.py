"""What the API takes and answers of pipelines, jobs and previews."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator

from controller.documents import to_document
from controller.domain.pipeline import Operation, Pipeline
from controller.http.schemas import Answer, Time


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


def _operation(operation: Any) -> Any:
    """Return an operation whose secrets stand among its variables, as in files."""
    if not isinstance(operation, Operation):
        return operation
    secrets = {name: {"secret": key} for name, key in operation.secrets.items()}
    fields = {name: getattr(operation, name) for name in ("app", "version", "params")}
    return {**fields, "env": {**operation.env, **secrets}}


class OperationAnswer(Answer):
    """What a job does: install one app."""

    app: str
    version: str
    params: dict[str, str]
    env: dict[str, str | SecretAnswer]


class Job(Answer):
    """An operation bound to a pipeline; `active_run` is the id of its run that has not ended."""

    name: str
    pipeline: str
    operation: Annotated[OperationAnswer, BeforeValidator(_operation)]
    priority: int
    parameters: dict[str, str | int | bool | list[str]]
    active_run: str | None
    created_at: Time
