"""Ranges of versions: comparisons joined by commas, all of which must hold, in the order of `controller.domain.query`.

A version alone means that one, and ``1.3.*`` every version whose numbers begin so. ``!=`` turns either around.

>>> fits(parse_range(">=1.2, !=1.3.*"), "1.4"), fits(parse_range(">=1.2, !=1.3.*"), "1.3.7")
(True, False)
"""

import re
from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final

import msgspec

from controller.domain.query import version_key

CLAUSES_MAX: Final = 16
LENGTH_MAX: Final = 256

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "": eq,
    "==": eq,
    "!=": ne,
    ">=": ge,
    "<=": le,
    ">": gt,
    "<": lt,
}
_CLAUSE: Final = re.compile(r"(==|!=|>=|<=|>|<|) *(?:([0-9]+(?:\.[0-9]+)*)(\.\*)|([^\s,<>=!*]+))")
_NUMBERS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")


class InvalidRange(ValueError):
    """A text is no range of versions; the message says what was expected."""


class Clause(msgspec.Struct, frozen=True):
    """One comparison with a version, or with the beginning of one."""

    sign: str
    version: str
    is_prefix: bool = False


Range = tuple[Clause, ...]


def parse_range(text: str) -> Range:
    """Read a range.

    Raises:
        InvalidRange: when it is none, or has more than `CLAUSES_MAX` parts.
    """
    parts = text.split(",")
    if len(text) > LENGTH_MAX or len(parts) > CLAUSES_MAX:
        raise InvalidRange(f"a range of versions has at most {CLAUSES_MAX} parts and {LENGTH_MAX} characters")
    return tuple(_clause(part.strip()) for part in parts)


def fits(versions: Range, version: str) -> bool:
    """Say whether a version lies in a range."""
    return all(_holds(clause, version) for clause in versions)


def _clause(text: str) -> Clause:
    match = _CLAUSE.fullmatch(text)
    if match is None or (match[3] and match[1] not in {"", "==", "!="}):
        raise InvalidRange(f"{text[:60]!r} is no part of a range: expected such as '2.0', '>=1.2' or '1.3.*'")
    return Clause(match[1], match[2] or match[4], is_prefix=bool(match[3]))


def _holds(clause: Clause, version: str) -> bool:
    compare = _COMPARE[clause.sign]
    if clause.is_prefix:
        wanted = _numbers(clause.version)
        return compare(_padded(_numbers(version), len(wanted)), wanted)
    return compare(version_key(version), version_key(clause.version))


def _numbers(version: str) -> tuple[int, ...]:
    match = _NUMBERS.match(version)
    return () if match is None else tuple(int(part) for part in match[0].split("."))


def _padded(numbers: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return the first *count* numbers of a version, missing ones as 0; a text without any has none."""
    return (*numbers, *[0] * count)[:count] if numbers else ()
