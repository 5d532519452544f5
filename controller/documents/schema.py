"""The published JSON Schema (2020-12) of pipeline and job files, for editors and other programs."""

from typing import Any, Final

from controller.documents.job_models import JobFile
from controller.documents.load import Kind
from controller.documents.pipeline_models import PipelineFile
from controller.documents.stage_models import StagePart, TriggerPart

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of one kind of document."""
    model = PipelineFile if kind is Kind.PIPELINE else JobFile
    schema = model.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        _leave_defaults_to_parts(part.get("properties", {}))
    if kind is Kind.PIPELINE:
        _allow_short_trigger(schema["$defs"][StagePart.__name__]["properties"])
    return {"$schema": DIALECT, **schema, "title": f"Tidegate {kind}"}


def _leave_defaults_to_parts(properties: dict[str, Any]) -> None:
    """Say of a part that is left out that it is as if empty: its fields tell their defaults in the units of files."""
    for field in properties.values():
        if isinstance(field.get("default"), dict):
            field["default"] = {}


def _allow_short_trigger(stage: dict[str, Any]) -> None:
    words = {"enum": ["manual", "automatic"]}
    part = {"$ref": f"#/$defs/{TriggerPart.__name__}"}
    described = stage["trigger"]["description"]
    stage["trigger"] = {"anyOf": [words, part], "default": "automatic", "description": described}
