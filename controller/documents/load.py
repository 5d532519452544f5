"""Files of pipelines and jobs to the domain's own data, or every fault in them at once."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError

from controller.app.errors import InvalidDefinition
from controller.documents import drafts, faults, skeleton, source, templates
from controller.documents.job_models import JobFile
from controller.documents.pipeline_models import PipelineFile
from controller.documents.source import BYTES_MAX, FAULTS_MAX, Value
from controller.domain.hints import did_you_mean
from controller.domain.parameters import Value as ParameterValue
from controller.domain.pipeline import Operation, Pipeline
from controller.domain.trigger import JobTrigger
from controller.domain.validation import Fault, validate
from controller.domain.wording import counted

__all__ = ["BYTES_MAX", "Definition", "Job", "Kind", "load", "load_one"]


class Kind(StrEnum):
    """What a document defines."""

    PIPELINE = "Pipeline"
    JOB = "Job"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as written: an operation bound to a pipeline."""

    name: str
    pipeline: str
    operation: Operation
    priority: int = 0
    parameters: Mapping[str, ParameterValue] = msgspec.field(default_factory=dict)
    triggers: tuple[JobTrigger, ...] = ()


Definition = Pipeline | Job
F = TypeVar("F", PipelineFile, JobFile)


def load(raw: bytes | str) -> tuple[Definition, ...]:
    """Read all documents of a YAML or JSON file, in order.

    Raises:
        InvalidDefinition: when anything is wrong; `faults` lists all of it, the place of each prefixed with
            ``documents[1]`` where the file has several, each message with its line and column (``12:5: …``).
    """
    roots = source.read(raw)
    if not roots:
        raise InvalidDefinition("the file is empty", [Fault(place="", message="1:1: expected a document")])
    loaded = [_load(root, None) for root in roots]
    return _all_or_faults(loaded)


def load_one(raw: bytes | str, kind: Kind, *, name: str | None = None) -> Definition:
    """Read the only document of a file; the field ``kind`` may be left out, and ``name`` where one is given.

    Raises:
        InvalidDefinition: when there is not exactly one, its kind or *name* is another, or it has faults.
    """
    roots = source.read(raw)
    if len(roots) != 1:
        fault = Fault(place="", message=f"1:1: {len(roots)} documents: expected one {kind}")
        raise InvalidDefinition(f"expected one {kind}", [fault])
    if name is not None and isinstance(roots[0].data, dict):
        roots[0].data.setdefault("name", name)
    [definition] = _all_or_faults([_load(roots[0], kind)])
    if name is not None and definition.name != name:
        fault = faults.fault_at(roots[0], ("name",), f"expected {name!r}, the name in the address")
        raise InvalidDefinition(f"expected the {kind} {name!r}", [fault])
    return definition


Loaded = tuple[Definition | None, Sequence[Fault]]


def _all_or_faults(loaded: Sequence[Loaded]) -> tuple[Definition, ...]:
    prefixes = [f"documents[{index}]" if len(loaded) > 1 else "" for index in range(len(loaded))]
    found = [_prefixed(fault, prefix) for prefix, (_, own) in zip(prefixes, loaded, strict=True) for fault in own]
    if found:
        count = counted(len(found), "fault")
        if len(found) > FAULTS_MAX:
            count = f"more than {FAULTS_MAX} faults; these are the first"
        raise InvalidDefinition(f"the definition has {count}", found[:FAULTS_MAX])
    return tuple(definition for definition, _ in loaded if definition is not None)


def _prefixed(fault: Fault, prefix: str) -> Fault:
    return Fault(place=".".join(filter(None, (prefix, fault.place))), message=fault.message)


def _load(root: Value, expected: Kind | None) -> Loaded:
    if not isinstance(root.data, dict):
        return None, [faults.fault_at(root, (), "expected a mapping with the field 'kind'")]
    if expected is not None:
        root.data.setdefault("kind", expected.value)
    word = root.data.get("kind")
    kinds = [expected] if expected else list(Kind)
    kind = next((kind for kind in kinds if kind == word), None)
    if kind is None:
        return None, [_unknown_kind(root, word, kinds)]
    return _parse(root, root.data, kind)


def _unknown_kind(root: Value, word: object, kinds: Sequence[Kind]) -> Fault:
    expected = " or ".join(f"'{kind}'" for kind in kinds)
    if word is None:
        return faults.fault_at(root, ("kind",), f"the field 'kind' is missing: expected {expected}")
    hint = did_you_mean(str(word).capitalize(), kinds)
    return faults.fault_at(root, ("kind",), f"unknown kind {str(word)[:40]!r}; {hint}")


def _parse(root: Value, data: dict[str, Any], kind: Kind) -> Loaded:
    if kind is Kind.JOB:
        parsed, found = _validated(root, data, JobFile)
        return (None if parsed is None else _job(parsed)), _sorted(found)
    return _pipeline(root, data)


def _pipeline(root: Value, data: dict[str, Any]) -> Loaded:
    """Check a pipeline with its defaults, or stand-ins, in place of its parameters."""
    declared = drafts.declared(data)
    expanded = templates.expand(data.get("stages", []), declared.values)
    known = [faults.fault_at(root, path, message) for path, message in (*declared.faults, *expanded.faults)]
    whole = {**data, "stages": expanded.stages} if "stages" in data else data
    parsed, found = _validated(root, whole, PipelineFile)
    _add_new(known, found)
    _add_new(known, [_unused(root, name) for name in sorted(declared.names - expanded.used)])
    if parsed is None:
        _add_new(known, _located(root, skeleton.pipeline_of(whole)))
        return None, _sorted(known)
    pipeline = parsed.to_domain()
    if pipeline.parameters:
        pipeline = msgspec.structs.replace(pipeline, template=tuple(data["stages"]))
    _add_new(known, _located(root, pipeline))
    return pipeline, _sorted(known)


def _add_new(known: list[Fault], found: Sequence[Fault]) -> None:
    """Add faults, but for places that are faults already."""
    places = {fault.place for fault in known}
    known += [fault for fault in found if fault.place not in places]


def _unused(root: Value, name: str) -> Fault:
    return faults.fault_at(root, ("parameters", name), "no stage uses this parameter", of_key=True)


def _validated(root: Value, data: dict[str, Any], model: type[F]) -> tuple[F | None, list[Fault]]:
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        details = error.errors(include_url=False)[:FAULTS_MAX]
        return None, [faults.explain(root, detail, model) for detail in details]


def _job(file: JobFile) -> Job:
    return Job(
        name=file.name,
        pipeline=file.pipeline,
        operation=file.operation.to_domain(),
        priority=file.priority,
        parameters=file.given(),
        triggers=tuple(trigger.to_domain() for trigger in file.triggers),
    )


def _located(root: Value, pipeline: Pipeline) -> list[Fault]:
    return [faults.fault_at(root, faults.path_of(fault.place), fault.message) for fault in validate(pipeline)]


def _sorted(found: Sequence[Fault]) -> list[Fault]:
    return sorted(found, key=lambda fault: [int(part) for part in fault.message.split(":", 2)[:2]])
