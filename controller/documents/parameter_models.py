"""How files say what is left open, what an environment variable may be, and what both are."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, field_validator

from controller.documents.fields import Enumerated, Name, Text, Word
from controller.documents.part import Part
from controller.documents.patterns import checker_of
from controller.documents.templates import NAME as PARAMETER_NAME
from controller.documents.units import render_percent
from controller.domain.parameters import Parameter, Type

ENUM_MAX: Final = 256
PARAMETERS_MAX: Final = 64
VARIABLES_MAX: Final = 256
PATTERN_LENGTH_MAX: Final = 200


def _text_of(value: object) -> object:
    """Return a number that a share may be as the text that all shares are kept as."""
    return render_percent(float(value)) if isinstance(value, float) else value


def _variable(name: str) -> str:
    if "=" in name or "\0" in name:
        raise ValueError("the name of a variable has neither '=' nor a zero byte")
    return name


def _no_zero(text: str) -> str:
    if "\0" in text:
        raise ValueError("the value of a variable has no zero byte")
    return text


Open = Annotated[
    str | int | bool | list[Text],
    BeforeValidator(_text_of),
    WithJsonSchema({"type": ["string", "number", "boolean", "array"], "items": {"type": "string"}}),
]
ParameterName = Annotated[str, StringConstraints(pattern=f"^{PARAMETER_NAME}$")]
Variable = Annotated[Word, AfterValidator(_variable)]


class ParameterPart(Part):
    """What a job or a run decides: its type, what it is by default, and which values it may have."""

    type: Annotated[Type, Enumerated] = Type.STRING
    """What values it has: `string`, `int`, `percent`, `span`, `bool` or `list`."""
    default: Open | None = None
    """Its value when neither job nor run gives one; without a default one of them must."""
    enum: Annotated[list[Open], Field(max_length=ENUM_MAX)] = []
    """The only values that it may have."""
    min: Open | None = None
    """The least value, of an `int`, `percent` or `span`."""
    max: Open | None = None
    """The greatest value, of an `int`, `percent` or `span`."""
    description: Text = ""
    """What it is for, for people."""

    def to_domain(self) -> Parameter:
        """Return the domain's own."""
        given = {name: frozen(getattr(self, name)) for name in ("default", "min", "max")}
        return self.into(Parameter, enum=tuple(map(frozen, self.enum)), **given)


class InputPart(Part):
    """An environment variable that is understood; all of its value must match the pattern, a regular expression."""

    required: bool = False
    """Whether a run without it is refused."""
    pattern: Annotated[str, StringConstraints(max_length=PATTERN_LENGTH_MAX)] = ""
    """A regular expression, without look-around, that must match all of the value."""
    description: Text = ""
    """What it is for, for people."""

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        checker_of(pattern)
        return pattern


class SecretPart(Part):
    """A variable whose value is a secret, by the secret's name."""

    secret: Name
    """The name of the secret. Runs with secrets are refused for now."""


Environment = dict[Variable, Annotated[Text, AfterValidator(_no_zero)] | SecretPart]


def frozen(value: Any) -> Any:
    """Return a value as the domain keeps it: a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def plain_of(env: Mapping[str, str | SecretPart]) -> dict[str, str]:
    """Return the variables that are text."""
    return {name: value for name, value in env.items() if isinstance(value, str)}


def secrets_of(env: Mapping[str, str | SecretPart]) -> dict[str, str]:
    """Return the names of secrets by variable."""
    return {name: value.secret for name, value in env.items() if not isinstance(value, str)}
