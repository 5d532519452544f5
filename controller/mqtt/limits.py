"""Every limit of the way over a broker, by name, and what it counted."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec

from controller.complaints import LINES_BURST, LINES_PER_SECOND
from controller.intake import IntakeCounts, IntakeLimits
from protocol.ids import PARTITIONS
from protocol.messages import MESSAGE_BYTES_MAX

LANES: Final = 16
"""How many sessions the controller has at the broker. Their client ids and partitions follow from it: never changed."""
PACKET_HEADROOM_BYTES: Final = 1_024
"""What an MQTT packet may carry beside its payload: header, topic, properties."""


def partitions_of(lane: int) -> range:
    """Return the partitions of a lane, 0 to 15.

    >>> list(partitions_of(3))[:3]
    [3, 19, 35]
    """
    return range(lane, PARTITIONS, LANES)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything is asked of a broker, and for how long it is waited for."""

    packet_bytes_max: int = MESSAGE_BYTES_MAX + PACKET_HEADROOM_BYTES
    keepalive_s: int = 30
    silence_factor: float = 2.5
    """After so many keepalives in which nothing was heard a connection is given up, whatever paho believes."""
    connect_timeout_s: float = 5.0
    answer_timeout_s: float = 10.0
    """For the answers to CONNECT and SUBSCRIBE, each."""
    shutdown_timeout_s: float = 2.0
    tick_s: float = 1.0
    session_expiry_s: int = 86_400
    """How long the broker keeps a lane's session while no controller runs."""

    receive_max: int = 256
    """Messages that the broker may have sent to a lane and that are not acknowledged (MQTT 5 only)."""
    turn_s: float = 0.002
    """How long a connection reads before it lets others have a turn; a message takes about a tenth of a millisecond."""
    window: int = 256
    """Messages handed to the broker by one lane that it has not acknowledged; at QoS 0 the bytes alone are bounded."""
    unsent_bytes_max: int = 4 * 1024 * 1024
    """Bytes of messages of one lane that are unsent, or at QoS 1 not acknowledged."""

    retry_first_s: float = 1.0
    retry_max_s: float = 60.0
    early_s: float = 5.0
    """A connection that is lost sooner than this after it was accepted may have been taken over by somebody else."""
    early_losses_max: int = 3
    """So many of them in a row are taken for that: older brokers, and MQTT 3.1.1, have no word for it."""
    taken_over_wait_s: float = 120.0
    taken_over_wait_max_s: float = 3_600.0

    intake: IntakeLimits = IntakeLimits()

    log_lines_per_second: float = LINES_PER_SECOND
    log_lines_burst: int = LINES_BURST


@dataclass(slots=True)
class Counts(IntakeCounts):
    """What happened since the start; `controller.mqtt.metrics` tells it. All keys are constants of the code."""

    connected: int = 0
    taken_over: int = 0
    received: int = 0
    written: int = 0
    write_refused: int = 0
    publishes_refused: int = 0
    sight_lost: int = 0
    acknowledgements_dropped: int = 0
    messages_refused: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
