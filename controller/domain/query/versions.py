"""The order of versions, as text that sorts: databases compare keys and need not know what a version is.

A version is whole numbers joined by dots, then perhaps a pre-release after a hyphen or beginning with a letter, then
perhaps build metadata after a plus sign. The order is that of Semantic Versioning 2.0.0, section 11, but for the count
of the numbers, and stretched over any text:

1. A text that is no version sorts below every version, and beside others of its kind by code point.
2. Versions compare number by number; missing ones are 0, so that 2.1 equals 2.1.0.
3. With equal numbers, a pre-release is below the release. Its identifiers, joined by dots, compare one by one: numbers
   as numbers and below words, words by code point; where all are equal, the longer list is higher.
4. Build metadata is ignored.

>>> sorted(["2.1", "2.10", "2.9.1", "2.1-rc.2", "2.1-rc.10", "2.1rc", "nightly"], key=version_key)
['nightly', '2.1rc', '2.1-rc.2', '2.1-rc.10', '2.1', '2.9.1', '2.10']

Databases store keys: another order needs a migration that computes them anew.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

CACHED_MAX: Final = 4_096
"""A fleet has few versions, and each of them many times."""

_VERSION: Final = re.compile(
    r"(?P<numbers>[0-9]+(?:\.[0-9]+)*)"
    r"(?:(?:-|(?=[A-Za-z]))(?P<before>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+[0-9A-Za-z.-]*)?"
)
_SHORT_MAX: Final = 8
_DIGITS_MAX: Final = 9_999

# In the order of their characters: what ends a key sorts below what goes on, and a number always goes on with a digit.
_NO_VERSION, _IS_VERSION = "!", "~"
_IS_BEFORE, _IS_RELEASE = "!", "#"
_IS_NUMBER, _IS_WORD, _WORD_ENDS = "0", "1", "!"


@lru_cache(CACHED_MAX)
def version_key(text: str) -> str:
    """Return a text whose order, code point by code point, is the order of versions; equal for equal versions."""
    found = _VERSION.fullmatch(text)
    if found is None or len(text) > _DIGITS_MAX:
        return _NO_VERSION + text
    numbers = [number.lstrip("0") for number in found["numbers"].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    head = _IS_VERSION + "".join(map(_number, numbers))
    if found["before"] is None:
        return head + _IS_RELEASE
    return head + _IS_BEFORE + "".join(map(_identifier, found["before"].split(".")))


def highest(versions: Iterable[str]) -> str:
    """Return the highest of several versions, and nothing of none.

    >>> highest(["2.9", "2.10", "1.0"])
    '2.10'
    """
    return max(versions, key=lambda version: (version_key(version), version), default="")


def _number(digits: str) -> str:
    """Return digits without leading zeros, after their count: one digit of it up to 8, else a 9 and four more."""
    count = len(digits)
    return f"{count}{digits}" if count <= _SHORT_MAX else f"9{count:04}{digits}"


def _identifier(text: str) -> str:
    if text.isdecimal():
        return _IS_NUMBER + _number(text.lstrip("0"))
    return _IS_WORD + text + _WORD_ENDS
