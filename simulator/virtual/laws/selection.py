"""Whether a device is meant by a stage, worked out anew: nothing here shares a line with the selector that is judged.

Only what worlds draw is understood. Versions are whole numbers joined by dots, and groups are compared part by part.
"""

from collections.abc import Iterable
from typing import assert_never

from controller.domain.pipeline import Targets
from controller.domain.query import Described, Formula, parse
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
    Has,
    In,
    InGroup,
    Label,
    Model,
    Not,
    Operator,
    Or,
    Value,
)


def mismatch(wanted: Targets, device: Described) -> str:
    """Return why a device is not meant, or nothing where it is; the share is left out of it."""
    if device.device in wanted.exclude:
        return "is excluded"
    if wanted.devices and device.device not in wanted.devices:
        return "is not listed"
    for key, value in wanted.labels.items():
        if device.labels.get(key) != value:
            return f"has labels {dict(device.labels)}, and {dict(wanted.labels)} are wanted"
    if wanted.groups and not any(_is_member(device, group) for group in wanted.groups):
        return f"is in groups {sorted(device.groups)}, and one of {list(wanted.groups)} is wanted"
    if wanted.query and not _holds(parse(wanted.query), device):
        return f"is {device}, and the query is {wanted.query}"
    return ""


def _is_member(device: Described, group: str) -> bool:
    wanted = group.split("/")
    return any(path.split("/")[: len(wanted)] == wanted for path in device.groups)


def _holds(formula: Formula, device: Described) -> bool:
    match formula:
        case Compare(field=field, operator=operator, value=value):
            return any(_compares(field, text, operator, value) for text in _texts(field, device))
        case In(field=field, values=values):
            return any(_holds(Compare(field, Operator.EQUAL, value), device) for value in values)
        case Has(field=field):
            return any(True for _ in _texts(field, device))
        case InGroup(path=path):
            return _is_member(device, path)
        case Constant(value=truth):
            return truth
        case Not(part=part):
            return not _holds(part, device)
        case And(parts=parts):
            return {_holds(part, device) for part in parts} == {True}
        case Or(parts=parts):
            return {_holds(part, device) for part in parts} != {False}
        case Call():
            raise AssertionError(f"no world draws {formula}")
        case _:
            assert_never(formula)


def _texts(field: Field, device: Described) -> Iterable[str]:
    match field:
        case Label(key=key):
            return [value for name, value in device.labels.items() if name == key]
        case AppVersion(app=wanted):
            return [version for app, version in device.apps if app == wanted]
        case Model():
            return [device.model]
        case Fact(key=key):
            return [value for name, value in device.facts.items() if name == key]
        case Agent() | DeviceName():
            raise AssertionError(f"no world draws {field}")
        case _:
            assert_never(field)


def _compares(field: Field, text: str, operator: Operator, value: Value) -> bool:
    assert isinstance(value, str), "no world compares with a number"
    if not isinstance(field, AppVersion):
        assert operator is Operator.EQUAL, "no world asks for the order of texts"
        return text == value
    sign = order(text, value)
    match operator:
        case Operator.EQUAL:
            return sign == 0
        case Operator.LESS:
            return sign < 0
        case Operator.LESS_OR_EQUAL:
            return sign <= 0
        case Operator.GREATER:
            return sign > 0
        case Operator.GREATER_OR_EQUAL:
            return sign >= 0
        case _:
            assert_never(operator)


def order(one: str, other: str) -> int:
    """Return 0 where two versions are equal, a number below or above 0 where the first is lower or higher."""
    ours, theirs = [int(part) for part in one.split(".")], [int(part) for part in other.split(".")]
    length = max(len(ours), len(theirs))
    pairs = zip(ours + [0] * (length - len(ours)), theirs + [0] * (length - len(theirs)), strict=True)
    return next((mine - yours for mine, yours in pairs if mine != yours), 0)
