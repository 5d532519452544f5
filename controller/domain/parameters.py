"""What a definition leaves open: typed parameters of its stages, and the environment of what is installed."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

Value = str | int | bool | tuple[str, ...]
"""A parameter's value as files have it: shares and spans are text, such as ``5%`` and ``10m``."""


class Type(StrEnum):
    """What kind of value a parameter has."""

    STRING = "string"
    INT = "int"
    PERCENT = "percent"
    SPAN = "span"
    BOOL = "bool"
    LIST = "list"


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a job or a run decides. Without a `default` one of them must; `min` and `max` are inclusive."""

    type: Type = Type.STRING
    default: Value | None = None
    enum: tuple[Value, ...] = ()
    min: Value | None = None
    max: Value | None = None
    description: str = ""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One environment variable that is understood; the whole of its value must match `pattern`, where there is one."""

    required: bool = False
    pattern: str = ""
    description: str = ""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a job or a run gives: values of parameters, and variables as text or as the names of secrets."""

    parameters: Mapping[str, Value] = msgspec.field(default_factory=dict)
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)

    def overridden_by(self, other: "Given") -> "Given":
        """Return all that is given, where *other* has the last word; a secret gives way to text, and text to it."""
        return Given(
            parameters={**self.parameters, **other.parameters},
            env={name: text for name, text in self.env.items() if name not in other.secrets} | dict(other.env),
            secrets={name: key for name, key in self.secrets.items() if name not in other.env} | dict(other.secrets),
        )


class Need(StrEnum):
    """What must be there by now."""

    NOTHING = "nothing"
    """A job is saved: its runs may give the rest."""
    PARAMETERS = "parameters"
    """A preview."""
    EVERYTHING = "everything"
    """A run starts."""
