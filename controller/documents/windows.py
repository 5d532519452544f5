"""Times of day and time zones as people write them.

>>> parse_clock("22:30"), parse_clock("24:00")
(1350, 1440)
"""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from controller.app.zones import zone_of
from controller.documents.units import shown
from controller.domain.window import MINUTES

_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")


def parse_clock(value: object) -> int:
    """Return a time of day in minutes since midnight.

    Raises:
        ValueError: when *value* is no text such as ``22:30``.
    """
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    minutes = MINUTES + 1 if match is None else int(match[1]) * 60 + int(match[2])
    if minutes > MINUTES:
        raise ValueError(f"expected a time of day in quotes, such as '22:30', found {shown(value)}")
    return minutes


def _before_midnight(minutes: int) -> int:
    if minutes == MINUTES:
        raise ValueError("expected a time of day from '00:00' to '23:59'")
    return minutes


def _after_midnight(minutes: int) -> int:
    """Return the end of a day for its beginning: a window that ends at midnight ends with its own day."""
    return minutes or MINUTES


def _known(name: str) -> str:
    if name and zone_of(name) is None:
        raise ValueError(f"time zone {shown(name)} is not known: expected such as 'Europe/Berlin'")
    return name


_SCHEMA: Final = {"type": "string", "pattern": "^([01]?[0-9]|2[0-4]):[0-5][0-9]$", "examples": ["22:30"]}
_Clock = BeforeValidator(parse_clock)
Begin = Annotated[int, _Clock, AfterValidator(_before_midnight), WithJsonSchema(_SCHEMA)]
End = Annotated[int, _Clock, AfterValidator(_after_midnight), WithJsonSchema(_SCHEMA)]
TimeZone = Annotated[str, AfterValidator(_known), Field(examples=["Europe/Berlin"])]
