"""Tables for the reference of messages: types and limits from the code, meanings from a file beside the page."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from msgspec import inspect

from protocol import messages
from protocol.lifecycle import TRANSITIONS, AttemptState
from protocol.messages import Message, PayloadType
from protocol.reasons import BLAME, REISSUED, Reason, RejectCode, is_retried
from protocol.units import INTEGER_MAX, Instant, Millis

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference"
FIRST: Final = "0.1"
"""The version that a field came with, unless the meaning says another."""

_UNITS: Final = {Instant: "ms since 1970", Millis: "ms"}
_END: Final = r"$(?!\n)"
_HEXADECIMAL: Final = re.compile(r"\^\[0-9a-f\]\{(\d+)\}\$")

MEANINGS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads((FOLDER / "messages.toml").read_text())
KINDS: Final[Mapping[str, type[Message]]] = {
    name: kind
    for name, kind in vars(messages).items()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def fields(name: str) -> str:
    """Return the table of a message's fields, in the order in which they are written."""
    info = inspect.type_info(KINDS[name])
    assert isinstance(info, inspect.StructType), "every message is a struct"
    rows = [_tag(info)] if info.tag is not None else []
    declared = {field.name: field.type for field in msgspec.structs.fields(KINDS[name])}
    rows += [_row(name, field, declared[field.name]) for field in info.fields]
    return table(("field", "type", "limits", "left out", "since", "meaning"), rows)


def _tag(info: inspect.StructType) -> Sequence[str]:
    meaning, since = _meaning(info.cls.__name__, str(info.tag_field))
    return f"`{info.tag_field}`", "text", f"`{info.tag}`", "never", since, meaning


def _row(name: str, field: inspect.Field, declared: Any) -> Sequence[str]:
    meaning, since = _meaning(name, field.name)
    kind, limits = _type(field.type)
    unit = _unit(declared)
    return f"`{field.encode_name}`", f"{kind}, {unit}" if unit else kind, limits, _absent(field), since, meaning


def _meaning(name: str, field: str) -> tuple[str, str]:
    found = MEANINGS[name][field]
    return (found, FIRST) if isinstance(found, str) else (found[0], found[1])


def _absent(field: inspect.Field) -> str:
    """Say what it means when the field is left out."""
    if field.required:
        return "never"
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return f"`{msgspec.json.encode(default).decode()}`"


def _unit(declared: Any) -> str:
    found = [_UNITS[part] for part in (declared, *get_args(declared)) if part in (Instant, Millis)]
    return found[0] if found else ""


def _type(kind: inspect.Type) -> tuple[str, str]:
    """Return a type and its limits, in words."""
    match kind:
        case inspect.StrType():
            return "text", _text_limits(kind)
        case inspect.IntType(ge=low, le=high):
            return "integer", f"{low} to {_number(high)}"
        case inspect.EnumType(cls=cls):
            return "text", ", ".join(f"`{member.value}`" for member in cls)
        case inspect.StructType(cls=cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})", ""
        case inspect.VarTupleType(item_type=item, max_length=most):
            of, limits = _type(item)
            return f"list of {of}", f"at most {most}" + (f"; each {limits}" if limits else "")
        case inspect.DictType(key_type=key, value_type=value, max_length=most):
            limits = "" if most is None else f"at most {most}; each name {_type(key)[1]}"
            return f"object, {_type(key)[0]} to {_type(value)[0]}", limits
        case inspect.UnionType(types=types) if inspect.FloatType in map(type, types):
            return "number or text", ""
        case inspect.UnionType(types=types):
            some = next(one for one in types if not isinstance(one, inspect.NoneType))
            return f"{_type(some)[0]} or null", _type(some)[1]
    raise AssertionError(f"no words for {kind}")


def _number(value: int | None) -> str:
    return "2^53 - 1" if value == INTEGER_MAX else str(value)


def _text_limits(kind: inspect.StrType) -> str:
    if kind.pattern is not None:
        digits = _HEXADECIMAL.fullmatch(kind.pattern)
        return f"{digits[1]} of `0-9a-f`" if digits else f"`{kind.pattern.removeprefix('^').removesuffix(_END)}`"
    if kind.max_length is None:
        return ""
    return f"{kind.min_length or 0} to {kind.max_length} characters"


def reject_codes() -> str:
    """Return the table of reject codes."""
    rows = [(f"`{code}`", MEANINGS["reject-codes"][code], "yes" if code in REISSUED else "no") for code in RejectCode]
    return table(("code", "meaning", "a new command follows"), rows)


def reasons() -> str:
    """Return the table of reasons."""
    rows = [
        (f"`{reason}`", BLAME[reason].value, "yes" if is_retried(reason) else "no", MEANINGS["reasons"][reason])
        for reason in Reason
    ]
    return table(("reason", "blame", "tried again", "meaning"), rows)


def states() -> str:
    """Return the table of what may follow a state."""
    rows = [
        (f"`{state}`", ", ".join(f"`{s}`" for s in AttemptState if s in TRANSITIONS[state])) for state in TRANSITIONS
    ]
    return table(("state", "may be followed by"), rows)


def payload_types() -> str:
    """Return the table of payload types."""
    return table(("message", "payload type"), [(f"`{kind.name}`", f"`{kind.value}`") for kind in PayloadType])
