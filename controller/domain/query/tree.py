"""What a query says, as data. ``a != b`` is `Not` of a comparison, so that it cannot mean anything else."""

from enum import StrEnum

import msgspec

Value = str | int | bool
"""A literal of the language."""


class Node(msgspec.Struct, frozen=True, gc=False, tag=True):
    """What all parts of a tree share."""


# --- what a device has --------------------------------------------------------------------------------------------


class Label(Node, frozen=True):
    """An operator's label: ``labels.region``."""

    key: str


class Fact(Node, frozen=True):
    """What the device says of itself: ``facts.os``."""

    key: str


class Model(Node, frozen=True):
    """The device's model: ``model``."""


class DeviceName(Node, frozen=True):
    """The device's id: ``device``."""


class Agent(Node, frozen=True):
    """The version of the agent: ``agent``."""


class AppVersion(Node, frozen=True):
    """An installed version: ``app("shop").version``."""

    app: str


Field = Label | Fact | Model | DeviceName | Agent | AppVersion


# --- what can be said of it ---------------------------------------------------------------------------------------


class Operator(StrEnum):
    """How a field is compared with a value."""

    EQUAL = "=="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


class Method(StrEnum):
    """What may be asked of a text."""

    STARTS_WITH = "startsWith"
    ENDS_WITH = "endsWith"
    CONTAINS = "contains"


class Compare(Node, frozen=True):
    """A comparison: ``field < value``."""

    field: Field
    operator: Operator
    value: Value


class In(Node, frozen=True):
    """Equality with one of a list: ``field in [value, …]``."""

    field: Field
    values: tuple[Value, ...]


class Call(Node, frozen=True):
    """A question to a text: ``field.startsWith("…")``."""

    field: Field
    method: Method
    text: str


class Has(Node, frozen=True):
    """Whether a field is there: ``has(field)``; of a version, whether the app is."""

    field: Label | Fact | AppVersion


class InGroup(Node, frozen=True):
    """Membership: ``group("eu/berlin")``, or a group below it."""

    path: str


class Constant(Node, frozen=True):
    """A truth value: ``true`` or ``false``."""

    value: bool


class Not(Node, frozen=True):
    """The opposite: ``!formula``."""

    part: "Formula"


class And(Node, frozen=True):
    """All of at least two parts: ``a && b && …``."""

    parts: tuple["Formula", ...]


class Or(Node, frozen=True):
    """Some of at least two parts: ``a || b || …``."""

    parts: tuple["Formula", ...]


Formula = Compare | In | Call | Has | InGroup | Constant | Not | And | Or


def all_of(*parts: Formula) -> Formula:
    """Return what holds where every part does.

    >>> all_of(), all_of(Has(Label("a")))
    (Constant(value=True), Has(field=Label(key='a')))
    """
    if not parts:
        return Constant(value=True)
    return parts[0] if len(parts) == 1 else And(parts)


def any_of(*parts: Formula) -> Formula:
    """Return what holds where some part does."""
    if not parts:
        return Constant(value=False)
    return parts[0] if len(parts) == 1 else Or(parts)
