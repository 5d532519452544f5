"""Whether a device matches a query."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from operator import eq, ge, gt, le, lt
from typing import Any, Final, assert_never

from controller.domain.group import is_within
from controller.domain.query.described import Described
from controller.domain.query.tree import (
    Agent,
    And,
    AppVersion,
    Call,
    Compare,
    Constant,
    DeviceName,
    Fact,
    Field,
    Formula,
    Has,
    In,
    InGroup,
    Label,
    Method,
    Model,
    Not,
    Operator,
    Or,
    Value,
)
from controller.domain.query.versions import version_key

COMPARE: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.EQUAL: eq,
    Operator.LESS: lt,
    Operator.LESS_OR_EQUAL: le,
    Operator.GREATER: gt,
    Operator.GREATER_OR_EQUAL: ge,
}
ASK: Final[Mapping[Method, Callable[[str, str], bool]]] = {
    Method.STARTS_WITH: str.startswith,
    Method.ENDS_WITH: str.endswith,
    Method.CONTAINS: str.__contains__,
}
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def matches(formula: Formula, device: Described) -> bool:
    """Say whether *formula* holds for *device*."""
    match formula:
        case Compare():
            return _holds(formula.field, device, _test(formula.field, formula.operator, formula.value))
        case In():
            tests = [_test(formula.field, Operator.EQUAL, value) for value in formula.values]
            return _holds(formula.field, device, lambda text: any(test(text) for test in tests))
        case Call():
            return _holds(formula.field, device, lambda text: ASK[formula.method](text, formula.text))
        case Has():
            return bool(texts_of(formula.field, device))
        case InGroup():
            return any(is_within(path, formula.path) for path in device.groups)
        case Constant():
            return formula.value
        case Not():
            return not matches(formula.part, device)
        case And():
            return all(matches(part, device) for part in formula.parts)
        case Or():
            return any(matches(part, device) for part in formula.parts)
        case _:
            assert_never(formula)


def number_of(text: str) -> float | None:
    """Return the number that a text is, as a double (IEEE 754), or None where it is none.

    >>> number_of("-0.50"), number_of("1e3")
    (-0.5, None)
    """
    return float(text) if _NUMBER.fullmatch(text) else None


def word_of(value: bool) -> str:  # noqa: FBT001 - a value of the language
    """Return the text that a truth value stands for."""
    return "true" if value else "false"


def _holds(field: Field, device: Described, test: Callable[[str], bool]) -> bool:
    return any(test(text) for text in texts_of(field, device))


def texts_of(field: Field, device: Described) -> tuple[str, ...]:
    """Return what a device has of a field: nothing, or one text, or the versions of an app."""
    match field:
        case Label():
            return _entry(device.labels, field.key)
        case Fact():
            return _entry(device.facts, field.key)
        case Model():
            return (device.model,)
        case DeviceName():
            return (device.device,)
        case Agent():
            return (device.agent,) if device.agent else ()
        case AppVersion():
            return tuple(version for app, version in device.apps if app == field.app)
        case _:
            assert_never(field)


def _entry(entries: Mapping[str, str], key: str) -> tuple[str, ...]:
    return (entries[key],) if key in entries else ()


def _test(field: Field, operator: Operator, value: Value) -> Callable[[str], bool]:
    compare = COMPARE[operator]
    if isinstance(value, bool):
        value = word_of(value)
    if isinstance(value, int):
        return partial(_compares_as_number, compare, value)
    if isinstance(field, Agent | AppVersion):
        key = version_key(value)
        return lambda text: compare(version_key(text), key)
    return lambda text: compare(text, value)


def _compares_as_number(compare: Callable[[Any, Any], bool], value: int, text: str) -> bool:
    number = number_of(text)
    return number is not None and compare(number, value)
