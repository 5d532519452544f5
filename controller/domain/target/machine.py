"""What each event makes of one device in one run; the rules are those of the package."""

import hashlib
from collections.abc import Mapping
from typing import Final, assert_never

import msgspec

from controller.domain.target import silence
from controller.domain.target.events import (
    Anomaly,
    CameOnline,
    CancelRequested,
    Continued,
    Discharged,
    DueReached,
    Effect,
    Event,
    Excused,
    GivenUp,
    Marked,
    Measured,
    RecallHeard,
    RefusedCommand,
    Reissue,
    Reissued,
    Released,
    Removed,
    Reported,
    Returned,
    Seen,
    ShutOut,
    Suspended,
    Ticked,
    Told,
    Unseen,
    WentOffline,
)
from controller.domain.target.health import marked
from controller.domain.target.measures import begun_after, measured
from controller.domain.target.model import Policy, Target, TargetState
from protocol.lifecycle import AttemptState, Left, may_follow
from protocol.reasons import BLAME, REISSUED, Blame, Reason, is_retried
from protocol.units import SECOND

_ENDS: Final[Mapping[AttemptState, TargetState]] = {
    AttemptState.SUCCEEDED: TargetState.SUCCEEDED,
    AttemptState.FAILED: TargetState.FAILED,
    AttemptState.REJECTED: TargetState.REJECTED,
    AttemptState.TIMED_OUT: TargetState.TIMED_OUT,
    AttemptState.CANCELLED: TargetState.CANCELLED,
}

_OVERDUE: Final[Mapping[AttemptState, Reason]] = {
    AttemptState.SENT: Reason.NOT_ACCEPTED,
    AttemptState.ACCEPTED: Reason.LEASE_ENDED,
    AttemptState.DOWNLOADING: Reason.LEASE_ENDED,
    AttemptState.INSTALLING: Reason.SILENT_IN_INSTALL,
    AttemptState.VERIFYING: Reason.SILENT_IN_INSTALL,
}


RECALL_MS: Final = 30 * SECOND
"""How long a recalled device that never accepted its command is waited for. Its command is void by then: the epoch
or the sequence number of the recall makes the device refuse it."""

IDLE_MS: Final = 60 * SECOND
"""How long a device that has no work in hand any more is given to tell the end of its attempt: its outbox says hello
first, and sends a report that was lost again after half of that."""


Outcome = tuple[Target, tuple[Effect, ...]]


def step(target: Target, event: Event, policy: Policy) -> Outcome:
    """Return the target after *event*, and what is to be done about it."""
    match event:
        case Released():
            return _released(target, event, policy)
        case Reissued():
            return _changed(target, command=event.command), ()
        case Suspended():
            return (_changed(target, due=None) if is_unaccepted(target) else target), ()
        case Continued():
            return _continued(target, event, policy), ()
        case DueReached():
            return _due_reached(target, event, policy)
        case WentOffline() | CameOnline() | Unseen() | Excused() | ShutOut():
            return silence.seen(target, event, policy), ()
        case CancelRequested():
            return _cancel_requested(target, event)
        case Returned():
            return _returned(target, event), ()
        case Discharged():
            return _discharged(target), ()
        case GivenUp():
            return _ended_by_hand(target, TargetState.FAILED, Reason.GIVEN_UP, event.detail), ()
        case Removed():
            return _ended_by_hand(target, TargetState.REMOVED, Reason.DEVICE_BLOCKED, event.detail), ()
        case _:
            return _told(target, event, policy)


def _told(target: Target, event: Told, policy: Policy) -> Outcome:
    match event:
        case Reported():
            return _reported(target, event, policy)
        case RefusedCommand():
            return _refused(target, event, policy)
        case RecallHeard():
            return _recall_heard(target)
        case Seen():
            return _seen(target, event, policy), ()
        case Ticked():
            return _ticked(target, event, policy), ()
        case Marked():
            return marked(target, event, policy)
        case Measured():
            return measured(target, event, policy)
        case _:
            assert_never(event)


def backoff_ms(policy: Policy, attempt: int) -> int:
    """Return the wait after *attempt*: doubling, with full jitter above half, the same whenever it is asked."""
    longest = policy.retry.backoff_ms << min(attempt - 1, 10)
    drawn = hashlib.sha256(f"{policy.jitter_key}\0{attempt}".encode()).digest()
    return longest // 2 + int.from_bytes(drawn[:4], "big") * (longest // 2) // 2**32


def _changed(target: Target, **changes: object) -> Target:
    return msgspec.structs.replace(target, **changes)


