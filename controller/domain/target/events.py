"""What happens to one device in one run, and what is to be done about it."""

import msgspec

from protocol.health import Mark
from protocol.ids import Digest
from protocol.lifecycle import AttemptState, Left
from protocol.outputs import Outputs
from protocol.reasons import Reason, RejectCode
from protocol.units import Instant


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """A command for a new attempt was committed; `is_compared` if it asks to watch in a stage that compares crashes."""

    at: int
    command: Digest
    is_compared: bool = False


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
    """The run no longer wants this device to be changed, or the stage's time is over (`timed_out`).

    A `reason` is what a queued device ends for; otherwise it is why its last attempt ended, if it had one.
    """

    at: int
    timed_out: bool = False
    reason: Reason | None = None


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


class Discharged(msgspec.Struct, frozen=True, kw_only=True):
    """A control device is held back no more: it waits for its turn as all others do, and has not begun anything."""


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """The device was taken out of the fleet."""

    at: int
    detail: str


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """The device told, signed, what became of the release of an attempt after its success."""

    attempt: int
    mark: Mark
    detail: str = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The device told, signed, the outputs of what it watches since an attempt, as they were at wall time `told_at`."""

    attempt: int
    outputs: Outputs
    told_at: Instant


class WentOffline(msgspec.Struct, frozen=True, kw_only=True):
    """The device is not connected any more, or was not when it succeeded."""

    at: int


class CameOnline(msgspec.Struct, frozen=True, kw_only=True):
    """The device is connected again, or nobody asks for it any more."""

    at: int


class Unseen(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is known of where the device is: the controller has just begun, or its transport has lost sight of it."""

    at: int


class Excused(msgspec.Struct, frozen=True, kw_only=True):
    """It says nothing of the build that the device is offline: others are as well. It is given as much time again."""

    at: int


class ShutOut(msgspec.Struct, frozen=True, kw_only=True):
    """People have shut the device out, or are setting it up anew: that it is offline says nothing of the build."""

    at: int


Seeing = WentOffline | CameOnline | Unseen | Excused | ShutOut
"""Whether the device is connected, where it matters after its success."""

Told = Reported | RefusedCommand | RecallHeard | Seen | Ticked | Marked | Measured
"""What a device says."""

ByHand = GivenUp | Removed
"""What people do about one device."""

Order = Released | Reissued | Suspended | Continued | CancelRequested | Returned | Discharged | ByHand
"""What the run and its people decide about a device."""

Event = Order | Told | Seeing | DueReached


class Reissue(msgspec.Struct, frozen=True, kw_only=True):
    """Make a new command for the current attempt."""


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """Something did not fit and changed nothing; it is counted and logged."""

    kind: str


Effect = Reissue | Anomaly
