"""The published JSON Schema (2020-12) of pipeline and job files, for editors and other programs."""

from typing import Any, Final

from controller.documents.load import Kind
from controller.documents.models import JobFile, PipelineFile, StagePart, TriggerPart

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of one kind of document."""
    model = PipelineFile if kind is Kind.PIPELINE else JobFile
    schema = model.model_json_schema()
    if kind is Kind.PIPELINE:
        _allow_short_trigger(schema["$defs"][StagePart.__name__]["properties"])
    return {"$schema": DIALECT, **schema, "title": f"Tidegate {kind}"}


def _allow_short_trigger(stage: dict[str, Any]) -> None:
    words = {"enum": ["manual", "automatic"]}
    stage["trigger"] = {"anyOf": [words, {"$ref": f"#/$defs/{TriggerPart.__name__}"}], "default": "automatic"}