def _released(target: Target, event: Released, policy: Policy) -> Outcome:
    assert target.state is TargetState.QUEUED, f"only a queued device is released, not one {target.state}"
    is_compared = target.is_compared or event.is_compared
    begun = Target(
        state=TargetState.IN_PROGRESS,
        attempt=target.attempt + 1,
        attempt_state=AttemptState.SENT,
        command=event.command,
        due=event.at + policy.timeouts.accept_ms,
        is_started=target.is_started,
        is_blamed=target.is_blamed,
        health=None if is_compared and not target.is_unwell else target.health,
        health_detail=target.health_detail,
        recalls=target.recalls,
        wave=target.wave,
        is_control=target.is_control,
        is_compared=is_compared,
        watches=target.watches,
    )
    return begun_after(target, begun), ()


def is_unaccepted(target: Target) -> bool:
    """Say whether a device is at work that has accepted no command for it, and nobody has called back."""
    is_sent = target.state is TargetState.IN_PROGRESS and target.attempt_state is AttemptState.SENT
    return is_sent and not target.cancel_requested


def is_suspended(target: Target) -> bool:
    """Say whether an attempt waits for the end of a freeze, or of a pause since then, to be commanded anew."""
    return is_unaccepted(target) and target.due is None


def _continued(target: Target, event: Continued, policy: Policy) -> Target:
    return _changed(target, due=event.at + policy.timeouts.accept_ms) if is_suspended(target) else target


def _reported(target: Target, event: Reported, policy: Policy) -> Outcome:
    if event.attempt != target.attempt or target.attempt_state is None:
        return target, (Anomaly(kind="other_attempt"),)
    if target.state is not TargetState.IN_PROGRESS:
        return _late(target, event)
    is_repeat = event.state is target.attempt_state is not AttemptState.SENT
    if not is_repeat and not may_follow(target.attempt_state, event.state):
        return target, (Anomaly(kind="out_of_order"),)
    wave = target.wave if target.is_started else policy.wave
    started = _changed(target, is_started=True, is_idle=False, wave=wave)
    if event.state.is_terminal:
        return silence.watched(_ended(started, event, policy), event.at, policy), ()
    accepted = _changed(started, attempt_state=event.state, accepted_at=_first(target.accepted_at, event.at))
    return _changed(accepted, due=_lease_end(accepted, event.at, policy)), ()


def _first(known: int | None, at: int) -> int:
    return at if known is None else known


def _lease_end(target: Target, at: int, policy: Policy) -> int:
    """Return when an attempt ends of which a sign of life came at *at*."""
    return min(at + policy.timeouts.lease_ms, _first(target.accepted_at, at) + policy.timeouts.attempt_ms)


def _late(target: Target, event: Reported) -> Outcome:
    if event.state is AttemptState.SUCCEEDED and target.attempt_state is not AttemptState.SUCCEEDED:
        if target.late_success_at is None:
            return _changed(target, late_success_at=event.at), ()
        return target, ()
    is_repeat = event.state is target.attempt_state
    return target, () if is_repeat else (Anomaly(kind="late"),)


def _ended(target: Target, end: Reported, policy: Policy) -> Target:
    """Close the current attempt, and queue the device for another one where reason and budget allow."""
    reason = end.reason or (None if end.state is AttemptState.SUCCEEDED else Reason.OTHER)
    is_failure = end.state in {AttemptState.FAILED, AttemptState.TIMED_OUT}
    closed = _changed(
        target,
        state=_ENDS[end.state],
        attempt_state=end.state,
        due=None,
        reason=reason,
        detail=end.detail,
        left=end.left,
        outputs=end.outputs,
        is_idle=False,
        returns=False,
        is_blamed=target.is_blamed or (is_failure and reason is not None and BLAME[reason] is Blame.BUILD),
    )
    if target.returns and _is_never_begun(target, end):
        return _queued_again(target)
    if target.cancel_requested and not target.returns:
        return closed if not _is_lease_end(end) else _changed(closed, state=TargetState.CANCELLED)
    may_retry = is_failure and reason is not None and is_retried(reason) and end.left is not Left.BROKEN
    if not may_retry or target.attempt >= policy.retry.attempts_max + target.recalls + target.watches:
        return closed
    return _changed(closed, state=TargetState.QUEUED, due=end.at + backoff_ms(policy, target.attempt - target.watches))


def _is_never_begun(target: Target, end: Reported) -> bool:
    """Say whether an attempt that was called back ends as it should: undone, or never accepted."""
    is_unheard = _is_lease_end(end) and target.attempt_state is AttemptState.SENT
    return end.state is AttemptState.CANCELLED or is_unheard


def _is_lease_end(end: Reported) -> bool:
    return end.state is AttemptState.TIMED_OUT


def _refused(target: Target, event: RefusedCommand, policy: Policy) -> Outcome:
    is_current = target.state is TargetState.IN_PROGRESS and event.command == target.command
    if not is_current or target.attempt_state is not AttemptState.SENT:
        return target, (Anomaly(kind="refusal_of_another_command"),)
    if target.cancel_requested:
        return _called_off(target), ()
    if event.code in REISSUED:
        return target, (Reissue(),)
    end = Reported(
        at=event.at,
        attempt=target.attempt,
        state=AttemptState.FAILED,
        reason=Reason.REFUSED,
        detail=event.code,
    )
    return _ended(target, end, policy), ()


