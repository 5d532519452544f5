"""What was probably meant by a word that nobody knows."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

LISTED_MAX: Final = 12
SHOWN_LENGTH_MAX: Final = 60


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint which of the *known* words was meant.

    >>> did_you_mean("need", ["name", "needs"])
    "did you mean 'needs'?"
    """
    choices = sorted(map(str, known))
    if close := get_close_matches(word[:SHOWN_LENGTH_MAX].lower(), choices, n=1):
        return f"did you mean {close[0]!r}?"
    more = ", …" if len(choices) > LISTED_MAX else ""
    return f"known are {', '.join(choices[:LISTED_MAX])}{more}"
