"""The states of a run, of a stage and of a release, one literal table each. Nothing else says what may follow."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class RunState(StrEnum):
    """Where a run stands; `paused` and `waiting` are derived, not stored."""

    PENDING = "pending"
    RUNNING = "running"
    TERMINATING = "terminating"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"

    @property
    def is_terminal(self) -> bool:
        """Say whether no other state can follow."""
        return not RUN_TRANSITIONS[self]


_R = RunState

RUN_TRANSITIONS: Final[Mapping[RunState, frozenset[RunState]]] = {
    _R.PENDING: frozenset({_R.RUNNING}),
    _R.RUNNING: frozenset({_R.TERMINATING, _R.SUCCEEDED, _R.FAILED, _R.TIMED_OUT}),
    _R.TERMINATING: frozenset({_R.TERMINATED}),
    _R.SUCCEEDED: frozenset(),
    _R.FAILED: frozenset(),
    _R.TERMINATED: frozenset(),
    _R.TIMED_OUT: frozenset(),
}


class StageState(StrEnum):
    """Where a stage stands; the last five are verdicts."""

    BLOCKED = "blocked"
    AWAITING_PROMOTION = "awaiting_promotion"
    ROLLING_OUT = "rolling_out"
    SOAKING = "soaking"
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def is_verdict(self) -> bool:
        """Say whether no other state can follow."""
        return not STAGE_TRANSITIONS[self]


_S = StageState
STOPS: Final = frozenset({_S.FAILED, _S.CANCELLED, _S.TIMED_OUT})

STAGE_TRANSITIONS: Final[Mapping[StageState, frozenset[StageState]]] = {
    _S.BLOCKED: frozenset({_S.AWAITING_PROMOTION, _S.ROLLING_OUT, _S.SKIPPED, _S.CANCELLED, _S.TIMED_OUT}),
    _S.AWAITING_PROMOTION: frozenset({_S.ROLLING_OUT, _S.SKIPPED, _S.CANCELLED, _S.TIMED_OUT}),
    _S.ROLLING_OUT: frozenset({_S.SOAKING, _S.PASSED, _S.SKIPPED}) | STOPS,
    _S.SOAKING: frozenset({_S.PASSED, _S.SKIPPED}) | STOPS,
    _S.PASSED: frozenset(),
    _S.FAILED: frozenset(),
    _S.SKIPPED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.TIMED_OUT: frozenset(),
}


class ReleaseState(StrEnum):
    """Whether a release may be installed; one that is not in the signed release file is not known at all."""

    PUBLISHED = "published"
    DEPRECATED = "deprecated"
    WITHDRAWN = "withdrawn"


_P = ReleaseState

RELEASE_TRANSITIONS: Final[Mapping[ReleaseState, frozenset[ReleaseState]]] = {
    _P.PUBLISHED: frozenset({_P.DEPRECATED, _P.WITHDRAWN}),
    _P.DEPRECATED: frozenset({_P.WITHDRAWN}),
    _P.WITHDRAWN: frozenset(),
}
