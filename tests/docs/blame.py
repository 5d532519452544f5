"""Tables of reasons and refusals for operators: what the code does about them, and what helps."""

import tomllib
from collections.abc import Mapping
from typing import Any, Final

from protocol.reasons import BLAME, REISSUED, Reason, RejectCode, is_retried
from tests.docs.tables import FOLDER, MEANINGS, table

HELP: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads((FOLDER / "reasons.toml").read_text())


def blamed(whom: str) -> str:
    """Return the table of the reasons that blame somebody."""
    rows = [
        (f"`{reason}`", MEANINGS["reasons"][reason], _yes(is_retried(reason)), HELP["reasons"][reason])
        for reason in Reason
        if BLAME[reason] == whom
    ]
    return table(("reason", "meaning", "tried again", "what helps"), rows)


def refusals() -> str:
    """Return the table of the codes with which devices refuse commands."""
    rows = [
        (f"`{code}`", MEANINGS["reject-codes"][code], _yes(code in REISSUED), HELP["refusals"][code])
        for code in RejectCode
    ]
    return table(("code", "meaning", "a new command follows", "what helps"), rows)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"
