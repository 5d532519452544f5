"""Run time: wall time less the spans in which the run was paused or the controller was down.

>>> clock = RunClock().started(Instant(1_000))
>>> clock.run_time(Instant(1_500))
500
>>> paused = clock.stopped(Instant(1_500))
>>> paused.run_time(Instant(9_000)), paused.wall(500)
(500, None)
>>> paused.started(Instant(9_000)).run_time(Instant(9_100))
600
"""

import msgspec

from protocol.units import Instant


class RunClock(msgspec.Struct, frozen=True, kw_only=True):
    """`base` milliseconds of run time had passed at `since`; the clock stands still while `since` is None."""

    base: int = 0
    since: Instant | None = None

    def run_time(self, at: Instant) -> int:
        """Return the run time at wall time *at*; a wall clock that jumped back adds nothing."""
        return self.base if self.since is None else self.base + max(0, at - self.since)

    def wall(self, due: int) -> Instant | None:
        """Return the wall time at which run time *due* will be reached, or None while the clock stands still."""
        return None if self.since is None else Instant(self.since + max(0, due - self.base))

    def started(self, at: Instant) -> "RunClock":
        """Return the clock running from *at* on; one that runs already is left as it is."""
        return self if self.since is not None else RunClock(base=self.base, since=at)

    def stopped(self, at: Instant) -> "RunClock":
        """Return the clock standing still from *at* on."""
        return RunClock(base=self.run_time(at))

    def skipped(self, span_ms: int) -> "RunClock":
        """Return the clock as if the last *span_ms* had not passed: the controller was down, or the clock jumped.

        A wall clock that was put back has a negative span.
        """
        return self if self.since is None else RunClock(base=self.base, since=Instant(self.since + span_ms))
