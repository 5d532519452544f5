"""Reasons of a pause as people gave them."""

from collections.abc import Sequence
from typing import Final

OPERATOR: Final = "operator:"


def told_reasons(reasons: Sequence[str]) -> list[str]:
    """Return pause reasons without the mark of those that a person gave.

    >>> told_reasons(["operator:crashes", "breach:rest"])
    ['crashes', 'breach:rest']
    """
    return [reason.removeprefix(OPERATOR) for reason in reasons]
