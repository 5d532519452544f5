"""Tables of the fields of definition files, made from the JSON Schema that the controller publishes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from controller.documents import Kind, json_schema
from tests.docs.tables import table

SUFFIX: Final = "Part"
SCHEMAS: Final[Mapping[Kind, Mapping[str, Any]]] = {kind: json_schema(kind) for kind in Kind}
SPAN_PATTERN: Final = r"^(\d+d)?"
NAME_PATTERNS: Final[Mapping[str, str]] = {
    "^[a-z0-9][a-z0-9-]{0,62}$": "name",
    "^[a-z0-9][a-z0-9-]{0,62}(/[a-z0-9][a-z0-9-]{0,62}){0,7}$": "group path",
    r"^[0-9.]+ ?%$": "share",
    r"^[0-9.]+ ?%?$": "share",
}

Schema = Mapping[str, Any]


def parts() -> dict[str, Schema]:
    """Return every part of the files by its title: the files first, then what they consist of, as they come."""
    found: dict[str, Schema] = {}
    for kind, schema in SCHEMAS.items():
        found[kind.value] = schema
        found |= {_title(name): part for name, part in _reached(schema, schema["$defs"])}
    return found


def _reached(schema: Schema, definitions: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the objects that a schema refers to, each before those that it refers to."""
    for name in _references(schema.get("properties", {})):
        if "properties" in definitions[name]:
            yield name, definitions[name]
            yield from _reached(definitions[name], definitions)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield _name(value)
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def enumerated() -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield the fields that take one of several words: the part and field, what the page says of it, and the words."""
    for title, part in parts().items():
        for name, field in part["properties"].items():
            for reference in _references(field):
                if "enum" in definitions()[reference]:
                    yield f"{title}.{name}", _sentence(field), definitions()[reference]["enum"]


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _title(name: str) -> str:
    """Return what a part is called on the page: `JobTriggerPart` is a job trigger."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name.removesuffix(SUFFIX))
    return words.strip().capitalize()


def definitions() -> dict[str, Schema]:
    """Return all definitions that the schemas share."""
    return {name: part for schema in SCHEMAS.values() for name, part in schema["$defs"].items()}


def all_fields(_: str) -> str:
    """Return a heading, a sentence and a table for every part."""
    return "\n\n".join(f"### {title}\n\n{_sentence(part)}\n\n{fields(part)}" for title, part in parts().items())


def _sentence(part: Schema) -> str:
    return " ".join(str(part.get("description", "")).split()).replace("|", r"\|")


def fields(part: Schema) -> str:
    """Return the table of a part's fields."""
    rows = [
        (f"`{name}`", *_type(field), _default(part, name, field), _sentence(field))
        for name, field in part["properties"].items()
    ]
    return table(("field", "type", "limits", "default", "meaning"), rows)


def _default(part: Schema, name: str, field: Schema) -> str:
    if name in part.get("required", ()):
        return "required"
    default = field["default"]
    if default == {} and "$ref" in field:
        return "see there"
    return "none" if default in (None, "", [], {}) else f"`{json.dumps(default, ensure_ascii=False)}`".replace('"', "")


def _type(field: Schema) -> tuple[str, str]:
    """Return the type of a field and its limits, in words."""
    match field:
        case {"$ref": _}:
            return _referred(field)
        case {"anyOf": choices}:
            return _choice(choices)
        case {"type": "array", "items": items}:
            return _several("list:", items, field.get("maxItems"))
        case {"type": "object", "additionalProperties": values}:
            return _several("mapping: name to", values, field.get("maxProperties"))
        case {"type": "object", "patternProperties": patterns}:
            [values] = patterns.values()
            return _several("mapping: name to", values, field.get("maxProperties"))
    return _plain_type(field)


def _plain_type(field: Schema) -> tuple[str, str]:
    match field:
        case {"const": value}:
            return "text", f"`{value}`"
        case {"enum": values}:
            return "text", ", ".join(f"`{value}`" for value in values)
        case {"type": "number"}:
            return "number", _bounds(field)
        case {"type": "integer"}:
            return "whole number", _bounds(field)
        case {"type": "boolean"}:
            return "`true` or `false`", ""
        case {"type": "string"}:
            return _text(field)
        case {"type": list()}:
            return "value", ""
    raise AssertionError(f"no words for {field}")


def _bounds(field: Schema) -> str:
    if "exclusiveMinimum" in field:
        return f"above {field['exclusiveMinimum']:,}, at most {field['maximum']:,}"
    if "minimum" not in field:
        return ""
    least = f"{field['minimum']:,}"
    return f"{least} to {field['maximum']:,}" if "maximum" in field else f"at least {least}"


def _referred(field: Schema) -> tuple[str, str]:
    name = _name(field)
    if "properties" in definitions()[name]:
        title = _title(name)
        return f"[{title.lower()}](#{title.lower().replace(' ', '-')})", ""
    return _type(definitions()[name])


def _choice(choices: list[Schema]) -> tuple[str, str]:
    """Return what may stand for a field that takes one of several kinds; that it may be null goes without saying."""
    kinds = [_type(choice) for choice in choices if choice.get("type") != "null"]
    names = list(dict.fromkeys(kind for kind, _ in kinds))
    limits = dict.fromkeys(limit for _, limit in kinds if limit)
    if names == ["number", "share"]:
        [number] = (choice for choice in choices if choice.get("type") == "number")
        return "share", f"{number['minimum']:g}% to {number['maximum']:g}%"
    return " or ".join(names), "; ".join(limits)


def _several(what: str, one: Schema, most: int | None) -> tuple[str, str]:
    kind, limits = _type(one)
    counted = [f"at most {most:,}"] if most else []
    return f"{what} {kind}", "; ".join([*counted, *([f"each {limits}"] if limits else [])])


def _text(field: Schema) -> tuple[str, str]:
    pattern = field.get("pattern", "")
    if pattern.startswith(SPAN_PATTERN):
        return "span", ""
    if pattern in NAME_PATTERNS:
        return NAME_PATTERNS[pattern], ""
    most = field.get("maxLength")
    return "text", f"at most {most:,} characters" if most else ""
