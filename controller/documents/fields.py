"""What a single field of a file may hold: names, texts, counts, spans and shares."""

import re
from typing import Annotated, Any, Final

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from controller.documents.units import parse_percent, parse_span, render_percent, render_span, shown
from controller.domain.group import parse_path
from protocol.ids import parse_part
from protocol.outputs import OUTPUT_NAME

COUNT_MAX: Final = 10_000_000
TEXT_LENGTH_MAX: Final = 2_000
_SPAN: Final = {
    "type": "string",
    "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$",
    "examples": ["10m", "2h"],
}


def _percent(least: float, most: float, *examples: str | float) -> WithJsonSchema:
    number = {"type": "number", "minimum": least, "maximum": most}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": "^[0-9.]+ ?%?$"}], "examples": [*examples]})


_LIMIT: Final = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9.]+ ?%$"}],
    "examples": ["5%", 3],
}


class Share(msgspec.Struct, frozen=True):
    """How many failures are too many: a count of devices, or a percentage."""

    count: int | None = None
    percent: float | None = None


def _name(text: str) -> str:
    return parse_part(text, what="name")


def _metric_name(text: str) -> str:
    if not re.fullmatch(OUTPUT_NAME, text):
        raise ValueError(f"expected the name of an output, such as 'scan_ms', found {shown(text)}")
    return text


def _positive(span_ms: int) -> int:
    if span_ms < 1:
        raise ValueError("expected a span longer than nothing")
    return span_ms


def _share(value: object) -> Share:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= COUNT_MAX:
            raise ValueError(f"expected a count from 0 to {COUNT_MAX}, found {shown(value)}")
        return Share(count=value)
    if not isinstance(value, str) or not value.endswith("%"):
        raise ValueError(f"expected a share such as '5%' or a count of devices such as 3, found {shown(value)}")
    percent = parse_percent(value)
    if percent > 100:  # noqa: PLR2004 - per cent
        raise ValueError(f"expected at most 100%, found {shown(value)}")
    return Share(percent=percent)


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"})]
MetricName = Annotated[
    str,
    AfterValidator(_metric_name),
    WithJsonSchema({"type": "string", "pattern": f"^{OUTPUT_NAME}$", "examples": ["scan_ms"]}),
]
GroupPath = Annotated[
    str,
    AfterValidator(parse_path),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9-]{0,62}(/[a-z0-9][a-z0-9-]{0,62}){0,7}$",
            "examples": ["eu/berlin"],
        }
    ),
]
Text = Annotated[str, StringConstraints(max_length=TEXT_LENGTH_MAX)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Count = Annotated[int, Field(ge=1, le=COUNT_MAX)]
Span = Annotated[int, BeforeValidator(parse_span), WithJsonSchema(_SPAN)]
LongerSpan = Annotated[int, BeforeValidator(parse_span), AfterValidator(_positive), WithJsonSchema(_SPAN)]
Percent = Annotated[float, BeforeValidator(parse_percent), Field(ge=0, le=100), _percent(0, 100, "95%", 5)]
Probability = Annotated[float, BeforeValidator(parse_percent), Field(ge=0.0001, le=50), _percent(0.0001, 50, "1%", 0.5)]
Tolerated = Annotated[float, BeforeValidator(parse_percent), Field(ge=0.01, le=50), _percent(0.01, 50, "2%", 5)]
HeldBack = Annotated[float, BeforeValidator(parse_percent), Field(gt=0, le=50), _percent(0.0001, 50, "5%", 10)]
Ratio = Annotated[float, Field(ge=1, le=100)]
Limit = Annotated[Share, BeforeValidator(_share), WithJsonSchema(_LIMIT)]
Enumerated = Field(strict=False)
"""Says of an enumeration that its member may be written as text."""


def span_field(span_ms: int) -> Any:
    """Return a field that is a span, with this default."""
    return Field(default=span_ms, json_schema_extra={"default": render_span(span_ms)})


def percent_field(percent: float) -> Any:
    """Return a field that is a share, with this default."""
    return Field(default=percent, json_schema_extra={"default": render_percent(percent)})
