"""What a stage counts: the eight counters, and the n and k of its gate. They always sum to the stage's targets."""

from collections.abc import Iterable
from typing import assert_never

import msgspec

from controller.domain.pipeline import Denominator
from controller.domain.target import Delta


class Tally(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A stage in numbers, or the devices of one model in it.

    The last eight are no states: they say what became of devices, whatever state they are in now.

    `started` is without those that no share counts. `exposed` are all that ever began and did not turn the work down,
    `resolved` are those of them of which it is known how it went, `spared` those of the latter that ended without a
    word on the build, and `waiting` those that are queued for another attempt. `blamed` only ever grows. `unwell` are
    those of `succeeded` that told a bad mark afterwards or fell silent; they are `blamed`, too.
    """

    queued: int = 0
    in_progress: int = 0
    succeeded: int = 0
    failed: int = 0
    rejected: int = 0
    timed_out: int = 0
    cancelled: int = 0
    removed: int = 0
    started: int = 0
    exposed: int = 0
    resolved: int = 0
    spared: int = 0
    waiting: int = 0
    blamed: int = 0
    bricked: int = 0
    unwell: int = 0

    @property
    def unresolved(self) -> int:
        """The devices that began and may yet prove to have failed."""
        return self.exposed - self.resolved

    @property
    def well(self) -> int:
        """The devices that succeeded, told of no harm since, and did not fall silent."""
        return self.succeeded - self.unwell

    @property
    def targets(self) -> int:
        """The stage's devices, whatever became of them."""
        ended = self.succeeded + self.failed + self.rejected + self.timed_out + self.cancelled + self.removed
        return self.queued + self.in_progress + ended

    @property
    def is_settled(self) -> bool:
        """Say whether no device is queued or at work."""
        return not (self.queued or self.in_progress)

    @property
    def counted(self) -> int:
        """The devices that shares are taken of: all but rejected, removed and cancelled ones."""
        return self.targets - self.rejected - self.removed - self.cancelled

    def of(self, denominator: Denominator) -> int:
        """Return the number that a share of *denominator* is a share of."""
        match denominator:
            case Denominator.TARGETS:
                return self.counted
            case Denominator.SENT:
                return self.counted - self.queued
            case Denominator.STARTED:
                return self.started
            case Denominator.FINISHED:
                return self.succeeded + self.failed + self.timed_out
            case _:
                assert_never(denominator)


def without(tally: Tally, others: Iterable[Tally]) -> Tally:
    """Return the numbers of a stage without some of its devices.

    >>> without(Tally(queued=5, succeeded=9, exposed=9), [Tally(queued=2, succeeded=1, exposed=1), Tally(queued=1)])
    Tally(queued=2, in_progress=0, succeeded=8, ...)
    """
    counts = msgspec.structs.asdict(tally)
    for other in others:
        for name, count in msgspec.structs.asdict(other).items():
            counts[name] -= count
    assert all(count >= 0 for count in counts.values()), f"more devices are taken out than there are: {counts}"
    return Tally(**counts)


def folded(tally: Tally, deltas: Iterable[Delta]) -> Tally:
    """Return *tally* after the changes of any number of devices.

    >>> from controller.domain.target import Delta, TargetState
    >>> folded(Tally(queued=2), [Delta(before=TargetState.QUEUED, after=TargetState.IN_PROGRESS)])
    Tally(queued=1, in_progress=1, ...)
    """
    counts = msgspec.structs.asdict(tally)
    for delta in deltas:
        counts[delta.before.value] -= 1
        counts[delta.after.value] += 1
        counts["started"] += delta.started
        counts["exposed"] += delta.exposed
        counts["resolved"] += delta.resolved
        counts["spared"] += delta.spared
        counts["waiting"] += delta.waiting
        counts["blamed"] += delta.blamed
        counts["bricked"] += delta.bricked
        counts["unwell"] += delta.unwell
    assert all(count >= 0 for count in counts.values()), f"a counter fell below zero: {counts}"
    return Tally(**counts)
