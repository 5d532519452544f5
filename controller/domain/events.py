"""What happens to a run (events, with wall time `at`), and what is to be done about it (effects)."""

from collections.abc import Mapping

import msgspec

from controller.domain import freeze
from controller.domain.course import Moment
from controller.domain.gates.checks import Answer
from controller.domain.metrics import Pair
from controller.domain.rerun import LeftOut
from controller.domain.target import Delta
from protocol.ids import StageName
from protocol.units import Instant


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The run begins."""

    at: Instant


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """The membership of a stage was fixed: that many devices, all queued.

    Of devices of quarantined models and of an earlier run, some may be `left_out`. `models` says how many there are of
    each model; `control` says the same of devices that are held back beside them, if any can be.
    """

    at: Instant
    stage: int
    targets: int
    models: Mapping[str, int] = {}
    control: Mapping[str, int] | None = None
    left_out: tuple[LeftOut, ...] = ()


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """Stages that include new devices took some in: how many by stage, all queued, and how many of each model."""

    at: Instant
    counts: Mapping[int, int]
    models: Mapping[int, Mapping[str, int]] = {}


class Discharged(msgspec.Struct, frozen=True, kw_only=True):
    """Control devices of a stage joined its tail, all queued: how each changed, and how many are of each model."""

    at: Instant
    stage: int
    deltas: tuple[Delta, ...]
    models: Mapping[str, int] = {}


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """Devices changed; all that one transaction brought, by stage, and what was told by `pairs` of them."""

    at: Instant
    deltas: Mapping[int, tuple[Delta, ...]]
    pairs: Mapping[int, tuple[Pair, ...]] = {}


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """What came of every `Release` of a decision, by stage: the devices that were ready now have their commands.

    `cut` are the stages of which more may be ready, but one transaction releases only so many.
    """

    at: Instant
    deltas: Mapping[int, tuple[Delta, ...]]
    cut: frozenset[int] = frozenset()


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody, or something, holds the run for a reason; holding it twice for one reason is once."""

    at: Instant
    reason: str
    by: str = ""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """An operator lifts every pause reason, and accepts the failures of the stages whose gate holds the run."""

    at: Instant
    reason: str = ""
    by: str = ""


class Readmitted(msgspec.Struct, frozen=True, kw_only=True):
    """An operator lets the devices of a quarantined model begin again, and accepts the failures counted so far."""

    at: Instant
    model: str
    reason: str
    by: str = ""


class Lifted(msgspec.Struct, frozen=True, kw_only=True):
    """One reason to hold the run is no more; the last one lets it go on, and no failure is accepted by that."""

    at: Instant
    reason: str
    by: str = ""


class Terminated(msgspec.Struct, frozen=True, kw_only=True):
    """An operator ends the run."""

    at: Instant
    reason: str
    by: str = ""


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """A person consents to the promotion of a stage that has not begun; twice is once."""

    at: Instant
    stage: int
    by: str
    reason: str = ""


class RollbackAsked(msgspec.Struct, frozen=True, kw_only=True):
    """An operator ends the run, and has its devices taken back when it has ended: each to its own, or to a version."""

    at: Instant
    reason: str
    by: str
    version: str = ""


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """An operator opens a stage that awaits promotion."""

    at: Instant
    stage: int
    by: str = ""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """An operator passes over a stage that has no verdict: its devices are called back, and what needs it goes on."""

    at: Instant
    stage: int
    reason: str
    by: str = ""


class CalendarChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The freeze calendar has changed; `freezes` are those that concern the run now."""

    at: Instant
    freezes: tuple[freeze.Freeze, ...]


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A check of a stage was answered: the question of that `sequence`, or, without one, by who tells by itself.

    `by` names who told; with `is_decision` that is a person, whose word is final.
    """

    at: Instant
    stage: int
    check: str
    answer: Answer
    sequence: int | None = None
    by: str = ""
    is_decision: bool = False


class TelemetryLost(msgspec.Struct, frozen=True, kw_only=True):
    """So many devices beside those of a stage are out of sight that its silent ones say nothing of the build."""

    at: Instant
    stage: int
    evidence: str


class Woken(msgspec.Struct, frozen=True, kw_only=True):
    """A deadline passed, or a device came online."""

    at: Instant


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """The controller had been down, or its clock jumped, for the last `gap_ms`."""

    at: Instant
    gap_ms: int


Order = Paused | Resumed | Readmitted | Lifted | Terminated | RollbackAsked | Approved | Promoted | Skipped
"""What people, or a broken gate in their place, decide."""

Counted = Frozen | Joined | Discharged | Folded | Issued
"""What became of devices."""

Event = Started | Counted | Order | Answered | CalendarChanged | TelemetryLost | Woken | Recovered


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """Fix the membership of a stage, then say `Frozen`."""

    stage: int


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Commit commands for up to `count` devices of a stage that are ready, then say `Issued`.

    Those are devices that are held back, to be watched (`is_control`), or all others.
    """

    stage: int
    count: int
    is_control: bool = False


class Discharge(msgspec.Struct, frozen=True, kw_only=True):
    """Put the control devices of a stage that are not at work into its queue, then say `Discharged`."""

    stage: int


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """End the queued devices of a stage (`never_started` where it timed out) and call back those at work."""

    stage: int
    timed_out: bool = False


class Expire(msgspec.Struct, frozen=True, kw_only=True):
    """End the queued devices of a stage, which have waited for too long; those at work go on."""

    stage: int


class CallOff(msgspec.Struct, frozen=True, kw_only=True):
    """End the queued devices of a quarantined model in a stage; call back what its devices have not accepted."""

    stage: int
    model: str


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Tell devices at work not to begin the irreversible step; drop what is unsent."""


class Go(msgspec.Struct, frozen=True, kw_only=True):
    """Tell devices at work that they may go on, under the new epoch."""


class Suspend(msgspec.Struct, frozen=True, kw_only=True):
    """A freeze begins: void commands that no device has accepted, and take the clocks of their attempts away."""


class Continue(msgspec.Struct, frozen=True, kw_only=True):
    """A freeze is over: give suspended attempts a new command, and their clocks anew."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Put the question of that number of a stage's check, once this is stored, then say `Answered`."""

    stage: int
    check: str
    sequence: int


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """An entry for the run's timeline; `by` is who decided it, `evidence` the numbers that did."""

    kind: str
    stage: StageName | None = None
    text: str = ""
    by: str = ""
    evidence: str = ""


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """Keep what the gate of a stage has just seen, so that the run can be judged again by another gate."""

    stage: int
    moment: Moment


class Conclude(msgspec.Struct, frozen=True, kw_only=True):
    """The run has ended; the job is free."""


class RollBack(msgspec.Struct, frozen=True, kw_only=True):
    """Begin the run that takes back the devices of this one, which has ended, before anything else of its job."""


Ending = Cancel | Expire | CallOff
"""What ends devices of a stage."""

Membership = Freeze | Discharge
"""What brings devices into the numbers of a stage."""

Effect = Membership | Release | Ending | Hold | Go | Suspend | Continue | Ask | Note | Keep | Conclude | RollBack
