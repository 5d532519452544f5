"""Parts of an artifact: the Range and If-Range headers (RFC 9110, section 14), single ranges only.

>>> choose("bytes=0-4", size=10), choose("bytes=-3", size=10), choose("bytes=4-", size=10)
(Span(start=0, length=5), Span(start=7, length=3), Span(start=4, length=6))
>>> choose("bytes=0-1,3-4", size=10), choose("lines=1-2", size=10), choose(None, size=10)
(None, None, None)
"""

import re
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


class Span(NamedTuple):
    """A part in bytes."""

    start: int
    length: int


class Unsatisfiable(ValueError):
    """The range lies outside of what there is."""


def choose(header: str | None, *, size: int) -> Span | None:
    """Return the part that a Range header asks for, or None where the whole is to be sent.

    A header of another unit, of several ranges, or without meaning is ignored, as RFC 9110 (section 14.2) allows.

    Raises:
        Unsatisfiable: when the range begins at or after the end, or asks for the last 0 bytes.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return _last(int(last), size)
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable(f"the range begins at {start}, but there are {size} bytes")
    return Span(start, end - start + 1)


def _last(length: int, size: int) -> Span:
    if length == 0 or size == 0:
        raise Unsatisfiable("the range is empty")
    return Span(max(0, size - length), min(length, size))


def is_current(if_range: str | None, etag: str) -> bool:
    """Say whether a Range header holds: without If-Range, or when that names the same bytes (strong comparison)."""
    return if_range is None or if_range.strip() == etag


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Say whether the caller has these bytes already (If-None-Match, weak comparison)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags
