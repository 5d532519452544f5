"""A device that is called back for the queue: what it has not accepted costs it nothing."""

import msgspec
import pytest

from controller.domain.pipeline import Retry, Timeouts
from controller.domain.target import (
    RECALL_MS,
    CancelRequested,
    DueReached,
    Event,
    Policy,
    RecallHeard,
    RefusedCommand,
    Released,
    Reported,
    Returned,
    Target,
    TargetState,
    step,
)
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import Reason, RejectCode
from tests.controller.domain.kit import digest

ONE_ATTEMPT = Policy(
    timeouts=Timeouts(accept_ms=100_000, lease_ms=200_000), retry=Retry(attempts_max=1, backoff_ms=1_000)
)
BACK = Returned(at=5)


def after(target: Target, *events: Event) -> Target:
    for event in events:
        target, _ = step(target, event, ONE_ATTEMPT)
    return target


def said(state: AttemptState, attempt: int = 1, **fields: object) -> Reported:
    return msgspec.structs.replace(Reported(at=10, attempt=attempt, state=state), **fields)


SENT = after(Target(), Released(at=0, command=digest(1)))
RETURNING = after(SENT, BACK)


def test_what_was_not_accepted_is_called_back_and_waited_for_a_little() -> None:
    expected = msgspec.structs.replace(SENT, cancel_requested=True, returns=True, recalls=1, due=5 + RECALL_MS)
    assert expected == RETURNING
    assert after(RETURNING, BACK) == RETURNING


@pytest.mark.parametrize(
    "target",
    [
        Target(),
        after(SENT, said(AttemptState.ACCEPTED)),
        after(SENT, CancelRequested(at=3)),
        after(SENT, said(AttemptState.SUCCEEDED)),
    ],
)
def test_nothing_is_taken_back_from_others(target: Target) -> None:
    assert after(target, BACK) is target


ENDS: list[Event] = [
    RecallHeard(at=9),
    DueReached(at=5 + RECALL_MS),
    said(AttemptState.CANCELLED, reason=Reason.CANCELLED),
    RefusedCommand(at=9, command=digest(1), code=RejectCode.REPLAY),
]


@pytest.mark.parametrize("end", ENDS)
def test_it_goes_back_to_the_queue_and_keeps_its_budget(end: Event) -> None:
    queued = after(RETURNING, end)
    assert (queued.state, queued.attempt, queued.due, queued.returns) == (TargetState.QUEUED, 1, None, False)
    again = after(queued, Released(at=20, command=digest(2)))
    assert (again.attempt, again.cancel_requested, again.recalls) == (2, False, 1)
    failure = said(AttemptState.FAILED, attempt=2, reason=Reason.INTERRUPTED, left=Left.OLD)
    assert after(again, failure).state is TargetState.FAILED


def test_one_that_had_accepted_all_the_same_may_succeed_or_fail_as_ever() -> None:
    assert after(RETURNING, said(AttemptState.SUCCEEDED)).state is TargetState.SUCCEEDED
    failed = after(RETURNING, said(AttemptState.ACCEPTED), said(AttemptState.FAILED, reason=Reason.INTERRUPTED))
    assert (failed.state, failed.returns) == (TargetState.QUEUED, False)
    silent = after(RETURNING, said(AttemptState.INSTALLING), DueReached(at=999_999))
    assert silent.reason is Reason.SILENT_IN_INSTALL


def test_a_run_that_calls_it_back_for_good_has_the_last_word() -> None:
    gone = after(RETURNING, CancelRequested(at=6))
    assert after(gone, RecallHeard(at=9)).state is TargetState.CANCELLED
