"""The freeze calendar: spans of wall time in which no run in scope begins anything new.

The rules of a freeze, kept by `controller.domain.settle`:

1. While one holds, no device is released and no stage opens, whoever has promoted it. That waits for the end.
2. Devices at work finish: their leases go on, so run time goes on, too. A soak goes on and may end with its verdict.
3. An attempt whose command no device has accepted yet is suspended: the command is void, the attempt's clock is taken
   away, and both come anew at the end. Nobody's attempts are spent by a freeze.
4. Time in a freeze counts neither for the timeout of a run nor for that of a stage.

A freeze is no pause reason. A pause stops the run's clock, holds devices before their irreversible step, and is lifted
by a person; a freeze does none of that, and must outlast a resume. Each run keeps the calendar as far as it concerns
the run, and is told when that changes: so what a run does follows from its own state, and the core asks nobody.

>>> november = Freeze(name="sale", starts_at=Instant(100), ends_at=Instant(200), reason="sale week")
>>> in_force([november], Instant(100)), in_force([november], Instant(200))
(Freeze(name='sale', ...), None)
>>> next_change([november], Instant(50)), next_change([november], Instant(100)), next_change([november], Instant(200))
(100, 200, None)
"""

from collections.abc import Iterable

import msgspec

from protocol.units import Instant


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """One span, from `starts_at` until before `ends_at`, for the runs of some `pipelines`, or of all."""

    name: str
    starts_at: Instant
    ends_at: Instant
    reason: str
    pipelines: tuple[str, ...] = ()

    def concerns(self, pipeline: str) -> bool:
        """Say whether runs of *pipeline* are in its scope."""
        return not self.pipelines or pipeline in self.pipelines


def in_force(freezes: Iterable[Freeze], at: Instant) -> Freeze | None:
    """Return the freeze that holds at an instant; where several do, the one that ends last."""
    holding = [freeze for freeze in freezes if freeze.starts_at <= at < freeze.ends_at]
    return max(holding, key=lambda freeze: (freeze.ends_at, freeze.name), default=None)


def next_start(freezes: Iterable[Freeze], at: Instant) -> Instant | None:
    """Return when the next freeze begins after an instant."""
    return min((freeze.starts_at for freeze in freezes if freeze.starts_at > at), default=None)


def next_change(freezes: Iterable[Freeze], at: Instant) -> Instant | None:
    """Return when the next freeze begins or ends after an instant."""
    changes = [change for freeze in freezes for change in (freeze.starts_at, freeze.ends_at)]
    return min((change for change in changes if change > at), default=None)
