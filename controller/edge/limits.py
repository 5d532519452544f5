"""Every limit of the endpoint, by name, and what it counted."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec

from controller.complaints import LINES_BURST, LINES_PER_SECOND
from controller.intake import IntakeCounts, IntakeLimits
from protocol.messages import MESSAGE_BYTES_MAX

PACKET_HEADROOM_BYTES: Final = 1_024
"""What an MQTT packet may carry beside its payload: header, topic, properties."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything the endpoint takes. The defaults suit one core and some ten thousand devices."""

    connections_max: int = 20_000
    backlog: int = 1_024
    packet_bytes_max: int = MESSAGE_BYTES_MAX + PACKET_HEADROOM_BYTES

    handshakes_max: int = 4
    """Handshakes that may use the CPU at once: with four, a storm of 1,000 delays others by 2 ms instead of 41."""
    handshake_slot_s: float = 0.05
    """A handshake gives its slot back after this long and goes on without one: it only waits for its peer then,
    and whoever is slow, or says nothing, must not keep others out."""
    handshakes_open_max: int = 512
    handshake_timeout_s: float = 10.0
    connect_timeout_s: float = 10.0
    shutdown_timeout_s: float = 2.0

    keepalive_s: int = 300
    keepalive_factor: float = 1.5
    sweep_s: float = 1.0

    subscriptions_max: int = 8
    packets_per_second: float = 100.0
    packets_burst: int = 500
    window: int = 16
    """Downlink messages of one session that its device has not acknowledged."""
    uplink_window: int = 64
    """Uplink messages of one session that we have not acknowledged (announced as Receive Maximum)."""
    write_buffer_bytes_max: int = 65_536
    read_buffer_bytes_max: int = 32_768

    intake: IntakeLimits = IntakeLimits()

    log_lines_per_second: float = LINES_PER_SECOND
    log_lines_burst: int = LINES_BURST


@dataclass(slots=True)
class Counts(IntakeCounts):
    """What happened since the start; `controller.edge.metrics` tells it. All keys are constants of the code."""

    accepted: int = 0
    connected: int = 0
    taken_over: int = 0
    keepalive_ended: int = 0
    received: int = 0
    written: int = 0
    write_refused: int = 0
    forbidden_publishes: int = 0
    forbidden_subscribes: int = 0
    throttled: int = 0
    handshakes_failed: Counter[str] = field(default_factory=Counter)
    connects_refused: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
