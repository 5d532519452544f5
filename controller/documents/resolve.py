"""What a job and a run give, put into a definition: nothing is left open, or every fault is told with its place."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from controller.app.errors import InvalidDefinition, SecretsNotSealed
from controller.documents import faults, templates
from controller.documents.patterns import checker_of
from controller.documents.pipeline_models import PipelineFile
from controller.documents.source import FAULTS_MAX, Mark, Value
from controller.documents.units import shown
from controller.documents.values import stand_in, typed
from controller.domain.hints import did_you_mean
from controller.domain.parameters import Given, Need
from controller.domain.parameters import Value as ParameterValue
from controller.domain.pipeline import Operation, Pipeline, Resolved, Stage
from controller.domain.validation import Fault, validate

SENT_BYTES_MAX: Final = 8_000
"""What environment and installer parameters may take, as JSON. They travel in a signed command of at most
`protocol.messages.MESSAGE_BYTES_MAX` bytes, in which base64 makes four bytes of three."""


def resolve(pipeline: Pipeline, operation: Operation, given: Given, need: Need) -> Resolved:
    """Return a definition with the given values in place, and the environment of the pipeline, the job and the run.

    Args:
        pipeline: the definition.
        operation: what is done; its own variables override those of the pipeline.
        given: what else is given; it overrides both.
        need: what must be there by now.

    Raises:
        InvalidDefinition: with every fault.
        SecretsNotSealed: when a run starts and a variable is a secret.
    """
    values, found = _values(pipeline, given.parameters, need)
    whole = _environment(pipeline, operation, given)
    found += _environment_faults(pipeline, whole, need)
    found += _size_faults(whole.env, operation.params)
    expanded, wrong = _expanded(pipeline, values) if pipeline.parameters else (pipeline, [])
    found += wrong
    if found:
        _refuse(pipeline, found)
    if need is Need.EVERYTHING and whole.secrets:
        _refuse_secrets(whole.secrets)
    return Resolved(pipeline=expanded, parameters=values, env=whole.env)


def _values(
    pipeline: Pipeline, given: Mapping[str, ParameterValue], need: Need
) -> tuple[dict[str, ParameterValue], list[Fault]]:
    """Return a value for every parameter, some value where none is given, and what is wrong with those given."""
    found = [
        Fault(place=f"parameters.{name}", message=_unknown("parameter", name, pipeline.parameters))
        for name in given
        if name not in pipeline.parameters
    ]
    values = {name: stand_in(parameter) for name, parameter in pipeline.parameters.items()}
    for name, parameter in pipeline.parameters.items():
        if name not in given and parameter.default is None and need is not Need.NOTHING:
            found.append(Fault(place=f"parameters.{name}", message="a value is missing, and there is no default"))
        try:
            values[name] = typed(parameter, given[name]) if name in given else values[name]
        except ValueError as error:
            found.append(Fault(place=f"parameters.{name}", message=str(error)))
    return values, found


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    hint = f"; {did_you_mean(name, known)}" if known else "; the pipeline declares none"
    return f"no {what} is named {name!r}{hint}"


def _expanded(pipeline: Pipeline, values: Mapping[str, ParameterValue]) -> tuple[Pipeline, list[Fault]]:
    expanded = templates.expand(pipeline.template, values)
    if expanded.faults:
        return pipeline, [Fault(place=faults.place_of(path), message=message) for path, message in expanded.faults]
    data = {"name": pipeline.name, "stages": expanded.stages}
    try:
        stages = PipelineFile.model_validate(data).to_domain().stages
    except ValidationError as error:
        return pipeline, list(_explained(data, error))
    whole = _without_parameters(pipeline, stages)
    return whole, list(validate(whole))


def _without_parameters(pipeline: Pipeline, stages: tuple[Stage, ...]) -> Pipeline:
    return msgspec.structs.replace(pipeline, stages=stages, parameters={}, template=())


def _explained(data: dict[str, Any], error: ValidationError) -> Iterator[Fault]:
    """Yield the faults that pydantic found, without lines and columns: no file has these values."""
    root = _value(data)
    for detail in error.errors(include_url=False)[:FAULTS_MAX]:
        fault = faults.explain(root, detail, PipelineFile)
        yield Fault(place=fault.place, message=fault.message.split(": ", 1)[1])


def _value(data: object) -> Value:
    value = Value(data, Mark(0, 0), str(data) if isinstance(data, str | int | float) else "")
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, item in inside:
        value.add(key, _value(item))
    return value


def _environment(pipeline: Pipeline, operation: Operation, given: Given) -> Given:
    own = Given(env=pipeline.env, secrets=pipeline.secrets)
    return own.overridden_by(Given(env=operation.env, secrets=operation.secrets)).overridden_by(given)


def _environment_faults(pipeline: Pipeline, whole: Given, need: Need) -> list[Fault]:
    if not pipeline.inputs:
        return []
    here = {**whole.env, **whole.secrets}
    found = [
        Fault(place=f"env.{name}", message=_unknown("input", name, pipeline.inputs))
        for name in here
        if name not in pipeline.inputs
    ]
    for name, one in pipeline.inputs.items():
        if one.required and name not in here and need is Need.EVERYTHING:
            found.append(Fault(place=f"env.{name}", message="a value is missing; the pipeline requires it"))
        if one.pattern and name in whole.env and not checker_of(one.pattern)(whole.env[name]):
            message = f"expected a match of {one.pattern!r}, found {shown(whole.env[name])}"
            found.append(Fault(place=f"env.{name}", message=message))
    return found


def _size_faults(env: Mapping[str, str], params: Mapping[str, str]) -> list[Fault]:
    size = len(msgspec.json.encode([env, params]))
    if size <= SENT_BYTES_MAX:
        return []
    message = f"environment and installer parameters take {size} bytes as JSON: expected at most {SENT_BYTES_MAX}"
    return [Fault(place="env", message=message)]


def _refuse(pipeline: Pipeline, found: list[Fault]) -> None:
    lines = "; ".join(f"{fault.place}: {fault.message}" for fault in found[:FAULTS_MAX])
    raise InvalidDefinition(f"pipeline {pipeline.name!r} cannot be run with this: {lines}", found[:FAULTS_MAX])


def _refuse_secrets(secrets: Mapping[str, str]) -> None:
    named = ", ".join(f"{variable} ({secret})" for variable, secret in sorted(secrets.items()))
    raise SecretsNotSealed(f"{named}: secrets cannot be sealed to devices yet; give these variables as text, or none")
