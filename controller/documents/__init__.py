r"""Definitions as people write them: pipelines and jobs in YAML or JSON, with every fault and its place.

>>> text = "kind: Pipeline\nname: shop\nstages: [{name: all, need: [canary]}]"
>>> try:
...     load(text)
... except InvalidDefinition as error:
...     print(error.faults[0].place, "|", error.faults[0].message)
stages[0].need | 3:22: unknown field; did you mean 'needs'?
"""

from controller.app.errors import InvalidDefinition
from controller.documents.difference import Difference, as_text, difference, in_one_line
from controller.documents.gates import load_gate
from controller.documents.job_models import JobTriggerPart
from controller.documents.load import BYTES_MAX, Definition, Job, Kind, load, load_one
from controller.documents.render import render, to_document, trigger_document
from controller.documents.resolve import resolve
from controller.documents.schema import json_schema

__all__ = [
    "BYTES_MAX",
    "Definition",
    "Difference",
    "InvalidDefinition",
    "Job",
    "JobTriggerPart",
    "Kind",
    "as_text",
    "difference",
    "in_one_line",
    "json_schema",
    "load",
    "load_gate",
    "load_one",
    "render",
    "resolve",
    "to_document",
    "trigger_document",
]
