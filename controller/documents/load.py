"""Files of pipelines and jobs to the domain's own data, or every fault in them at once."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from controller.app.errors import InvalidDefinition
from controller.documents import faults, skeleton, source
from controller.documents.models import JobFile, PipelineFile
from controller.documents.source import BYTES_MAX, FAULTS_MAX, Value
from controller.domain.pipeline import Fault, Operation, Pipeline, validate
from controller.domain.trigger import JobTrigger

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
    triggers: tuple[JobTrigger, ...] = ()


Definition = Pipeline | Job

_MODELS: Final[Mapping[Kind, type[PipelineFile] | type[JobFile]]] = {
    Kind.PIPELINE: PipelineFile,
    Kind.JOB: JobFile,
}


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
        count = "1 fault" if len(found) == 1 else f"{len(found)} faults"
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
    hint = faults.did_you_mean(str(word).capitalize(), kinds)
    return faults.fault_at(root, ("kind",), f"unknown kind {str(word)[:40]!r}; {hint}")


def _parse(root: Value, data: dict[str, Any], kind: Kind) -> Loaded:
    try:
        parsed = _MODELS[kind].model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)[:FAULTS_MAX]
        found = [faults.explain(root, detail, _MODELS[kind]) for detail in details]
        return None, _sorted([*found, *_structural(root, data, kind, found)])
    if isinstance(parsed, JobFile):
        return _job(parsed), ()
    pipeline = parsed.to_domain()
    return pipeline, _sorted(_located(root, pipeline))


def _job(file: JobFile) -> Job:
    operation = file.operation.into(Operation)
    triggers = tuple(trigger.to_domain() for trigger in file.triggers)
    return Job(name=file.name, pipeline=file.pipeline, operation=operation, priority=file.priority, triggers=triggers)


def _structural(root: Value, data: dict[str, Any], kind: Kind, known: Sequence[Fault]) -> list[Fault]:
    """Return what the domain finds wrong with a broken pipeline, but for places that are faults already."""
    if kind is not Kind.PIPELINE:
        return []
    places = {fault.place for fault in known}
    return [fault for fault in _located(root, skeleton.pipeline_of(data)) if fault.place not in places]


def _located(root: Value, pipeline: Pipeline) -> list[Fault]:
    return [faults.fault_at(root, faults.path_of(fault.place), fault.message) for fault in validate(pipeline)]


def _sorted(found: Sequence[Fault]) -> list[Fault]:
    return sorted(found, key=lambda fault: [int(part) for part in fault.message.split(":", 2)[:2]])