def _due_reached(target: Target, event: DueReached, policy: Policy) -> Outcome:
    if target.due is None or target.due > event.at:
        return target, ()
    if target.state is TargetState.SUCCEEDED:
        return silence.fallen_silent(target), ()
    if target.state is TargetState.QUEUED:
        return _changed(target, due=None), ()
    assert target.attempt_state is not None
    end = Reported(
        at=event.at,
        attempt=target.attempt,
        state=AttemptState.TIMED_OUT,
        reason=Reason.LEASE_ENDED if target.is_idle else _OVERDUE[target.attempt_state],
    )
    return _ended(target, end, policy), ()


def _cancel_requested(target: Target, event: CancelRequested) -> Outcome:
    if target.state is TargetState.QUEUED:
        end = TargetState.TIMED_OUT if event.timed_out else TargetState.CANCELLED
        default = Reason.NEVER_STARTED if event.timed_out else Reason.CANCELLED
        reason = event.reason or target.reason or default
        return _changed(target, state=end, due=None, reason=reason), ()
    if target.state is not TargetState.IN_PROGRESS:
        return target, ()
    due = target.due
    if target.attempt_state is AttemptState.SENT:
        recalled = event.at + RECALL_MS
        due = recalled if due is None else min(due, recalled)
    return _changed(target, cancel_requested=True, returns=False, due=due), ()


def _returned(target: Target, event: Returned) -> Target:
    if not is_unaccepted(target):
        return target
    due = event.at + RECALL_MS if target.due is None else min(target.due, event.at + RECALL_MS)
    return _changed(target, cancel_requested=True, returns=True, recalls=target.recalls + 1, due=due)


def _discharged(target: Target) -> Target:
    assert target.is_control, "only a control device is discharged"
    assert target.state is not TargetState.IN_PROGRESS, "a device at work is discharged when that has ended"
    return Target(attempt=target.attempt, watches=target.attempt)


def _queued_again(target: Target) -> Target:
    """Queue a device whose attempt was called back for that; it has not begun anything, or has undone it."""
    end = AttemptState.CANCELLED
    return _changed(target, state=TargetState.QUEUED, attempt_state=end, due=None, returns=False)


def _recall_heard(target: Target) -> Outcome:
    is_unheard = target.state is TargetState.IN_PROGRESS and target.attempt_state is AttemptState.SENT
    if not is_unheard or not target.cancel_requested:
        return target, ()
    return _called_off(target), ()


def _seen(target: Target, event: Seen, policy: Policy) -> Target:
    """Renew the lease of work in hand; let that of work that is no more end before long.

    What became of such work is not known: its last report may be on its way, or somebody else has taken it in, as a
    copy of the device on the same broker does. So nobody is blamed, and the build least of all.
    """
    if target.state is not TargetState.IN_PROGRESS or target.attempt_state is AttemptState.SENT:
        return target
    if event.has_work:
        return _changed(target, is_idle=False, due=_lease_end(target, event.at, policy))
    if target.is_idle:
        return target
    assert target.due is not None
    return _changed(target, is_idle=True, due=min(target.due, event.at + IDLE_MS))


def _ticked(target: Target, event: Ticked, policy: Policy) -> Target:
    """Make the lease of work longer that is still wanted, and that the device has in hand by its own signed word."""
    is_at_work = target.state is TargetState.IN_PROGRESS and target.accepted_at is not None
    if not is_at_work or target.is_idle or target.cancel_requested:
        return target
    assert target.due is not None
    return _changed(target, due=max(target.due, _lease_end(target, event.at, policy)))


def _called_off(target: Target) -> Target:
    """End an attempt that was recalled before the device began anything; what it was left with it has not told."""
    if target.returns:
        return _queued_again(target)
    end = AttemptState.CANCELLED
    return _changed(target, state=_ENDS[end], attempt_state=end, due=None, reason=Reason.CANCELLED)


def _ended_by_hand(target: Target, state: TargetState, reason: Reason, detail: str) -> Target:
    """End the device's part at once; what it may still report of its attempt comes late.

    One that is held back would be updated after its end, unless it has left.
    """
    is_out = target.is_control and state is TargetState.REMOVED
    if target.state.is_terminal and not is_out:
        return target
    ended = AttemptState.FAILED if state is TargetState.FAILED else AttemptState.CANCELLED
    attempt_state = ended if target.state is TargetState.IN_PROGRESS else target.attempt_state
    return _changed(
        target,
        state=state,
        attempt_state=attempt_state,
        due=None,
        reason=reason,
        detail=detail,
        left=None,
    )
