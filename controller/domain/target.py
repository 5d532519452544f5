"""One device in one run: its states, its attempts, and what each event makes of it.

The rules this module keeps:

1. `step` is total: nothing a device says makes it raise. What does not fit is an `Anomaly` and changes nothing.
2. A terminal state absorbs; a late success is noted and moves no counter.
3. A report of another attempt than the current one never changes the current one.
4. A new attempt begins only after the last one's terminal report or the end of its lease, within the budget.

`at` and `due` are in the run's own time (`controller.domain.clock`).
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, assert_never

import msgspec

from controller.domain.pipeline import Retry, Timeouts
from protocol.ids import Digest
from protocol.lifecycle import AttemptState, Left, may_follow
from protocol.outputs import Outputs
from protocol.reasons import BLAME, REISSUED, Blame, Reason, RejectCode, is_retried
from protocol.units import SECOND


class TargetState(StrEnum):
    """Where a device stands in a run; one counter of its stage each."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REMOVED = "removed"

    @property
    def is_terminal(self) -> bool:
        """Say whether no other state can follow."""
        return not TRANSITIONS[self]


_T = TargetState

TRANSITIONS: Final[Mapping[TargetState, frozenset[TargetState]]] = {
    _T.QUEUED: frozenset({_T.IN_PROGRESS, _T.FAILED, _T.CANCELLED, _T.TIMED_OUT, _T.REMOVED}),
    _T.IN_PROGRESS: frozenset(
        {_T.QUEUED, _T.SUCCEEDED, _T.FAILED, _T.REJECTED, _T.TIMED_OUT, _T.CANCELLED, _T.REMOVED}
    ),
    _T.SUCCEEDED: frozenset(),
    _T.FAILED: frozenset(),
    _T.REJECTED: frozenset(),
    _T.TIMED_OUT: frozenset(),
    _T.CANCELLED: frozenset(),
    _T.REMOVED: frozenset(),
}

_ENDS: Final[Mapping[AttemptState, TargetState]] = {
    AttemptState.SUCCEEDED: _T.SUCCEEDED,
    AttemptState.FAILED: _T.FAILED,
    AttemptState.REJECTED: _T.REJECTED,
    AttemptState.TIMED_OUT: _T.TIMED_OUT,
    AttemptState.CANCELLED: _T.CANCELLED,
}

_UNCOUNTED: Final = frozenset({_T.REJECTED, _T.CANCELLED, _T.REMOVED})
"""Ends that no share counts, neither above nor below the line."""

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


