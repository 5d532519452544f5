"""One device in one run as data: where it stands, and how a change of it shows in its stage."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from controller.domain.pipeline import Retry, Timeouts
from protocol.health import Mark
from protocol.ids import Digest
from protocol.lifecycle import AttemptState, Left
from protocol.outputs import Outputs
from protocol.reasons import Reason
from protocol.units import Instant


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

_UNCOUNTED: Final = frozenset({_T.REJECTED, _T.CANCELLED, _T.REMOVED})
"""Ends that no share counts, neither above nor below the line."""


Measures = Mapping[str, float]
"""What a device told of the metrics that its stage compares, by name."""


class Target(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A device's part in a run.

    `command` is the digest of the current attempt's newest command. `due` is when the attempt, or the wait before
    the next one, ends. `outputs` are those of the report that ended the newest attempt. `is_started` and `is_blamed`
    are what the gate counts; they are never taken back. `is_idle` says that the device had the attempt's work no more
    when it was last heard of, `accepted_at` when it was first heard of the attempt. `cancel_requested` calls an attempt
    back; with `returns` the device then goes back to the queue. `recalls` counts the attempts that were called back so:
    they cost nothing of the budget. `health` is the mark that counts of what the device told after a success, and
    `wave` says with whom it first began, where its gate asks for that. Before `watched_until` it counts if the device
    stays offline, from which `is_silent` comes; see `controller.domain.target.silence`.
    `is_control` says that the device is held back to be compared with: its attempts are watches of what it has. Once it
    is discharged, `watches` counts those attempts, which say nothing of the build and cost nothing of the budget.
    `is_compared` is said of who was asked to watch in a stage with such devices; see `controller.domain.control`.
    `measures` are the numbers that count of what it told, as of wall time `measured_at`; `is_paired` once they are
    compared with those of another device.
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
    health: Mark | None = None
    health_detail: str = ""
    wave: int | None = None
    watched_until: int | None = None
    is_silent: bool = False
    is_control: bool = False
    is_compared: bool = False
    watches: int = 0
    measures: Measures = {}
    measured_at: Instant | None = None
    is_paired: bool = False

    @property
    def is_unwell(self) -> bool:
        """Say whether the device told that its new release did it no good."""
        return self.health is not None and self.health.is_bad


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What of a stage governs one device; `jitter_key` spreads retries (run and device).

    `watch_ms` is how long it is to watch its release after the success. Who begins now is of that `wave`, or of none;
    see `controller.domain.waves`. With `silent_after_ms` who is offline for that long within `soak_ms` after its
    success counts as failed. `metrics` are the names of the numbers that are compared.
    """

    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    watch_ms: int = 0
    jitter_key: str = ""
    wave: int | None = None
    silent_after_ms: int | None = None
    soak_ms: int = 0
    metrics: tuple[str, ...] = ()


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """How one device's change shows in its stage: the counters it left and entered, what the gate counts, what it told.

    See `controller.domain.counters.Tally` for the words.
    `outputs` are told once, when the device's part ends, so that they can be summed up and never taken back. `model` is
    the device's, as far as the run knows it, and `wave` that in which it began; it is `faultless` if it succeeded and
    never failed. The last five are what a comparison with control devices counts, of both kinds.
    """

    before: TargetState
    after: TargetState
    started: int = 0
    exposed: int = 0
    resolved: int = 0
    spared: int = 0
    waiting: int = 0
    blamed: int = 0
    bricked: int = 0
    faultless: int = 0
    unwell: int = 0
    outputs: Outputs = {}
    model: str | None = None
    wave: int | None = None
    is_control: bool = False
    watched: int = 0
    at_risk: int = 0
    crashed: int = 0
    measured: int = 0


def delta(before: Target, after: Target, *, model: str | None = None) -> Delta:
    """Return how the change from *before* to *after* of a device of *model* shows in the stage.

    Most reports are of progress, which shows nowhere: of them nothing is worked out.
    """
    if _shown(before) == _shown(after):
        state = after.state
        return Delta(before=state, after=state, model=model, wave=after.wave, is_control=before.is_control)
    return Delta(
        before=before.state,
        after=after.state,
        started=_counts_as_started(after) - _counts_as_started(before),
        exposed=is_exposed(after) - is_exposed(before),
        resolved=is_resolved(after) - is_resolved(before),
        spared=is_spared(after) - is_spared(before),
        waiting=is_waiting(after) - is_waiting(before),
        blamed=after.is_blamed - before.is_blamed,
        bricked=(after.left is Left.BROKEN) - (before.left is Left.BROKEN),
        faultless=_is_faultless(after) - _is_faultless(before),
        unwell=_counts_as_unwell(after) - _counts_as_unwell(before),
        outputs=after.outputs if after.state.is_terminal and not before.state.is_terminal else {},
        model=model,
        wave=after.wave,
        is_control=before.is_control,
        watched=int(_is_watched(after) and not _is_watched(before)),
        at_risk=is_at_risk(after) - is_at_risk(before),
        crashed=int(is_crashed(after) and not is_crashed(before)),
        measured=_is_measured(after) - _is_measured(before),
    )


def _shown(target: Target) -> tuple[object, ...]:
    """Return all of a device that any number of its stage is made of."""
    told = target.reason, target.is_started, target.is_blamed, target.left, target.health, target.is_silent
    return target.state, target.is_control, target.is_compared, _is_measured(target), *told


def _counts_as_started(target: Target) -> bool:
    return target.is_started and target.state not in _UNCOUNTED


def _is_faultless(target: Target) -> bool:
    return target.state is TargetState.SUCCEEDED and not target.is_blamed


def _counts_as_unwell(target: Target) -> bool:
    is_harmed = (target.is_unwell and not target.is_compared) or target.is_silent
    return is_harmed and target.state is TargetState.SUCCEEDED


def _is_watched(target: Target) -> bool:
    return target.is_compared and target.state is TargetState.SUCCEEDED


def _is_measured(target: Target) -> bool:
    return target.measured_at is not None


def is_at_risk(target: Target) -> bool:
    """Say whether a comparison expects a first crash of a device; see `controller.domain.control` for who is."""
    is_begun = target.state is TargetState.IN_PROGRESS and not target.is_control
    return target.health is None and target.is_compared and (is_begun or target.state is TargetState.SUCCEEDED)


def is_crashed(target: Target) -> bool:
    """Say whether a comparison counts a device as crashed."""
    return _is_watched(target) and target.is_unwell


def is_exposed(target: Target) -> bool:
    """Say whether a device has begun. One that turned the work down has not, unless it had failed on it before."""
    return target.is_started and (target.is_blamed or target.state is not TargetState.REJECTED)


def is_resolved(target: Target) -> bool:
    """Say whether it is known how it went with a device that has begun; of one that fell silent it is not."""
    is_known = target.state.is_terminal and target.reason is not Reason.LEASE_ENDED
    return is_exposed(target) and (target.is_blamed or is_known)


def is_spared(target: Target) -> bool:
    """Say whether a device that has begun ended without a word on the build: no download, no power, or called back."""
    return is_resolved(target) and not target.is_blamed and target.state is not TargetState.SUCCEEDED


def is_waiting(target: Target) -> bool:
    """Say whether a device that has begun waits for another attempt."""
    return is_exposed(target) and target.state is TargetState.QUEUED
