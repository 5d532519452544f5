"""Values of parameters: what each type takes, and what stands in where nobody has said anything.

>>> typed(Parameter(type=Type.INT, max=9), "7"), typed(Parameter(type=Type.LIST), "a, b")
(7, ('a', 'b'))
>>> typed(Parameter(type=Type.SPAN, min="5m"), "90s")
Traceback (most recent call last):
ValueError: expected at least '5m', found '90s'
"""

import re
from typing import Any, Final

from controller.documents.units import parse_percent, parse_span, render_percent, shown
from controller.domain.parameters import Parameter, Type, Value

LIST_MAX: Final = 5_000
TEXT_LENGTH_MAX: Final = 2_000
INTEGER_DIGITS_MAX: Final = 18
_INT: Final = re.compile(rf"-?[0-9]{{1,{INTEGER_DIGITS_MAX}}}")
_BOOLS: Final = {"true": True, "false": False}
_SAMPLES: Final[dict[Type, Value]] = {
    Type.STRING: "sample",
    Type.INT: 1,
    Type.PERCENT: "50%",
    Type.SPAN: "1m",
    Type.BOOL: True,
    Type.LIST: ("sample",),
}


def typed(parameter: Parameter, value: Value) -> Value:
    """Return a value in its parameter's own type; text of it is taken, too, as command lines have nothing else.

    Raises:
        ValueError: when it is of another type, or not among those that the parameter may have.
    """
    found = _converted(parameter.type, value)
    allowed = [_converted(parameter.type, choice) for choice in parameter.enum]
    if allowed and found not in allowed:
        raise ValueError(f"expected {' or '.join(map(shown, parameter.enum))}, found {shown(value)}")
    if parameter.min is not None and _size(parameter, found) < _size(parameter, parameter.min):
        raise ValueError(f"expected at least {shown(parameter.min)}, found {shown(value)}")
    if parameter.max is not None and _size(parameter, found) > _size(parameter, parameter.max):
        raise ValueError(f"expected at most {shown(parameter.max)}, found {shown(value)}")
    return found


def stand_in(parameter: Parameter) -> Value:
    """Return the default, or a value that a definition without one is checked with.

    Raises:
        ValueError: when the parameter contradicts itself.
    """
    choices = (parameter.default, *parameter.enum[:1], parameter.min, parameter.max)
    return typed(parameter, next((choice for choice in choices if choice is not None), _SAMPLES[parameter.type]))


def _converted(kind: Type, value: Value) -> Value:
    match kind:
        case Type.STRING if isinstance(value, str) and len(value) <= TEXT_LENGTH_MAX:
            return value
        case Type.INT if isinstance(value, int) and not isinstance(value, bool):
            return value
        case Type.INT if isinstance(value, str) and _INT.fullmatch(value):
            return int(value)
        case Type.BOOL if isinstance(value, bool):
            return value
        case Type.BOOL if isinstance(value, str) and value in _BOOLS:
            return _BOOLS[value]
        case Type.SPAN:
            parse_span(value)
            return value
        case Type.PERCENT:
            return render_percent(_share(value))
        case Type.LIST if isinstance(value, tuple | str):
            return _list(value)
        case _:
            raise ValueError(f"expected {_WORDS[kind]}, found {shown(value)}")


_WORDS: Final = {
    Type.STRING: f"text of at most {TEXT_LENGTH_MAX} characters",
    Type.INT: "a whole number",
    Type.BOOL: "true or false",
    Type.LIST: "a list",
}


def _share(value: Value) -> float:
    share = parse_percent(value)
    if share > 100:  # noqa: PLR2004 - per cent
        raise ValueError(f"expected at most 100%, found {shown(value)}")
    return share


def _list(value: tuple[str, ...] | str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value
    if len(parts) > LIST_MAX or any(len(part) > TEXT_LENGTH_MAX for part in parts):
        raise ValueError(f"expected at most {LIST_MAX} texts of at most {TEXT_LENGTH_MAX} characters")
    return parts


def _size(parameter: Parameter, value: Value) -> float:
    """Return what `min` and `max` compare: the number, the span in milliseconds, or the share in percent."""
    found: Any = _converted(parameter.type, value)
    match parameter.type:
        case Type.INT:
            return int(found)
        case Type.SPAN:
            return parse_span(found)
        case Type.PERCENT:
            return parse_percent(found)
        case _:
            raise ValueError("'min' and 'max' are for int, percent and span")