class Target(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A device's part in a run.

    `command` is the digest of the current attempt's newest command. `due` is when the attempt, or the wait before
    the next one, ends. `outputs` are those of the report that ended the newest attempt. `is_started` and `is_blamed`
    are what the gate counts; they are never taken back. `is_idle` says that the device had the attempt's work no more
    when it was last heard of, `accepted_at` when it was first heard of the attempt. `cancel_requested` calls an attempt
    back; with `returns` the device then goes back to the queue. `recalls` counts the attempts that were called back so:
    they cost nothing of the budget.
    """

    state: TargetState = TargetState.QUEUED
    attempt: int = 0
    attempt_state: AttemptState | None = None
    command: Digest | None = None
    due: int | None = None
    reason: Reason | None = None
    detail: str = ""
    left: Left | None = None
    outputs: Outputs = {}
    is_started: bool = False
    is_blamed: bool = False
    cancel_requested: bool = False
    is_idle: bool = False
    accepted_at: int | None = None
    returns: bool = False
    recalls: int = 0
    late_success_at: int | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What of a stage's definition governs one device; `jitter_key` spreads retries (run and device)."""

    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    jitter_key: str = ""


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """A command for a new attempt was committed."""

    at: int
    command: Digest


class Reissued(msgspec.Struct, frozen=True, kw_only=True):
    """A newer command for the current attempt was committed; the attempt's clock goes on, so this is bounded."""

    command: Digest


class Suspended(msgspec.Struct, frozen=True, kw_only=True):
    """A freeze began before the device accepted: the attempt waits for its end, and for no deadline of its own."""


class Continued(msgspec.Struct, frozen=True, kw_only=True):
    """A suspended attempt goes on: its clock begins anew."""

    at: int


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """The device reported a state of an attempt, signed."""

    at: int
    attempt: int
    state: AttemptState
    reason: Reason | None = None
    detail: str = ""
    left: Left | None = None
    outputs: Outputs = {}


class RefusedCommand(msgspec.Struct, frozen=True, kw_only=True):
    """The device refused the command with this digest."""

    at: int
    command: Digest
    code: RejectCode


class DueReached(msgspec.Struct, frozen=True, kw_only=True):
    """Run time reached `due`."""

    at: int


class CancelRequested(msgspec.Struct, frozen=True, kw_only=True):
    """The run no longer wants this device to be changed, or the stage's time is over (`timed_out`)."""

    at: int
    timed_out: bool = False


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """The device may not begin after all: what it has not accepted is called back, and it waits in the queue again."""

    at: int


class RecallHeard(msgspec.Struct, frozen=True, kw_only=True):
    """The device took note of the recall and has no work of this run in hand.

    The command that was to start some has a lower sequence number than the recall, so the device will refuse it.
    """

    at: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The device took note of the current command, and says whether it has the attempt's work in hand."""

    at: int
    has_work: bool


class Ticked(msgspec.Struct, frozen=True, kw_only=True):
    """The device told its progress, unsigned, `at` some time: good for a longer lease and for nothing else."""

    at: int


class GivenUp(msgspec.Struct, frozen=True, kw_only=True):
    """An operator waits for this device no longer: it counts as failed, and the build is not to blame."""

    at: int
    detail: str


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """The device was taken out of the fleet."""

    at: int
    detail: str


Told = Reported | RefusedCommand | RecallHeard | Seen | Ticked
"""What a device says."""

Event = Released | Reissued | Suspended | Continued | Told | DueReached | CancelRequested | Returned | GivenUp | Removed


class Reissue(msgspec.Struct, frozen=True, kw_only=True):
    """Make a new command for the current attempt."""


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """Something did not fit and changed nothing; it is counted and logged."""

    kind: str


Effect = Reissue | Anomaly
Outcome = tuple[Target, tuple[Effect, ...]]


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """How one device's change shows in its stage: the counters it left and entered, what the gate counts, what it told.

    `outputs` are told once, when the device's part ends, so that they can be summed up and never taken back.
    """

    before: TargetState
    after: TargetState
    started: int = 0
    blamed: int = 0
    bricked: int = 0
    outputs: Outputs = {}


def delta(before: Target, after: Target) -> Delta:
    """Return how the change from *before* to *after* shows in the stage."""
    return Delta(
        before=before.state,
        after=after.state,
        started=_counts_as_started(after) - _counts_as_started(before),
        blamed=after.is_blamed - before.is_blamed,
        bricked=(after.left is Left.BROKEN) - (before.left is Left.BROKEN),
        outputs=after.outputs if after.state.is_terminal and not before.state.is_terminal else {},
    )


def _counts_as_started(target: Target) -> bool:
    return target.is_started and target.state not in _UNCOUNTED


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
        case CancelRequested():
            return _cancel_requested(target, event)
        case Returned():
            return _returned(target, event), ()
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
    return Target(
        state=TargetState.IN_PROGRESS,
        attempt=target.attempt + 1,
        attempt_state=AttemptState.SENT,
        command=event.command,
        due=event.at + policy.timeouts.accept_ms,
        is_started=target.is_started,
        is_blamed=target.is_blamed,
        recalls=target.recalls,
    ), ()


def is_unaccepted(target: Target) -> bool:
    """Say whether a device is at work that has accepted no command for it, and nobody has called back."""
    is_sent = target.state is TargetState.IN_PROGRESS and target.attempt_state is AttemptState.SENT
    return is_sent and not target.cancel_requested


def _continued(target: Target, event: Continued, policy: Policy) -> Target:
    is_suspended = is_unaccepted(target) and target.due is None
    return _changed(target, due=event.at + policy.timeouts.accept_ms) if is_suspended else target


def _reported(target: Target, event: Reported, policy: Policy) -> Outcome:
    if event.attempt != target.attempt or target.attempt_state is None:
        return target, (Anomaly(kind="other_attempt"),)
    if target.state is not TargetState.IN_PROGRESS:
        return _late(target, event)
    is_repeat = event.state is target.attempt_state is not AttemptState.SENT
    if not is_repeat and not may_follow(target.attempt_state, event.state):
        return target, (Anomaly(kind="out_of_order"),)
    started = _changed(target, is_started=True, is_idle=False)
    if event.state.is_terminal:
        return _ended(started, event, policy), ()
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
    if not may_retry or target.attempt >= policy.retry.attempts_max + target.recalls:
        return closed
    return _changed(closed, state=TargetState.QUEUED, due=end.at + backoff_ms(policy, target.attempt))


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
        reason = target.reason or (Reason.NEVER_STARTED if event.timed_out else Reason.CANCELLED)
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
    """End the device's part at once; what it may still report of its attempt comes late."""
    if target.state.is_terminal:
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
