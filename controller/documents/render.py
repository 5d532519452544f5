"""Definitions as files: only what differs from the defaults. Loading it gives back an equal one."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import yaml

from controller.documents.checks import check_document
from controller.documents.load import Definition, Job
from controller.documents.templates import escaped
from controller.documents.units import render_percent, render_span
from controller.domain.pipeline import (
    DryRun,
    FailureLimit,
    Gate,
    Growth,
    Metric,
    Operation,
    PerSite,
    Pipeline,
    Sequential,
    Stage,
)
from controller.domain.trigger import UTC, JobTrigger, OnRelease, OnSchedule
from controller.domain.window import Window, clock

_SPANS: Mapping[str, str] = {
    "accept_ms": "accept",
    "attempt_ms": "attempt",
    "backoff_ms": "backoff",
    "lease_ms": "lease",
    "queued_ms": "queued",
    "silent_after_ms": "silent_after",
    "soak_ms": "soak",
    "stage_ms": "stage",
    "straggler_after_ms": "straggler_after",
    "timeout_ms": "timeout",
}
_RULES = frozenset({"sequential", "failures"})
"""What of a gate a file writes as one."""
_RATIOS = frozenset({"tolerated"})
_BREAKS = "\x85\u2028\u2029"
_OTHERS: Mapping[str, str] = {
    "alpha_percent": "alpha",
    "attempts_max": "attempts",
    "beta_percent": "beta",
    "delta_percent": "delta",
    "share_percent": "share",
    "success_percent": "success",
}


def to_document(definition: Definition) -> dict[str, Any]:
    """Return a definition in the shape of its file, as plain data that loads back equal."""
    match definition:
        case Pipeline():
            head = _changed(definition, Pipeline(name="", stages=definition.stages, template=definition.template))
            return {"kind": "Pipeline", **_with_secrets(head), "stages": _stages(definition)}
        case Job():
            operation = definition.operation
            head = {"kind": "Job", "name": definition.name, "pipeline": definition.pipeline}
            head |= {"operation": operation_document(operation)}
            head |= {"priority": definition.priority} if definition.priority else {}
            head |= {"parameters": _values(definition.parameters)} if definition.parameters else {}
            triggers = [trigger_document(trigger) for trigger in definition.triggers]
            return head | ({"triggers": triggers} if triggers else {})


def operation_document(operation: Operation) -> dict[str, Any]:
    """Return an operation in the shape of its file."""
    return _with_secrets({"app": operation.app, **_changed(operation, Operation(app=operation.app, version=""))})


def trigger_document(trigger: JobTrigger) -> dict[str, Any]:
    """Return a trigger of a job in the shape of its file."""
    match trigger:
        case OnRelease(channel=channel):
            return {"channel": channel}
        case OnSchedule(cron=cron, zone=zone):
            return {"cron": cron} | ({} if zone == UTC else {"zone": zone})


def render(definition: Definition) -> str:
    """Return a definition as YAML text; loading it again gives an equal definition."""
    document = to_document(definition)
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


class _Dumper(yaml.SafeDumper):
    """Escapes the line breaks of Unicode, which YAML would fold into spaces."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(mark in text for mark in _BREAKS) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _with_secrets(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document whose secrets stand where a file has them: among the variables."""
    secrets = {name: {"secret": key} for name, key in document.pop("secrets", {}).items()}
    return {**document, "env": {**document.get("env", {}), **secrets}} if secrets else document


def _values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}


def _stages(pipeline: Pipeline) -> list[Any]:
    if pipeline.parameters:
        return [msgspec.to_builtins(stage) for stage in pipeline.template]
    return [escaped(_stage(stage)) for stage in pipeline.stages]


def _stage(stage: Stage) -> dict[str, Any]:
    document = {"name": stage.name, **_changed(stage, Stage(name=stage.name))}
    more = {"approvals": document.pop("approvals", 0), "delay": document.pop("delay_ms", 0)}
    if any(more.values()):
        shown = {name: render_span(value) if name == "delay" else value for name, value in more.items() if value}
        document["trigger"] = {"type": stage.trigger.value, **shown}
    return document


def _changed(value: msgspec.Struct, default: msgspec.Struct) -> dict[str, Any]:
    """Return the fields that differ from the default's, under the names and in the units of a file."""
    document: dict[str, Any] = {}
    for name in value.__struct_fields__:
        now, before = getattr(value, name), getattr(default, name)
        if now != before and not (isinstance(value, Gate) and name in _RULES):
            document[_SPANS.get(name) or _OTHERS.get(name) or name] = _plain(name, now, before)
    return document | _failures(value) if isinstance(value, Gate) else document


def _plain(name: str, now: Any, before: Any) -> Any:
    if isinstance(now, Mapping):
        return {key: _of_mapping(value) for key, value in now.items()}
    if isinstance(now, Growth | PerSite):
        return msgspec.to_builtins(now)
    if name in _LISTS:
        return [_LISTS[name](one) for one in now]
    if isinstance(now, msgspec.Struct):
        return _changed(now, type(now)() if before is None else before)
    if isinstance(now, float):
        return now if name in _RATIOS else render_percent(now)
    if name in _SPANS:
        return render_span(now)
    return list(now) if isinstance(now, tuple) else msgspec.to_builtins(now)


def _window(window: Window) -> dict[str, Any]:
    days = {"days": [day.value for day in window.days]} if window.days else {}
    return days | {"from": clock(window.begin), "to": clock(window.end)}


def _of_mapping(value: Any) -> Any:
    """Return what a mapping holds: text, or a parameter or an input without its defaults."""
    return _changed(value, type(value)()) if isinstance(value, msgspec.Struct) else msgspec.to_builtins(value)


def _failures(gate: Gate | DryRun) -> dict[str, Any]:
    """Return what a gate says of failures, where it differs from the default."""
    test, limit = gate.sequential, gate.failures
    if (test, limit) == (Sequential(), None):
        return {}
    document: dict[str, Any] = {}
    if test is not None:
        document |= {"above": render_percent(test.above), **_changed(test, Sequential(above=test.above))}
    if limit is not None:
        more_than = limit.count if limit.percent is None else render_percent(limit.percent)
        document |= {"more_than": more_than, **_changed(limit, FailureLimit(count=limit.count, percent=limit.percent))}
    return {"failures": document or "ignored"}


def _rule(rule: DryRun) -> dict[str, Any]:
    return {"name": rule.name, **_failures(rule)}


def _metric(metric: Metric) -> str | dict[str, Any]:
    rules = _changed(metric, Metric(name=metric.name))
    return {"name": metric.name, **rules} if rules else metric.name


_LISTS: Mapping[str, Callable[[Any], str | dict[str, Any]]] = {
    "windows": _window,
    "checks": check_document,
    "dry_run": _rule,
    "metrics": _metric,
}
