"""The life of one attempt: one command's execution on one device, as both sides see it.

The rules this module keeps:

1. The table below is the whole truth; docs, metrics labels, resume logic and tests derive from it.
2. States in progress are ordered, and any jump forward is legal: progress is lossy and may reorder.
3. A terminal state absorbs: nothing leads out of it.

>>> may_follow(AttemptState.SENT, AttemptState.VERIFYING)
True
>>> may_follow(AttemptState.INSTALLING, AttemptState.DOWNLOADING)
False
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class AttemptState(StrEnum):
    """Where an attempt stands."""

    SENT = "sent"
    ACCEPTED = "accepted"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Say whether no other state can follow."""
        return not TRANSITIONS[self]


class Left(StrEnum):
    """What a terminal report says the device was left with."""

    NEW = "new"
    OLD = "old"
    BROKEN = "broken"


_A = AttemptState
_ENDS: Final = frozenset({_A.SUCCEEDED, _A.FAILED, _A.REJECTED, _A.TIMED_OUT, _A.CANCELLED})

TRANSITIONS: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    _A.SENT: frozenset({_A.ACCEPTED, _A.DOWNLOADING, _A.INSTALLING, _A.VERIFYING}) | _ENDS,
    _A.ACCEPTED: frozenset({_A.DOWNLOADING, _A.INSTALLING, _A.VERIFYING}) | _ENDS,
    _A.DOWNLOADING: frozenset({_A.INSTALLING, _A.VERIFYING}) | _ENDS,
    _A.INSTALLING: frozenset({_A.VERIFYING}) | _ENDS,
    _A.VERIFYING: _ENDS,
    _A.SUCCEEDED: frozenset(),
    _A.FAILED: frozenset(),
    _A.REJECTED: frozenset(),
    _A.TIMED_OUT: frozenset(),
    _A.CANCELLED: frozenset(),
}


def may_follow(before: AttemptState, after: AttemptState) -> bool:
    """Say whether the table leads from *before* to *after*."""
    return after in TRANSITIONS[before]
