"""What a seed draws of faults: how often each strikes, and how hard. Most are missing from half of the worlds."""

import random
from enum import StrEnum
from typing import Final

import msgspec

from protocol.units import MINUTE, SECOND


class NetworkDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of messages, spans in milliseconds; a gap is the mean time between two such faults, 0 for never."""

    loss: float
    doubling: float
    delay_ms: int
    late_share: float
    late_ms: int
    hostility: float
    cut_gap_ms: int
    cut_ms: int
    window: int


class Keeps(StrEnum):
    """What a broker still has of the lanes' sessions after a restart."""

    ALL = "all"
    SESSIONS = "sessions"
    NOTHING = "nothing"


class BrokerDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of downlink messages, lane breaks and wills; spans in milliseconds; a gap is a mean time, 0 for never.

    `redelivery_late_ms` is how long new messages may overtake those that are offered again; `will_late_ms` how late
    the will of a connection that was taken over may come.
    """

    keeps: Keeps
    window: int
    downlink_loss: float
    restart_gap_ms: int
    down_ms: int
    lane_gap_ms: int
    forgets: float
    redelivery_late_ms: int
    wills_at_takeover: float
    wills_at_restart: float
    will_late_ms: int


class ControllerDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of commits and publishes, spans in milliseconds; a gap is the mean time between two such faults."""

    kill_at_commit: float
    kill_at_publish: float
    disk_full: float
    down_ms: int
    step_ms: int
    compute_ms: int
    jump_gap_ms: int
    jump_ms: int
    endpoint_gap_ms: int


class DeviceDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of journal commits, installations and crashes; spans in milliseconds; drift in parts per million."""

    kill_at_commit: float
    disk_full: float
    power_gap_ms: int
    off_ms: int
    step_ms: int
    download_fails: float
    verify_fails: float
    breaks: float
    drift_ppm: int
    clones: int
    releases_known: float
    hangs_up: float = 0.0
    """The share of ended attempts after which a device begins its connection anew, unnoticed at the other end."""


class ClocksDraw(msgspec.Struct, frozen=True, kw_only=True):
    """Spans in milliseconds: how long an attempt may take, and a device may wait; how long a download takes on average.

    None of it is drawn in most worlds, which is 0: an attempt may then take a day.
    """

    attempt_ms: int = 0
    queued_ms: int = 0
    download_ms: int = 0


SOUND_CONTROLLER: Final = ControllerDraw(
    kill_at_commit=0.0,
    kill_at_publish=0.0,
    disk_full=0.0,
    down_ms=1_000,
    step_ms=3,
    compute_ms=20,
    jump_gap_ms=0,
    jump_ms=0,
    endpoint_gap_ms=0,
)
"""A machine that nothing befalls."""
SHORT_WORK: Final = DeviceDraw(
    kill_at_commit=0.0,
    disk_full=0.0,
    power_gap_ms=0,
    off_ms=1_000,
    step_ms=10,
    download_fails=0.0,
    verify_fails=0.5,
    breaks=0.0,
    drift_ppm=0,
    clones=0,
    releases_known=1.0,
)
"""Devices that nothing befalls but that half of their work fails at its end, which comes soon."""
LONG_WORK: Final = msgspec.structs.replace(SHORT_WORK, step_ms=2 * MINUTE, download_fails=0.8, hangs_up=0.6)
"""Devices that take minutes, mostly fail in the first step, and often begin their connection anew then."""


def _maybe(chance: random.Random, low: float, high: float) -> float:
    """Return a rate, or 0 in half of all worlds."""
    return chance.uniform(low, high) if chance.randrange(2) else 0.0


def _gap(chance: random.Random, low_ms: int, high_ms: int) -> int:
    return int(_maybe(chance, low_ms, high_ms))


def draw_network(chance: random.Random) -> NetworkDraw:
    """Return what becomes of messages."""
    return NetworkDraw(
        loss=_maybe(chance, 0.01, 0.3),
        doubling=_maybe(chance, 0.01, 0.5),
        delay_ms=chance.choice((1, 20, 300, 3_000)),
        late_share=_maybe(chance, 0.01, 0.2),
        late_ms=int(chance.uniform(1, 180) * SECOND),
        hostility=_maybe(chance, 0.01, 0.5),
        cut_gap_ms=_gap(chance, 20 * SECOND, 3 * MINUTE),
        cut_ms=int(chance.uniform(1, 120) * SECOND),
        window=chance.choice((1, 2, 16)),
    )


def draw_broker(chance: random.Random) -> BrokerDraw | None:
    """Return the broker of every third world, None where the controller has its own endpoint."""
    if chance.randrange(3):
        return None
    return BrokerDraw(
        keeps=chance.choice(tuple(Keeps)),
        window=chance.choice((3, 16, 64)),
        downlink_loss=_maybe(chance, 0.01, 0.3),
        restart_gap_ms=_gap(chance, MINUTE, 4 * MINUTE),
        down_ms=chance.choice((100, 5_000, 60_000)),
        lane_gap_ms=_gap(chance, 20 * SECOND, 3 * MINUTE),
        forgets=_maybe(chance, 0.1, 0.8),
        redelivery_late_ms=_gap(chance, SECOND, 30 * SECOND),
        wills_at_takeover=_maybe(chance, 0.2, 1.0),
        wills_at_restart=_maybe(chance, 0.2, 1.0),
        will_late_ms=chance.choice((10, 1_000, 30_000)),
    )


def draw_slow_network(chance: random.Random) -> NetworkDraw:
    """Return a network that loses nothing, takes its time, and breaks connections for a moment."""
    return NetworkDraw(
        loss=0.0,
        doubling=0.0,
        delay_ms=chance.choice((1_000, 3_000)),
        late_share=0.0,
        late_ms=1_000,
        hostility=0.0,
        cut_gap_ms=30 * SECOND,
        cut_ms=1_000,
        window=16,
    )


def draw_shaky_broker(chance: random.Random) -> BrokerDraw:
    """Return a broker whose lanes break often, and which offers the new before the old."""
    return BrokerDraw(
        keeps=Keeps.ALL,
        window=64,
        downlink_loss=0.0,
        restart_gap_ms=0,
        down_ms=100,
        lane_gap_ms=4 * SECOND,
        forgets=0.0,
        redelivery_late_ms=chance.choice((10, 30)) * SECOND,
        wills_at_takeover=0.0,
        wills_at_restart=0.0,
        will_late_ms=1_000,
    )


def draw_clocks(chance: random.Random) -> ClocksDraw:
    """Return how long things may take in a quarter of the worlds; in the others it hardly matters."""
    if chance.randrange(4):
        return ClocksDraw()
    return ClocksDraw(
        attempt_ms=_gap(chance, 30 * SECOND, 4 * MINUTE),
        queued_ms=_gap(chance, 20 * SECOND, 4 * MINUTE),
        download_ms=_gap(chance, 20 * SECOND, 2 * MINUTE),
    )


def draw_controller(chance: random.Random) -> ControllerDraw:
    """Return what befalls the controller's machine."""
    return ControllerDraw(
        kill_at_commit=_maybe(chance, 0.002, 0.1),
        kill_at_publish=_maybe(chance, 0.005, 0.1),
        disk_full=_maybe(chance, 0.005, 0.2),
        down_ms=chance.choice((1_000, 10_000, 60_000)),
        step_ms=chance.choice((0, 3, 20, 400)),
        compute_ms=chance.choice((0, 20, 400, 5_000)),
        jump_gap_ms=_gap(chance, MINUTE, 4 * MINUTE),
        jump_ms=int(chance.choice((1, -1)) * chance.uniform(1, 3_600) * SECOND),
        endpoint_gap_ms=_gap(chance, MINUTE, 4 * MINUTE),
    )


def draw_device(chance: random.Random) -> DeviceDraw:
    """Return what befalls devices."""
    return DeviceDraw(
        kill_at_commit=_maybe(chance, 0.002, 0.15),
        disk_full=_maybe(chance, 0.005, 0.2),
        power_gap_ms=_gap(chance, 20 * SECOND, 3 * MINUTE),
        off_ms=int(chance.uniform(1, 90) * SECOND),
        step_ms=chance.choice((10, 500, 5_000, 20_000)),
        download_fails=_maybe(chance, 0.05, 0.4),
        verify_fails=_maybe(chance, 0.05, 0.6),
        breaks=_maybe(chance, 0.05, 0.5),
        drift_ppm=chance.choice((0, 0, 500, -500)),
        clones=int(not chance.randrange(10)),
        releases_known=chance.choice((1.0, 0.5)),
    )
