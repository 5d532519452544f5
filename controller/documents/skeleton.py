"""What a broken pipeline file says about its structure: circles are found along with typing errors."""

from typing import Any

from controller.documents.stage_models import DEVICES_MAX, GROUPS_MAX, NEEDS_MAX
from controller.domain.pipeline import STAGES_MAX, Pipeline, Stage, Targets
from protocol.ids import DeviceId, StageName


def pipeline_of(data: dict[str, Any]) -> Pipeline:
    """Return a pipeline with the names, needs and targets that can be read; the rest is left at its default.

    Indices stay those of the file, whose lists are cut at their limits. Fit for `validate` and for nothing else.
    """
    stages = _list(data.get("stages"))[:STAGES_MAX]
    named = tuple(_stage(_mapping(stage), index) for index, stage in enumerate(stages))
    return Pipeline(name="", stages=named or (Stage(name=StageName("")),))


def _stage(data: dict[str, Any], index: int) -> Stage:
    targets = _mapping(data.get("targets"))
    return Stage(
        name=StageName(_text(data.get("name")) or f"?{index}"),
        needs=tuple(StageName(_text(need)) for need in _list(data.get("needs"))[:NEEDS_MAX]),
        targets=Targets(
            query=_text(targets.get("query")),
            groups=tuple(map(_text, _list(targets.get("groups"))[:GROUPS_MAX])),
            devices=tuple(DeviceId(_text(device)) for device in _list(targets.get("devices"))[:DEVICES_MAX]),
            exclude=tuple(DeviceId(_text(device)) for device in _list(targets.get("exclude"))[:DEVICES_MAX]),
        ),
        preconditions=_text(data.get("preconditions")),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
