"""Lifecycle and reasons: the tables are total and say what the documents say."""

import pytest

from protocol.lifecycle import TRANSITIONS, AttemptState, may_follow
from protocol.reasons import BLAME, REISSUED, Blame, Reason, RejectCode, is_retried, reason_from

PROGRESS = [
    AttemptState.SENT,
    AttemptState.ACCEPTED,
    AttemptState.DOWNLOADING,
    AttemptState.INSTALLING,
    AttemptState.VERIFYING,
]
ENDS = [state for state in AttemptState if state not in PROGRESS]


@pytest.mark.parametrize("before", AttemptState)
@pytest.mark.parametrize("after", AttemptState)
def test_progress_only_jumps_forward_and_ends_absorb(before: AttemptState, after: AttemptState) -> None:
    is_forward = before in PROGRESS and (after in ENDS or PROGRESS.index(before) < PROGRESS.index(after))
    assert may_follow(before, after) is is_forward


def test_ends_are_ends() -> None:
    assert {state for state in AttemptState if state.is_terminal} == set(ENDS)
    assert set(TRANSITIONS) == set(AttemptState)


def test_every_reason_blames_somebody() -> None:
    assert set(BLAME) == set(Reason)
    assert {reason.value for reason, blame in BLAME.items() if blame is Blame.BUILD} == {
        "install_failed",
        "verify_failed",
        "version_mismatch",
        "silent_in_install",
        "transitions_exhausted",
    }


def test_what_the_build_is_to_blame_for_is_never_tried_again() -> None:
    assert not any(is_retried(reason) for reason, blame in BLAME.items() if blame is Blame.BUILD)
    assert is_retried(Reason.INTERRUPTED)
    assert is_retried(Reason.NO_CONTACT)
    assert not is_retried(Reason.OTHER)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_read_back(reason: Reason) -> None:
    assert reason_from(reason.value) is reason


@pytest.mark.parametrize("text", ["", "from_the_future", "INTERRUPTED", " interrupted"])
def test_an_unknown_reason_is_other(text: str) -> None:
    assert reason_from(text) is Reason.OTHER


def test_refusals_that_a_new_command_cures() -> None:
    assert {code.value for code in REISSUED} == {"expired", "no-fresh-time", "busy", "stale-epoch", "replay"}
    assert set(RejectCode) >= REISSUED
