"""What is wrong with a file, in words an operator can act on, each with its place, line and column."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from controller.documents.source import Path, Value
from controller.domain.hints import SHOWN_LENGTH_MAX, did_you_mean
from controller.domain.validation import Fault

RULES_TYPE: Final = "rules_type"
"""The kind of error of a gate whose failures are neither rules nor ignored."""
METRIC_TYPE: Final = "metric_type"
"""The kind of error of a metric that is neither a name nor rules."""
_MESSAGES: Final[Mapping[str, str]] = {
    "int_type": "expected a whole number, found {found}",
    "float_type": "expected a number, found {found}",
    "bool_type": "expected true or false, found {found}",
    "list_type": "expected a list, found {found}",
    "model_type": "expected a mapping of fields, found {found}",
    RULES_TYPE: "expected rules such as {{above: 2%}}, or 'ignored', found {found}",
    METRIC_TYPE: "expected the name of an output, such as 'scan_ms', or a mapping of fields, found {found}",
    "dict_type": "expected a mapping, found {found}",
    "enum": "expected {expected}, found {found}",
    "literal_error": "expected {expected}, found {found}",
    "greater_than_equal": "expected at least {ge}, found {found}",
    "greater_than": "expected more than {gt:g}, found {found}",
    "less_than_equal": "expected at most {le}, found {found}",
    "too_long": "expected at most {max_length} entries, found {actual_length}",
    "string_too_short": "expected some text, found none",
    "string_too_long": "expected at most {max_length} characters",
}


def place_of(path: Path) -> str:
    """Return a path as people write it.

    >>> place_of(("stages", 2, "needs", 0))
    'stages[2].needs[0]'
    """
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def path_of(place: str) -> Path:
    """Return the path of a place; the inverse of `place_of` for the names of fields."""
    words = place.replace("]", "").replace("[", ".").split(".")
    return tuple(int(word) if word.isdecimal() else word for word in words if word)


def fault_at(root: Value, path: Path, message: str, *, of_key: bool = False) -> Fault:
    """Return a fault whose message begins with the line and column of what it is about."""
    mark = root.mark_of(path, of_key=of_key)
    return Fault(place=place_of(_shown(root, path)), message=f"{mark.line}:{mark.column}: {message}")


def _shown(root: Value, path: Path) -> Path:
    """Return the path as far as the file has it, and a missing field's name where a mapping lacks it."""
    deepest, rest = root.find(path)
    is_mapping = isinstance(deepest.data, dict)
    return path[: len(path) - len(rest) + (1 if rest and is_mapping else 0)]


def explain(root: Value, error: ErrorDetails, model: type[BaseModel]) -> Fault:
    """Return the fault that one error of pydantic is."""
    path = tuple(error["loc"])
    match error["type"]:
        case "missing":
            return fault_at(root, path, f"the field {str(path[-1])!r} is missing")
        case "extra_forbidden":
            known = _fields(model).get(_pattern(path[:-1]), ())
            return fault_at(root, path, f"unknown field; {did_you_mean(str(path[-1]), known)}", of_key=True)
        case "string_type":
            return fault_at(root, path, _not_text(root, path))
        case _:
            is_key = path[-1:] == ("[key]",)
            return fault_at(root, path[:-1] if is_key else path, _message(root, path, error), of_key=is_key)


def _message(root: Value, path: Path, error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    template = _MESSAGES.get(error["type"])
    if template is None:
        return error["msg"][:1].lower() + error["msg"][1:]
    return template.format(found=_found(root, path), **{"expected": "", **error.get("ctx", {})})


def _not_text(root: Value, path: Path) -> str:
    value = root.find(path)[0]
    if isinstance(value.data, bool | int | float):
        return f'expected text, found {_found(root, path)}: write it in quotes, "{value.text}"'
    return f"expected text, found {_found(root, path)}"


def _found(root: Value, path: Path) -> str:
    match root.find(path)[0]:
        case Value(data=None):
            return "nothing"
        case Value(data=bool() as truth):
            return str(truth).lower()
        case Value(data=dict()):
            return "a mapping"
        case Value(data=list()):
            return "a list"
        case value:
            text = value.text
            shown = text if len(text) <= SHOWN_LENGTH_MAX else f"{text[:SHOWN_LENGTH_MAX]}…"
            return shown if isinstance(value.data, int | float) else repr(shown)


def _pattern(path: Path) -> tuple[str, ...]:
    return tuple(key for key in path if isinstance(key, str))


@cache
def _fields(model: type[BaseModel]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the fields that each mapping of a file may have, by the path to it."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {(): tuple(model.model_fields)}
    for name, field in model.model_fields.items():
        for part in _models(field.annotation):
            found |= {(name, *path): names for path, names in _fields(part).items()}
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for inner in get_args(annotation) for part in _models(inner)]
