"""How fast the stages of a run go: devices per minute over the last minutes, and the time that is left at that rate."""

from collections import deque
from typing import Final, NamedTuple

from controller.app.views import Counters, RunView, StageView
from protocol.units import MINUTE, Instant

WINDOW_MS: Final = 2 * MINUTE
SAMPLES_MAX: Final = 600


class Rate(NamedTuple):
    """Devices that ended per minute, and the milliseconds until all have; None where nobody can tell."""

    per_minute: float
    left_ms: int | None


class _Sample(NamedTuple):
    at: Instant
    ended: dict[str, int]


def total_of(counters: Counters) -> int:
    """Return how many devices a stage has."""
    return sum(getattr(counters, name) for name in counters.__struct_fields__)


def ended_of(counters: Counters) -> int:
    """Return how many devices of a stage have ended, however."""
    return total_of(counters) - counters.queued - counters.in_progress


class Pulse:
    """Remembers what a run looked like a short while ago."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES_MAX)

    def note(self, run: RunView, at: Instant) -> None:
        """Take a sample."""
        self._samples.append(_Sample(at, {stage.name: ended_of(stage.counters) for stage in run.stages}))
        while self._samples and at - self._samples[0].at > WINDOW_MS:
            self._samples.popleft()

    def rate(self, stage: StageView) -> Rate | None:
        """Return how fast a stage goes, or None before anything can be said."""
        if len(self._samples) < 2:  # noqa: PLR2004 - two samples make a difference
            return None
        first, last = self._samples[0], self._samples[-1]
        span_ms = last.at - first.at
        done = last.ended.get(stage.name, 0) - first.ended.get(stage.name, 0)
        if span_ms <= 0 or done <= 0:
            return None
        per_minute = done * MINUTE / span_ms
        left = total_of(stage.counters) - ended_of(stage.counters)
        return Rate(per_minute, int(left * MINUTE / per_minute) if left else None)
