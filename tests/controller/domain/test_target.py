"""One device in one run: every event in every kind of state."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.pipeline import Retry, Timeouts
from controller.domain.target import (
    IDLE_MS,
    RECALL_MS,
    TRANSITIONS,
    Anomaly,
    CancelRequested,
    Continued,
    Delta,
    DueReached,
    Event,
    GivenUp,
    Policy,
    RecallHeard,
    RefusedCommand,
    Reissue,
    Reissued,
    Released,
    Removed,
    Reported,
    Seen,
    Suspended,
    Target,
    TargetState,
    Ticked,
    backoff_ms,
    delta,
    step,
)
from protocol.health import Mark
from protocol.lifecycle import AttemptState, Left
from protocol.reasons import BLAME, REISSUED, Blame, Reason, RejectCode, is_retried
from tests.controller.domain.kit import digest

POLICY = Policy(timeouts=Timeouts(accept_ms=100_000, lease_ms=200_000), retry=Retry(attempts_max=2, backoff_ms=1_000))
SENT = step(Target(), Released(at=0, command=digest(1)), POLICY)[0]
FAILURES = (AttemptState.FAILED, AttemptState.TIMED_OUT)


def after(target: Target, *events: Event) -> Target:
    for event in events:
        target, _ = step(target, event, POLICY)
    return target


def said(state: AttemptState, at: int = 10, attempt: int = 1, **fields: object) -> Reported:
    return msgspec.structs.replace(Reported(at=at, attempt=attempt, state=state), **fields)


INSTALLING = after(SENT, said(AttemptState.INSTALLING))


def test_a_release_begins_an_attempt() -> None:
    assert (
        Target(
            state=TargetState.IN_PROGRESS,
            attempt=1,
            attempt_state=AttemptState.SENT,
            command=digest(1),
            due=100_000,
        )
        == SENT
    )


def test_only_a_queued_device_is_released() -> None:
    with pytest.raises(AssertionError, match="only a queued device"):
        step(SENT, Released(at=0, command=digest(2)), POLICY)


def test_progress_starts_the_device_and_renews_its_lease() -> None:
    assert (INSTALLING.attempt_state, INSTALLING.due) == (AttemptState.INSTALLING, 200_010)
    assert INSTALLING.is_started
    assert delta(SENT, INSTALLING).started == 1


def test_a_state_that_is_repeated_renews_the_lease() -> None:
    later, effects = step(INSTALLING, said(AttemptState.INSTALLING, at=50), POLICY)
    assert (later.attempt_state, later.due, effects) == (AttemptState.INSTALLING, 200_050, ())


@pytest.mark.parametrize("state", [AttemptState.SENT, AttemptState.DOWNLOADING])
def test_what_comes_out_of_order_is_an_anomaly(state: AttemptState) -> None:
    assert step(INSTALLING, said(state), POLICY) == (INSTALLING, (Anomaly(kind="out_of_order"),))


@pytest.mark.parametrize("attempt", [0, 2, 99])
def test_another_attempt_changes_nothing(attempt: int) -> None:
    report = said(AttemptState.SUCCEEDED, attempt=attempt)
    assert step(SENT, report, POLICY) == (SENT, (Anomaly(kind="other_attempt"),))
    assert step(Target(), said(AttemptState.SUCCEEDED, attempt=0), POLICY)[0] == Target()


ENDS = [
    (AttemptState.SUCCEEDED, None, TargetState.SUCCEEDED, None),
    (AttemptState.SUCCEEDED, Reason.OTHER, TargetState.SUCCEEDED, Reason.OTHER),
    (AttemptState.REJECTED, None, TargetState.REJECTED, Reason.OTHER),
    (AttemptState.REJECTED, Reason.WRONG_HARDWARE, TargetState.REJECTED, Reason.WRONG_HARDWARE),
    (AttemptState.CANCELLED, Reason.SUPERSEDED, TargetState.CANCELLED, Reason.SUPERSEDED),
    (AttemptState.FAILED, None, TargetState.FAILED, Reason.OTHER),
    (AttemptState.FAILED, Reason.VERIFY_FAILED, TargetState.FAILED, Reason.VERIFY_FAILED),
    (AttemptState.FAILED, Reason.INTERRUPTED, TargetState.QUEUED, Reason.INTERRUPTED),
    (AttemptState.TIMED_OUT, Reason.NO_CONTACT, TargetState.QUEUED, Reason.NO_CONTACT),
    (AttemptState.TIMED_OUT, Reason.INSTALL_FAILED, TargetState.TIMED_OUT, Reason.INSTALL_FAILED),
]


@pytest.mark.parametrize(("state", "reason", "expected", "kept"), ENDS)
def test_ends(state: AttemptState, reason: Reason | None, expected: TargetState, kept: Reason | None) -> None:
    end = after(INSTALLING, said(state, reason=reason, left=Left.OLD, detail="why"))
    assert (end.state, end.attempt_state, end.reason, end.left, end.detail) == (expected, state, kept, Left.OLD, "why")
    assert (end.due is not None) is (expected is TargetState.QUEUED)


def test_what_was_told_is_kept_and_summed_up_when_the_devices_part_ends() -> None:
    end = after(INSTALLING, said(AttemptState.SUCCEEDED, outputs={"boot_ms": 840}))
    assert end.outputs == {"boot_ms": 840}
    assert delta(INSTALLING, end).outputs == {"boot_ms": 840}
    late = after(end, said(AttemptState.SUCCEEDED, outputs={"boot_ms": 1}))
    assert late == end
    assert delta(end, late).outputs == {}


def test_what_an_attempt_told_that_is_tried_again_gives_way_to_the_next_ones() -> None:
    interrupted = said(AttemptState.FAILED, reason=Reason.INTERRUPTED, outputs={"boot_ms": 1})
    waiting = after(INSTALLING, interrupted)
    assert (waiting.outputs, delta(INSTALLING, waiting).outputs) == ({"boot_ms": 1}, {})
    again = after(waiting, Released(at=300_000, command=digest(2)))
    assert again.outputs == {}
    assert delta(waiting, after(waiting, CancelRequested(at=5))).outputs == {"boot_ms": 1}


def test_only_an_end_tells_outputs() -> None:
    assert after(INSTALLING, said(AttemptState.VERIFYING, outputs={"boot_ms": 1})).outputs == {}


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("state", FAILURES)
def test_blame_and_retry_follow_the_reason(state: AttemptState, reason: Reason) -> None:
    end = after(INSTALLING, said(state, reason=reason))
    assert end.is_blamed is (BLAME[reason] is Blame.BUILD)
    assert (end.state is TargetState.QUEUED) is is_retried(reason)
    assert delta(INSTALLING, end).blamed == int(end.is_blamed)


def test_a_broken_device_is_counted_and_not_tried_again() -> None:
    end = after(INSTALLING, said(AttemptState.FAILED, reason=Reason.INTERRUPTED, left=Left.BROKEN))
    assert end.state is TargetState.FAILED
    before, failed = TargetState.IN_PROGRESS, TargetState.FAILED
    assert delta(INSTALLING, end) == Delta(before=before, after=failed, resolved=1, spared=1, bricked=1)


def test_attempts_end_with_the_budget_and_start_and_blame_stay() -> None:
    interrupted = said(AttemptState.FAILED, reason=Reason.INTERRUPTED)
    waiting = after(INSTALLING, interrupted)
    assert waiting.due == 10 + backoff_ms(POLICY, 1)
    again = after(waiting, DueReached(at=waiting.due or 0), Released(at=5_000, command=digest(2)))
    assert (again.attempt, again.is_started, again.reason) == (2, True, None)
    last = after(again, msgspec.structs.replace(interrupted, attempt=2))
    assert (last.state, last.attempt) == (TargetState.FAILED, 2)


def test_waiting_ends_at_its_time_and_not_before() -> None:
    waiting = after(INSTALLING, said(AttemptState.FAILED, reason=Reason.INTERRUPTED))
    assert waiting.due is not None
    assert step(waiting, DueReached(at=waiting.due - 1), POLICY) == (waiting, ())
    assert after(waiting, DueReached(at=waiting.due)).due is None
    assert step(Target(), DueReached(at=9), POLICY) == (Target(), ())


OVERDUE = [
    (AttemptState.ACCEPTED, TargetState.QUEUED, Reason.LEASE_ENDED),
    (AttemptState.DOWNLOADING, TargetState.QUEUED, Reason.LEASE_ENDED),
    (AttemptState.INSTALLING, TargetState.TIMED_OUT, Reason.SILENT_IN_INSTALL),
    (AttemptState.VERIFYING, TargetState.TIMED_OUT, Reason.SILENT_IN_INSTALL),
]


@pytest.mark.parametrize(("state", "expected", "reason"), OVERDUE)
def test_silence_ends_the_attempt(state: AttemptState, expected: TargetState, reason: Reason) -> None:
    end = after(SENT, said(state), DueReached(at=10**9))
    assert (end.state, end.attempt_state, end.reason) == (expected, AttemptState.TIMED_OUT, reason)


def test_a_command_that_nobody_accepts_is_tried_again() -> None:
    end = after(SENT, DueReached(at=100_000))
    assert (end.state, end.reason, end.is_started) == (TargetState.QUEUED, Reason.NOT_ACCEPTED, False)


def test_a_late_success_is_noted_once_and_moves_no_counter() -> None:
    failed = after(INSTALLING, said(AttemptState.FAILED, reason=Reason.VERIFY_FAILED))
    noted = after(failed, said(AttemptState.SUCCEEDED, at=99))
    assert noted == msgspec.structs.replace(failed, late_success_at=99)
    assert step(noted, said(AttemptState.SUCCEEDED, at=100), POLICY) == (noted, ())
    assert delta(failed, noted) == Delta(before=TargetState.FAILED, after=TargetState.FAILED)


def test_what_is_said_after_the_end_changes_nothing() -> None:
    failed = after(INSTALLING, said(AttemptState.FAILED, reason=Reason.VERIFY_FAILED))
    assert step(failed, said(AttemptState.FAILED), POLICY) == (failed, ())
    assert step(failed, said(AttemptState.VERIFYING), POLICY) == (failed, (Anomaly(kind="late"),))
    done = after(INSTALLING, said(AttemptState.SUCCEEDED))
    assert step(done, said(AttemptState.SUCCEEDED, at=50), POLICY) == (done, ())


@pytest.mark.parametrize("code", RejectCode)
def test_a_refusal_of_the_current_command_is_cured_or_ends_the_device(code: RejectCode) -> None:
    refusal = RefusedCommand(at=5, command=digest(1), code=code)
    target, effects = step(SENT, refusal, POLICY)
    if code in REISSUED:
        assert (target, effects) == (SENT, (Reissue(),))
        assert after(SENT, Reissued(command=digest(2))) == msgspec.structs.replace(SENT, command=digest(2))
        return
    assert effects == ()
    assert (target.state, target.reason, target.detail, target.left) == (
        TargetState.FAILED,
        Reason.REFUSED,
        code.value,
        None,
    )
    assert not target.is_blamed


def test_a_recalled_device_gets_no_new_command() -> None:
    recalled = after(SENT, CancelRequested(at=0))
    end = after(recalled, RefusedCommand(at=5, command=digest(1), code=RejectCode.BUSY))
    assert (end.state, end.reason) == (TargetState.CANCELLED, Reason.CANCELLED)


@pytest.mark.parametrize("target", [Target(), INSTALLING, after(SENT, said(AttemptState.SUCCEEDED))])
def test_a_refusal_of_another_command_is_an_anomaly(target: Target) -> None:
    for command in (digest(1), digest(9)):
        refusal = RefusedCommand(at=5, command=command, code=RejectCode.REPLAY)
        assert step(target, refusal, POLICY) == (target, (Anomaly(kind="refusal_of_another_command"),))


@pytest.mark.parametrize(
    ("timed_out", "state", "reason"),
    [(False, TargetState.CANCELLED, Reason.CANCELLED), (True, TargetState.TIMED_OUT, Reason.NEVER_STARTED)],
)
def test_a_queued_device_is_called_off_at_once(timed_out: bool, state: TargetState, reason: Reason) -> None:
    end = after(Target(due=5), CancelRequested(at=3, timed_out=timed_out))
    assert (end.state, end.reason, end.due) == (state, reason, None)
    kept = after(Target(reason=Reason.NO_CONTACT), CancelRequested(at=3, timed_out=timed_out))
    assert (kept.state, kept.reason) == (state, Reason.NO_CONTACT)


def test_a_device_at_work_stays_so_until_it_answers() -> None:
    recalled = after(INSTALLING, CancelRequested(at=50))
    assert recalled == msgspec.structs.replace(INSTALLING, cancel_requested=True)
    assert after(recalled, said(AttemptState.SUCCEEDED)).state is TargetState.SUCCEEDED
    assert after(recalled, said(AttemptState.FAILED, reason=Reason.INTERRUPTED)).state is TargetState.FAILED
    lost = after(recalled, DueReached(at=10**9))
    assert (lost.state, lost.attempt_state) == (TargetState.CANCELLED, AttemptState.TIMED_OUT)


def test_a_device_that_never_accepted_is_waited_for_a_little() -> None:
    assert after(SENT, CancelRequested(at=50)).due == 50 + RECALL_MS
    assert after(SENT, CancelRequested(at=99_999)).due == 100_000
    assert after(SENT, Suspended(), CancelRequested(at=50)).due == 50 + RECALL_MS


def test_an_attempt_that_a_freeze_suspended_waits_and_has_its_clock_anew() -> None:
    suspended = after(SENT, Suspended())
    assert (suspended.due, after(suspended, DueReached(at=10**9))) == (None, suspended)
    assert after(suspended, Continued(at=7_000)).due == 7_000 + POLICY.timeouts.accept_ms
    assert after(suspended, said(AttemptState.ACCEPTED)).due is not None


def test_a_freeze_touches_no_attempt_that_the_device_has_accepted_or_that_is_called_back() -> None:
    for target in (INSTALLING, Target(), after(SENT, CancelRequested(at=50))):
        assert after(target, Suspended(), Continued(at=9)) == target
    assert after(SENT, Continued(at=9)) == SENT


def test_a_device_that_heard_the_recall_and_has_no_work_is_done() -> None:
    end = after(SENT, CancelRequested(at=50), RecallHeard(at=60))
    assert (end.state, end.attempt_state, end.reason, end.left, end.due) == (
        TargetState.CANCELLED,
        AttemptState.CANCELLED,
        Reason.CANCELLED,
        None,
        None,
    )
    for other in (SENT, after(INSTALLING, CancelRequested(at=50)), Target()):
        assert after(other, RecallHeard(at=60)) == other


def test_work_in_hand_renews_the_lease() -> None:
    assert after(INSTALLING, Seen(at=500, has_work=True)).due == 200_500


def test_work_that_a_device_has_no_more_is_waited_for_a_little_and_blames_nobody() -> None:
    idle = after(INSTALLING, Seen(at=500, has_work=False))
    assert (idle.state, idle.due) == (TargetState.IN_PROGRESS, 500 + IDLE_MS)
    assert after(idle, Seen(at=900, has_work=False)) == idle
    assert after(idle, DueReached(at=499 + IDLE_MS)) == idle
    end = after(idle, DueReached(at=500 + IDLE_MS))
    assert (end.state, end.reason, end.is_blamed) == (TargetState.QUEUED, Reason.LEASE_ENDED, False)


def test_a_lease_that_ends_sooner_is_not_made_longer_by_idleness() -> None:
    assert after(INSTALLING, Seen(at=190_000, has_work=False)).due == 200_010


@pytest.mark.parametrize("event", [Seen(at=900, has_work=True), said(AttemptState.VERIFYING, at=900)])
def test_a_device_that_has_its_work_after_all_is_idle_no_more(event: Event) -> None:
    idle = after(INSTALLING, Seen(at=500, has_work=False))
    again = after(idle, event)
    assert (again.is_idle, again.due) == (False, 200_900)


def test_an_idle_device_that_tells_its_end_has_ended_like_that() -> None:
    idle = after(INSTALLING, Seen(at=500, has_work=False))
    end = after(idle, said(AttemptState.SUCCEEDED, left=Left.NEW))
    assert (end.state, end.is_idle) == (TargetState.SUCCEEDED, False)


@pytest.mark.parametrize("target", [Target(), SENT, after(INSTALLING, said(AttemptState.SUCCEEDED))])
@pytest.mark.parametrize("has_work", [False, True])
def test_only_accepted_work_can_be_missed(target: Target, has_work: bool) -> None:
    assert after(target, Seen(at=500, has_work=has_work)) == target


CAPPED = Policy(timeouts=Timeouts(lease_ms=200_000, attempt_ms=500_000))


def test_no_sign_of_life_helps_beyond_the_time_that_an_attempt_may_take() -> None:
    target = INSTALLING
    for at in (150_000, 300_000, 450_000):
        target, _ = step(target, said(AttemptState.INSTALLING, at=at), CAPPED)
    assert (target.accepted_at, target.due) == (10, 500_010)
    assert step(target, Seen(at=450_000, has_work=True), CAPPED)[0].due == 500_010
    assert step(target, Ticked(at=450_000), CAPPED)[0].due == 500_010
    end, _ = step(target, DueReached(at=500_010), CAPPED)
    assert end.attempt_state is AttemptState.TIMED_OUT


def test_the_next_attempt_has_its_whole_time() -> None:
    waiting = after(INSTALLING, said(AttemptState.FAILED, reason=Reason.INTERRUPTED, at=100))
    again = after(waiting, Released(at=1_000, command=digest(2)), said(AttemptState.ACCEPTED, at=2_000, attempt=2))
    assert again.accepted_at == 2_000


def test_a_tick_makes_the_lease_longer_and_never_shorter() -> None:
    assert after(INSTALLING, Ticked(at=500)) == msgspec.structs.replace(INSTALLING, due=200_500)
    assert after(INSTALLING, Ticked(at=5)) == INSTALLING


UNTICKED = {
    "queued": Target(),
    "not accepted": SENT,
    "ended": after(INSTALLING, said(AttemptState.SUCCEEDED)),
    "idle": after(INSTALLING, Seen(at=20, has_work=False)),
    "recalled": after(INSTALLING, CancelRequested(at=20)),
}


@pytest.mark.parametrize("target", UNTICKED.values(), ids=UNTICKED)
def test_a_tick_is_worth_nothing_where_the_device_has_not_said_that_it_is_at_wanted_work(target: Target) -> None:
    assert after(target, Ticked(at=500)) == target


def test_an_end_absorbs() -> None:
    done = after(SENT, said(AttemptState.SUCCEEDED))
    for event in (CancelRequested(at=5), DueReached(at=10**9), RecallHeard(at=5), GivenUp(at=5, detail="stolen")):
        assert step(done, event, POLICY) == (done, ())


@pytest.mark.parametrize(("before", "attempt_state"), [(Target(), None), (INSTALLING, AttemptState.FAILED)])
def test_a_device_that_is_given_up_fails_at_once_and_blames_nobody(
    before: Target, attempt_state: AttemptState | None
) -> None:
    end = after(before, GivenUp(at=5, detail="stolen"))
    assert (end.state, end.attempt_state, end.reason, end.detail, end.left, end.due, end.is_blamed) == (
        TargetState.FAILED,
        attempt_state,
        Reason.GIVEN_UP,
        "stolen",
        None,
        None,
        False,
    )


@pytest.mark.parametrize(("target", "attempt_state"), [(Target(), None), (INSTALLING, AttemptState.CANCELLED)])
def test_a_device_that_left_the_fleet_is_removed_at_once(target: Target, attempt_state: AttemptState | None) -> None:
    end = after(target, Removed(at=5, detail="sold"))
    assert (end.state, end.attempt_state, end.due) == (TargetState.REMOVED, attempt_state, None)
    assert (end.reason, end.detail) == (Reason.DEVICE_BLOCKED, "sold")
    assert delta(target, end).started == -delta(Target(), target).started
    assert after(end, Removed(at=6, detail="again")) == end


def test_backoff_doubles_with_jitter_and_is_the_same_when_asked_again() -> None:
    for attempt in range(1, 20):
        longest = 1_000 << min(attempt - 1, 10)
        waits = {backoff_ms(msgspec.structs.replace(POLICY, jitter_key=str(key)), attempt) for key in range(50)}
        assert all(longest // 2 <= wait < longest for wait in waits)
        assert len(waits) > 25
        assert backoff_ms(POLICY, attempt) == backoff_ms(POLICY, attempt)


def test_every_state_but_two_is_an_end() -> None:
    assert {state for state in TargetState if not state.is_terminal} == {TargetState.QUEUED, TargetState.IN_PROGRESS}
    assert set(TRANSITIONS) == set(TargetState)


def test_a_device_that_is_rejected_never_counts_as_started() -> None:
    rejected = after(SENT, said(AttemptState.REJECTED, reason=Reason.WRONG_HARDWARE))
    assert delta(SENT, rejected).started == 0


def test_a_device_that_started_and_was_called_back_counts_no_longer() -> None:
    called_back = after(INSTALLING, said(AttemptState.CANCELLED, reason=Reason.CANCELLED))
    assert delta(INSTALLING, called_back).started == -1


def test_a_device_that_waits_for_another_attempt_still_counts_as_started() -> None:
    waiting = after(INSTALLING, said(AttemptState.FAILED, reason=Reason.INTERRUPTED))
    assert delta(INSTALLING, waiting).started == 0


TARGETS = st.builds(
    Target,
    state=st.just(TargetState.SUCCEEDED) | st.sampled_from(TargetState),
    reason=st.none() | st.sampled_from([Reason.LEASE_ENDED, Reason.VERIFY_FAILED]),
    left=st.none() | st.sampled_from(Left),
    health=st.none() | st.sampled_from(Mark),
    attempt=st.integers(0, 2),
    **dict.fromkeys(("is_started", "is_blamed", "is_idle", "cancel_requested"), st.booleans()),
)
SUMMED = ("started", "exposed", "resolved", "spared", "waiting", "blamed", "bricked", "faultless", "unwell")


def numbers(before: Target, after: Target) -> list[int]:
    return [getattr(delta(before, after), name) for name in SUMMED]


@given(TARGETS, TARGETS)
def test_the_changes_of_a_device_add_up_to_how_it_stands(before: Target, after: Target) -> None:
    began, stands = numbers(Target(), before), numbers(Target(), after)
    assert numbers(before, after) == [now - then for then, now in zip(began, stands, strict=True)]


@pytest.mark.parametrize("name", [one.name for one in msgspec.structs.fields(Target)])
@given(TARGETS, TARGETS)
def test_so_do_they_where_only_one_thing_changes(name: str, before: Target, other: Target) -> None:
    after = msgspec.structs.replace(before, **{name: getattr(other, name)})
    began, stands = numbers(Target(), before), numbers(Target(), after)
    assert numbers(before, after) == [now - then for then, now in zip(began, stands, strict=True)]
