"""Parameters as a file declares them, read before all else: what stands in for them while the file is checked."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError

from controller.documents.parameter_models import PARAMETERS_MAX, ParameterPart
from controller.documents.source import Path
from controller.documents.values import stand_in
from controller.domain.parameters import Parameter, Value


class Declared(NamedTuple):
    """Values that stand in, the names of well-formed parameters, and what is wrong at which path.

    A parameter that is not well-formed has no value of its own; its faults are those of the whole file.
    """

    values: dict[str, Value]
    names: frozenset[str]
    faults: list[tuple[Path, str]]


def declared(data: dict[str, Any]) -> Declared:
    """Return what stands in for the parameters that a pipeline file declares."""
    found = Declared({}, frozenset(), [])
    names: set[str] = set()
    for name, parameter in _parameters(data.get("parameters")):
        if parameter is None:
            found.values[name] = "sample"
            continue
        names.add(name)
        try:
            found.values[name] = stand_in(parameter)
        except ValueError as error:
            found.values[name] = "sample"
            found.faults.append((("parameters", name), str(error)))
    return found._replace(names=frozenset(names))


def _parameters(data: Any) -> Iterator[tuple[str, Parameter | None]]:
    for name, part in list(data.items())[:PARAMETERS_MAX] if isinstance(data, dict) else ():
        try:
            yield name, ParameterPart.model_validate(part).to_domain()
        except ValidationError:
            yield name, None
