"""What a benchmark asks of its crowd of light devices; see `tests.benchmarks.clients`.

Times are those of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from dataclasses import dataclass
from typing import Final

from protocol.lifecycle import AttemptState
from tests.benchmarks.control import Order

WAIT_SECONDS: Final = 50.0


@dataclass(frozen=True)
class Connect(Order[None]):
    """Have *count* devices connected; where *is_answered*, until their hellos are answered."""

    port: int
    count: int
    is_answered: bool


@dataclass(frozen=True)
class KeepAlive(Order[None]):
    """From now on ping so often, each device in its turn."""

    per_second: float


@dataclass(frozen=True)
class Watch(Order[None]):
    """Forget what commands have come, and note those that come from now on."""


@dataclass(frozen=True)
class Arrivals(Order[list[int]]):
    """Wait until *count* commands have come since `Watch`; return when each did, in nanoseconds."""

    count: int
    seconds: float = WAIT_SECONDS


@dataclass(frozen=True)
class Quiet(Order[int]):
    """Wait until no command has come for *seconds*; return how many have come since `Watch`."""

    seconds: float


@dataclass(frozen=True)
class Sample(Order[bytes]):
    """Return the newest command that one of the devices got."""


@dataclass(frozen=True)
class PrepareReports(Order[None]):
    """Have each device with a command sign the report that its newest installation reached *state*."""

    state: AttemptState


@dataclass(frozen=True)
class PrepareTicks(Order[None]):
    """Have each device with a command make *count* ticks; the last goes at QoS 1, so that its arrival is known."""

    count: int


@dataclass(frozen=True)
class Sent:
    """How many messages were sent, and how long it took until the last was acknowledged, in seconds."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Send(Order[Sent]):
    """Send what was prepared, and wait until all of QoS 1 is acknowledged."""
