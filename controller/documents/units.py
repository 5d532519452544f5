"""Spans and shares as people write them: ``10m``, ``1h30m``, ``5%``.

>>> parse_span("1h30m"), render_span(5_400_000)
(5400000, '1h30m')
>>> parse_percent("5%"), parse_percent(12.5), render_percent(5.0)
(5.0, 12.5, '5%')
"""

import re
from typing import Final

from protocol.units import DAY, HOUR, MINUTE, SECOND

SPAN_MS_MAX: Final = 3_650 * DAY
"""Ten years, so that no sum of a few spans leaves what a wire integer holds."""

SHOWN_LENGTH_MAX: Final = 60
_UNITS: Final = {"d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1}
_SPAN: Final = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,15}}){unit}(?![a-z]))?" for unit in _UNITS))
_PERCENT: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,3})?) ?%?")


def shown(value: object) -> str:
    """Return a value as messages show it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN_LENGTH_MAX else f"{text[:SHOWN_LENGTH_MAX]}…"


def parse_span(value: object) -> int:
    """Return a span in milliseconds.

    Raises:
        ValueError: when *value* is no text such as ``10m``, ``2h`` or ``1d12h``, or longer than ten years.
    """
    if not isinstance(value, str):
        raise ValueError(f"expected a span with its unit, such as '10m', '2h' or '7d', found {shown(value)}")  # noqa: TRY004 - pydantic reads ValueError
    match = _SPAN.fullmatch(value)
    if not value or match is None:
        raise ValueError(f"expected a span such as '30s', '10m', '2h', '7d' or '1h30m', found {shown(value)}")
    span = sum(int(count) * _UNITS[unit] for unit, count in match.groupdict().items() if count)
    if span > SPAN_MS_MAX:
        raise ValueError(f"a span of {shown(value)}: expected at most {render_span(SPAN_MS_MAX)}")
    return span


def render_span(span_ms: int) -> str:
    """Return a span as `parse_span` reads it; the inverse for all spans from 0 to `SPAN_MS_MAX`."""
    parts: list[str] = []
    for unit, size_ms in _UNITS.items():
        count, span_ms = divmod(span_ms, size_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_percent(value: object) -> float:
    """Return a share in percent, written as a number or as text such as ``5%``.

    Raises:
        ValueError: when *value* is neither; whether it lies between 0 and 100 is for the caller to check.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a share such as 5 or '5%', found {shown(value)}")
    return float(match[1])


def render_percent(percent: float) -> str:
    """Return a share as `parse_percent` reads it, without losing a digit."""
    return f"{int(percent) if percent.is_integer() else repr(percent)}%"
